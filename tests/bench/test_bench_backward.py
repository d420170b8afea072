"""The benchmark with --pass backward. No test asserts a time."""

import importlib.util
import json

import numpy as np
import pytest
from pointwise import bench
from pointwise.__main__ import main

TABLE = """network,layer,n,cin,cout,h,w,stride,groups
one,plain,1,8,16,6,5,1,1
one,strided,2,8,4,7,6,2,1
two,grouped,2,12,8,5,5,2,4
two,depthwise,3,6,6,4,5,1,6
"""
FLEETING = bench.timing.Effort(seconds=0.0, block=1e-4, rounds=1)
CASES = [
    gradient
    for sizes in ((1, 8, 16, 6, 5, 1, 1), (2, 8, 4, 7, 6, 2, 1), (2, 12, 8, 5, 5, 3, 4), (3, 6, 6, 4, 5, 1, 6))
    for gradient in bench.layers.Case("t", "layer", *sizes).gradients()
]
PEERS = [name for name in ("numpy", "torch") if importlib.util.find_spec(name)]


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Make a table in the working directory, and very short measurements."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bench.command, "fma_peak", lambda threads, dtype="float32": 50e9)
    monkeypatch.setattr(bench.command, "copy_bandwidth", lambda threads: 10e9)
    monkeypatch.setattr(bench.processes, "fma_peak", lambda threads, blocks, block, dtype="float32": 40e9)
    monkeypatch.setattr(bench.command, "QUICK", FLEETING)
    (tmp_path / "table.csv").write_text(TABLE)
    return tmp_path


def run(table, options):
    assert main(f"bench --pass backward --layers table.csv --quick --json out.json {options}".split()) == 0
    return json.loads((table / "out.json").read_text())


def expected(case, layout, arrays):
    """Compute the gradients by sums over single groups, from arrays in the layout."""
    grad, x = (a if layout == "NCHW" else a.transpose(0, 3, 1, 2) for a in (arrays.grad, arrays.x))
    s = case.stride
    grads, read = np.split(grad, case.groups, 1), np.split(x[:, :, ::s, ::s], case.groups, 1)
    if case.gradient == "dw":
        dw = [np.einsum("nohw,nihw->oi", g, part) for g, part in zip(grads, read, strict=True)]
        return (np.concatenate(dw), grad.sum((0, 2, 3)))
    dx = np.zeros_like(x)
    weights = np.split(arrays.weight, case.groups)
    dx[:, :, ::s, ::s] = np.concatenate(
        [np.einsum("oi,nohw->nihw", w, g) for w, g in zip(weights, grads, strict=True)], 1
    )
    return (dx if layout == "NCHW" else dx.transpose(0, 2, 3, 1),)


@pytest.mark.parametrize("layout", bench.layers.LAYOUTS)
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.gradient} n{case.n} g{case.groups} s{case.stride}")
def test_every_form_computes_the_gradient(case, layout):
    arrays = bench.backward.integers(case, layout)
    kept = [array.copy() for array in arrays]
    right = expected(case, layout, arrays)
    for bias in (True, False) if case.gradient == "dw" else (True,):
        changed = case.with_epilogue(bench.epilogue.Epilogue(bench.epilogue.NO_ACTIVATION, bias=bias))
        for name in ("pointwise", *PEERS):
            forms = bench.backward.CONTENDERS[name](changed, layout, arrays, 1)
            assert forms
            for form, call in forms.items():
                results = call()
                assert len(results) == len(right) - (not bias)
                for result, array in zip(results, right, strict=False):
                    assert result.dtype == np.float32
                    np.testing.assert_array_equal(result, array, err_msg=f"{name} {form}")
    assert all(np.array_equal(array, copy) for array, copy in zip(arrays, kept, strict=True))


def test_calls_use_random_numbers_after_the_check():
    case = CASES[1]
    forms = bench.backward.prepare(["pointwise", "numpy"], 1, case, "NCHW")
    arrays = bench.backward.integers(case, "NCHW")
    bench.backward.randomize(arrays)
    right = expected(case, "NCHW", arrays)
    for name in ("pointwise", "numpy"):
        for call in forms[name].values():
            for result, array in zip(call(), right, strict=True):
                np.testing.assert_allclose(result, array, rtol=1e-4, atol=1e-4)
                assert not np.array_equal(result, np.rint(result))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (
            lambda dw, db: (dw + (dw == dw.max()), db),
            r"wrong dw of numpy \(.*\) on t layer in NCHW: 1 of 32 ",
        ),
        (lambda dw, db: (dw, db * np.nan), "wrong db of numpy .*: 4 of 4 elements; at .0,. nan, not "),
        (lambda dw, db: (dw.T, db), r"wrong dw of numpy .*: shape \(8, 4\), dtype float32, not \(4, 8\), float32"),
        (lambda dw, db: (dw.astype(np.float64), db), "wrong dw of numpy .*: .* dtype float64, not"),
    ],
)
def test_a_wrong_gradient_is_found(spoil, words, monkeypatch):
    right = bench.backward.CONTENDERS["numpy"]

    def build(*arguments):
        return {form: lambda call=call: spoil(*call()) for form, call in right(*arguments).items()}

    monkeypatch.setitem(bench.backward.CONTENDERS, "numpy", build)
    with pytest.raises(bench.verify.WrongResult, match=words):
        bench.backward.prepare(["pointwise", "numpy"], 1, CASES[3], "NCHW")


def test_the_cost_of_a_gradient():
    case = bench.layers.Case("t", "layer", 2, 12, 8, 5, 5, 2, 4)
    dx, dw = case.gradients()
    forward = case.cost()
    assert dx.cost().flops == dw.cost().flops == forward.flops == 2 * (2 * 8 * 9) * 3
    assert dw.cost().bytes == forward.bytes
    assert dx.cost().bytes == 4 * (2 * 8 * 9 + 8 * 3 + 2 * 12 * 25)
    assert dx.cost().intensity == dx.cost().flops / dx.cost().bytes
    assert [dx.words(), dw.words(), case.words()] == ["dx", "dw, with bias", "bias and ReLU"]


@pytest.mark.parametrize("threads", [1, 2])
def test_backward(table, capsys, threads):
    found = run(table, f"--threads {threads} --batch 2 {'--no-bias' if threads == 2 else ''}")
    assert found["settings"]["pass"] == "backward"
    assert found["settings"]["activation"] == "none"
    rows = [(row["layout"], row["layer"], row["gradient"]) for row in found["results"]]
    layers = ("plain", "strided", "grouped", "depthwise")
    assert rows == [(layout, layer, d) for layout in ("NCHW", "NHWC") for layer in layers for d in ("dx", "dw")]
    for row in found["results"]:
        assert row["n"] == 2
        assert row["ratio"]["numpy"] == row["seconds"]["numpy"] / row["seconds"]["pointwise"]
        assert row["peak_fraction"] > 0
    assert list(found["summary"]) == ["NCHW dx", "NCHW dw", "NHWC dx", "NHWC dw"]
    assert all(summary["layers"] == 4 for summary in found["summary"].values())
    out = capsys.readouterr().out
    for words in ("NCHW, float32, dx\n", f"NHWC, float32, dw{', with bias' if threads == 1 else ''}\n", "NHWC dw: "):
        assert words in out


def test_a_wrong_gradient_ends_the_run(table, monkeypatch, capsys):
    monkeypatch.setitem(bench.backward.CONTENDERS, "numpy", lambda *arguments: {"": lambda: (np.zeros(3),)})
    assert main(["bench", "--pass", "backward", "--layers", "table.csv", "--quick"]) == 1
    assert "wrong dx of numpy on one plain in NCHW: shape (3,)" in capsys.readouterr().err


def test_plot(table, monkeypatch):
    pytest.importorskip("matplotlib")
    run(table, "--plot out.svg")
    svg = (table / "out.svg").read_text()
    assert "gradients" in svg
    assert all(f"pointwise, {layout} {d}" in svg for layout in bench.layers.LAYOUTS for d in ("dx", "dw"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--activation relu", "--pass backward cannot be combined with --activation"),
        ("--residual", "--pass backward cannot be combined with --residual"),
        *(
            (f"--{mode}", f"--pass backward cannot be combined with --{mode}")
            for mode in ("cold", "sequence", "tune", "neighbour", "company", "explain")
        ),
        ("--vs openvino", "--vs with --pass backward must be a comma-separated list of numpy, torch, got 'openvino'"),
    ],
)
def test_refused(options, words, capsys, monkeypatch):
    monkeypatch.setattr(bench.command, "fma_peak", lambda threads, dtype="float32": pytest.fail("the run has started"))
    assert main(["bench", "--pass", "backward", *options.split()]) == 2
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1
