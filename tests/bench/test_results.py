"""Test that the tables of the documents match the JSON files in bench/results."""

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


def document(results, **settings):
    machine = {"cpu": "A CPU", "isa": "avx2", "threads": 2, "bandwidth": 1e10, "fma_peak": 1e11, "versions": {}}
    run = {"date": "2026-01-01", "command": "pointwise bench", "build": "pointwise 1, compiler 14"}
    return {"machine": machine, "settings": settings, "run": run, "results": results}


def test_the_tables_of_sequences(markdown):
    def result(layout, seconds, numpy, torch):
        return {
            "network": "resnet50",
            "layers": 20,
            "layout": layout,
            "cost": {"flops": 4e9},
            "seconds": {"pointwise": seconds},
            "ratio": {"numpy": numpy, "torch": torch},
        }

    found = document([result("NCHW", 0.02, 1.5, 2.0), result("NCHW", 0.04, 3.0, None)], sequence=True)
    lines = markdown.sequence_block(found)
    assert "| ResNet-50 | NCHW | 20 | 20.00 | 200 | 1.50 | 2.00 | 1.50 |" in lines
    assert "| ResNet-50 | NCHW | 20 | 40.00 | 100 | 3.00 | - | 3.00 |" in lines
    assert lines[0].startswith(
        "**avx2, 2 threads, in sequence.** In NCHW the geometric mean over the best peer is 2.12"
    )
    assert "    pointwise bench" in lines


def test_the_table_of_tuned_layers(markdown):
    def result(gain, form):
        return {"network": "mine", "layout": "NHWC", "gain": gain, "forms": {"tuned": form} if form else {}}

    lines = markdown.tuned_block(document([result(1.0, ""), result(1.21, "gemm, source in place")], tune=True))
    assert "| mine | NHWC | 2 | 1 | 1.100 | 1.21 |" in lines


def test_the_table_of_dtypes(markdown):
    def result(isa, kind, dtype, ratio):
        return {"isa": isa, "kind": kind, "dtype": dtype, "ratio": {"pointwise float32": ratio}}

    results = [
        result("avx2", kind, dtype, ratio)
        for kind, dtype, ratio in [
            *(("arithmetic", "float32", 1.0), ("arithmetic", "int8", 2.0), ("arithmetic", "int8", 4.5)),
            *(("large images", "float32", 1.0), ("large images", "int8", 3.0)),
        ]
    ]
    found = document(results) | {"errors": [{"isa": "avx2", "decibels": {"float32": -140.2, "int8": -34.6}}]}
    lines = markdown.dtypes_block(found)
    assert lines[0] == "| dtype | arithmetic, avx2 | large images, avx2 | error |"
    assert "| float32 | 1 | 1 | -140 dB |" in lines
    assert "| `QConv`: uint8 x, int8 weights | 3.00 (2.00) | 3.00 (3.00) | -35 dB |" in lines


def test_a_cold_run_says_so(markdown):
    assert markdown.heading(document([], cold=True)) == "avx2, 2 threads, cold"
    assert markdown.heading(document([])) == "avx2, 2 threads"
