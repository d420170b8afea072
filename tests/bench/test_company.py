"""Test the measurements and files of ``pointwise bench --company``. No test asserts a time."""

import json
import math
import os

import pytest
from pointwise import bench
from pointwise.__main__ import main

FLEETING = bench.company.Schedule(rounds=2, calls=1, images=((1, 32),))


@pytest.fixture
def fleeting(tmp_path, monkeypatch):
    """Make an empty working directory, with round figures for the machine and few calls."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bench.command, "fma_peak", lambda threads, dtype="float32": 50e9 * threads)
    monkeypatch.setattr(bench.command, "copy_bandwidth", lambda threads: 10e9)
    monkeypatch.setattr(bench.company, "QUICK", FLEETING)
    return tmp_path


def check_document(found, library, layouts, threading=("workers", "openmp")):
    rows = [row for row in found["results"] if row["library"] == library]
    assert [row["layout"] for row in rows] == layouts
    for row in rows:
        assert 0 < row["without"] < math.inf
        assert 0 < row["together"] < math.inf
        assert row["threading"] in threading
        times = row["together"], row["without"]
        assert row["ratio"] == (times[0] / times[1] if library == "numpy" else times[1] / times[0])
    ratios = [row["ratio"] for row in rows]
    assert found["summary"][library] == {
        "results": len(rows),
        "least_ratio": min(ratios),
        "largest_ratio": max(ratios),
    }


def test_numpy(fleeting, monkeypatch, capsys):
    monkeypatch.setattr(bench.company, "_has_torch", lambda: False)
    assert main(["bench", "--company", "--quick", "--json", "out.json"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert os.listdir() == ["out.json"]
    found = json.loads((fleeting / "out.json").read_text())
    assert found["settings"]["company"] is True
    assert found["machine"]["threads"] == 2
    assert set(found["summary"]) == {"numpy"}
    check_document(found, "numpy", ["NCHW", "NHWC"])
    assert "384x384 product" in out


def test_torch(fleeting, capsys):
    pytest.importorskip("torch")
    assert main(["bench", "--company", "--quick", "--layout", "NHWC", "--threads", "1", "--json", "out.json"]) == 0
    assert "MobileNetV2, 1x3x32x32" in capsys.readouterr().out
    found = json.loads((fleeting / "out.json").read_text())
    assert "torch" in found["machine"]["versions"]
    check_document(found, "numpy", ["NHWC"])
    check_document(found, "torch", ["NHWC"], ("openmp",))


def test_a_wrong_result_is_an_error(fleeting, monkeypatch, capsys):
    class Wrong(bench.company.Conv):
        def __call__(self, x, *arguments, **keywords):
            return 2 * super().__call__(x, *arguments, **keywords)

    monkeypatch.setattr(bench.company, "Conv", Wrong)
    assert main(["bench", "--company", "--quick"]) == 1
    assert "a different result than NumPy" in capsys.readouterr().err


@pytest.mark.parametrize(
    "argv",
    [
        ["--plot", "out.png"],
        ["--vs", "numpy"],
        ["--neighbour"],
        ["--explain"],
        ["--network", "resnet50"],
        ["--layers", "layers.csv"],
        ["--batch", "2"],
        ["--activation", "gelu"],
        ["--residual"],
        ["--no-bias"],
        ["--layer", "1x3x4x4:1"],
    ],
)
def test_options_that_do_not_go_with_it(argv, fleeting, capsys):
    assert main(["bench", "--company", *argv]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"pointwise bench: {argv[0]} does not go with --company, which has its own layers and libraries\n"
    assert os.listdir() == []
