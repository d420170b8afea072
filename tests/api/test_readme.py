"""Run the examples of README.md, docs/guide/ and the first pages of the documentation site.

Python and console examples must print what the page shows. Each page runs from top to bottom, in a fresh namespace and
an empty directory. C++ and CMake blocks must equal files that CI builds. test_docs_examples.py runs the examples in
docstrings.
"""

import json
import pathlib
import re
import shlex
import urllib.parse

import numpy as np
import pointwise as pw
import pytest
from pointwise.__main__ import build_parser, main

ROOT = pathlib.Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs/guide").glob("*.md"))]
FIRST = [ROOT / "docs/index.md", ROOT / "docs/why.md"]  # of the documentation site
LINKING = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
EXECUTED = ("cost", "info", "run", "verify")  # commands of `pointwise` that end at once
DEFAULT_MEMORY_LIMIT = 128 * 2**20


def name(page):
    return str(page.relative_to(ROOT))


def blocks(page, *languages):
    """Return the fenced blocks of these languages as pairs of language and text, in the order of the page."""
    pattern = rf"^```({'|'.join(languages)})\n(.*?)^```$"
    return re.findall(pattern, page.read_text(), re.MULTILINE | re.DOTALL)


def commands(block):
    """Return the commands of a console block. Each comes with the lines that it prints in the block."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, *output = part.splitlines()
        yield shlex.split(command), output


def printed_comments(code):
    """Return the comments after print(...), which show the output.

    A comment that begins with "for example" is left out, because that output depends on the machine.
    """
    comments = re.findall(r"^ *print\(.*\)  # (.*)$", code, re.MULTILINE)
    return [comment for comment in comments if not comment.startswith("for example")]


def check_python(code, page, namespace, capsys):
    exec(compile(code, name(page), "exec"), namespace)
    printed = iter(capsys.readouterr().out.splitlines())
    for comment in printed_comments(code):
        assert comment in printed  # `in` consumes the iterator up to the match, so the order must be that of the page


def check_command(command, output, capsys):
    if command[0] != "pointwise" or (command[1] == "verify" and pw.isa() == "portable"):
        return
    if command[1] not in EXECUTED:
        build_parser().parse_args(command[1:])  # the options exist
        return
    assert main(command[1:]) == 0
    printed = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    if command[1] == "info":  # values depend on the machine, so only their names are compared
        keys = iter([line[:16].rstrip() for line in printed])
        for line in output:
            assert line == "..." or line[:16].rstrip() in keys
    else:
        assert printed == [line.rstrip() for line in output]


def run(page, capsys):
    """Run the examples of a page, and return the namespace of its Python code."""
    namespace = {}
    for language, text in blocks(page, "python", "console"):
        if language == "python":
            check_python(text, page, namespace, capsys)
        else:
            for command, output in commands(text):
                check_command(command, output, capsys)
    return namespace


@pytest.fixture(autouse=True)
def surroundings(tmp_path, monkeypatch):
    """Use an empty working directory. Afterwards, reset the number of threads and the memory limit."""
    threads = pw.get_num_threads()
    monkeypatch.chdir(tmp_path)
    yield
    pw.set_num_threads(threads)
    pw.set_memory_limit(DEFAULT_MEMORY_LIMIT)


@pytest.mark.parametrize("page", PAGES + FIRST, ids=name)
def test_examples_run(page, capsys):
    run(page, capsys)


def test_examples_of_the_readme_compute_what_they_say(capsys):
    page = run(README, capsys)
    assert page["y"].shape == (1, 16, 10, 10)
    assert (page["y"] == 32).all()
    expected = np.rint(page["image"] @ np.array(page["sepia"]).T).clip(0, 255)
    assert page["toned"].dtype == np.uint8
    np.testing.assert_array_equal(page["toned"], expected)
    spectra, bands = page["spectra"].astype(np.float64), page["cube"].astype(np.float64).reshape(200, -1)
    expected = np.linalg.lstsq(spectra, bands, rcond=None)[0].reshape(5, 64, 64)
    np.testing.assert_allclose(page["abundances"], expected, atol=1e-4)


def test_the_readme_is_short():
    assert len(README.read_text().splitlines()) <= 150


@pytest.mark.parametrize("page", PAGES[1:], ids=name)
def test_a_page_of_the_guide_is_linked_from_the_readme(page):
    assert f"]({name(page)})" in README.read_text()


def prose(page):
    return re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def anchors(page):
    """Return the anchors that GitHub gives the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]


@pytest.mark.parametrize("page", LINKING, ids=name)
def test_relative_links_point_to_files_and_headings(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        link = urllib.parse.urlsplit(target)
        if link.scheme:
            continue
        file = page.parent / urllib.parse.unquote(link.path) if link.path else page
        assert file.exists(), target
        if link.fragment and file.suffix == ".md":
            assert link.fragment in anchors(file), target


def test_cpp_block_is_the_example_that_ci_builds():
    ((_, block),) = blocks(ROOT / "docs/guide/cpp.md", "cpp")
    assert block == (ROOT / "examples/cpp/example.cpp").read_text()


def test_cmake_blocks_are_in_the_example():
    lists = [line.strip() for line in (ROOT / "examples/cpp/CMakeLists.txt").read_text().splitlines()]
    installed, fetched = (block.splitlines() for _, block in blocks(ROOT / "docs/guide/cpp.md", "cmake"))
    assert [line for line in installed + fetched if line not in lists] == []


def test_ci_runs_the_ways_to_link_the_library():
    ci = (ROOT / ".ci/run").read_text()
    assert "-DPOINTWISE_CLONE=" in ci
    assert "-DBUILD_SHARED_LIBS=ON" in ci


def test_shell_blocks_are_what_ci_runs():
    ci = (ROOT / ".ci/run").read_text()
    assert '"${plain[@]}"' in ci  # the shell array of the presets that CI builds
    built = re.findall(r"\w+", " ".join(re.findall(r"\bplain\+?=\(([^)]*)\)", ci)))
    built += re.findall(r"--preset=(\w+)", ci)
    presets = {p["name"] for p in json.loads((ROOT / "CMakePresets.json").read_text())["configurePresets"]}
    lines = [block.splitlines() for page in PAGES for _, block in blocks(page, "sh")]
    assert len(lines) == 4
    for (line,) in lines:
        if line.startswith("python3"):
            extra = re.search(r"'\.\[(\w+)\]'", line).group(1)
            assert line in README.read_text().splitlines()  # CI reads it from the README
            assert f'"$(readme {extra})"' in ci
        for preset in re.findall(r"--preset (\w+)", line):
            assert preset in presets
            assert preset in built
