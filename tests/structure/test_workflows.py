"""Test the files for the hosting site: pinned actions, few permissions, and versions that agree."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))

pytestmark = pytest.mark.skipif(not WORKFLOWS, reason="a source archive has no workflows")


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_commit(workflow):
    used = re.findall(r"uses: (.*)", workflow.read_text())
    assert used
    for action in used:
        assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", action)


def test_an_action_has_one_version():
    used = {line for path in WORKFLOWS for line in re.findall(r"uses: (.*)", path.read_text())}
    names = [line.partition("@")[0] for line in used]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_reads_only_unless_a_job_needs_more(workflow):
    text = workflow.read_text()
    assert re.search(r"^permissions:\n  contents: read\n\n", text, re.MULTILINE)
    assert text.count("actions/checkout@") == text.count("persist-credentials: false")
    assert "pull_request_target" not in text
    assert "secrets." not in text


def test_the_citation_has_the_version_of_the_package():
    version = re.search(r"project\(pointwise VERSION ([\d.]+)", (ROOT / "CMakeLists.txt").read_text())[1]
    assert re.search(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)[1] == version


def test_tools_of_hooks_are_in_the_group_dev():
    project = (ROOT / "pyproject.toml").read_text()
    groups = project.partition("[dependency-groups]")[2].partition("\n[")[0]
    for tool in re.findall(r"entry: ([\w-]+)", (ROOT / ".pre-commit-config.yaml").read_text()):
        assert f'"{tool}==' in groups
