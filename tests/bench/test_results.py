"""The tables of the documents match the JSON files in bench/results."""

import importlib.util
import json
import pathlib

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def markdown():
    spec = importlib.util.spec_from_file_location("markdown_tables", ROOT / "bench" / "markdown.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_table_matches_its_file(markdown):
    tables = 0
    for document in markdown.DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        tables += len(markdown.TABLE.findall(text))
        assert markdown.filled(text) == text, f"{document.name}: run python bench/markdown.py"
    assert tables > 0


def test_a_changed_figure_is_found(markdown):
    text = markdown.DOCUMENTS[0].read_text(encoding="utf-8")
    table = markdown.TABLE.search(text)[0]
    digit = next(i for i, c in enumerate(table) if c.isdigit() and i > table.index("\n"))
    changed = table[:digit] + str((int(table[digit]) + 1) % 10) + table[digit + 1 :]
    assert markdown.filled(text.replace(table, changed)) == text


@pytest.mark.parametrize("path", sorted((ROOT / "bench" / "results").glob("*.json")), ids=lambda path: path.stem)
def test_results_say_where_they_come_from(path):
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found["machine"]["cpu"]
    assert found["machine"]["isa"]
    assert found["machine"]["threads"] >= 1
    for key in ("date", "command", "build"):
        assert found["run"][key], key
    assert found["results"]
