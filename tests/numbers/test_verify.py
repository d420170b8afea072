"""Test ``pointwise verify``: equal hashes on AVX2 and AVX-512, and reports of differences."""

import json

import numpy as np
import pointwise as pw
import pytest
from pointwise import _core
from pointwise.__main__ import main
from pointwise.cli import verify

SUPPORTED = _core.supported_isas()
EXPECTED = json.loads(verify.EXPECTED.read_text())
canonical_only = pytest.mark.skipif(pw.isa() == "portable", reason="the portable kernels keep the bound, not the bits")


@pytest.fixture
def few(monkeypatch):
    """Leave two columns and two rows of the table."""
    kept = ("chunks", "scaled input", "images")
    monkeypatch.setattr(verify, "KINDS", {name: verify.KINDS[name] for name in ("float32", "to uint8")})
    monkeypatch.setattr(verify, "LAYERS", {name: verify.LAYERS[name] for name in kept})


@pytest.mark.parametrize("isa", ["avx2", "avx512", "avx512_bf16"])
def test_the_hashes_are_the_expected_ones(isa, forked):
    if isa not in SUPPORTED:
        pytest.skip(f"this CPU, or this build, has no {isa}")
    script = """
import json, pointwise as pw
from pointwise.cli import verify
found, differences = verify.compute_all()
print(json.dumps([pw.isa(), found, differences]))
"""
    assert json.loads(forked(script, POINTWISE_ISA=isa)) == [isa, EXPECTED, []]


def test_every_result_has_its_own_hash():
    """If a result were constant, or did not depend on an option, two hashes would be equal."""
    others = {kind: dict(rows) for kind, rows in EXPECTED.items()}
    assert others["to uint8"].pop("gradient") == EXPECTED["uint8"]["gradient"]  # a gradient has one dtype
    assert others["weight i8"].pop("gradient") == EXPECTED["float32"]["gradient"]
    hashes = [value for rows in others.values() for value in rows.values()]
    assert len(set(hashes)) == len(hashes) >= 128
    assert set(EXPECTED) == {*verify.KINDS, verify.QUANTIZED}


def test_the_formula_of_the_inputs():
    """The first numbers of SplitMix64 with the seed 0, as its author published them."""
    published = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert verify.random_bits(0, 3).tolist() == published


@pytest.mark.parametrize("kind", verify.KINDS)
def test_inputs_are_exact_and_fill_their_dtype(kind):
    kind = verify.KINDS[kind]
    a = verify.numbers(5, (4, 500), kind.x, kind.digits, exponent=1)
    assert a.dtype == kind.x
    assert len(np.unique(a.astype(np.float64))) > min(1900, 2 ** (8 * a.dtype.itemsize) - 10, 2 ** (kind.digits - 1))
    if kind.x in ("float16", "bfloat16"):
        assert 1 < abs(a.astype(np.float64)).max() <= 2
    elif a.dtype.kind == "f":
        assert 1 < abs(a).max() <= 2
        half = np.float16 if a.dtype == np.float32 else np.float32
        assert (a.astype(half) != a).mean() > 0.9
    else:
        info = np.iinfo(a.dtype)
        assert a.max() > 0.9 * info.max
        assert a.min() < info.min * 0.9 + info.max * 0.1


def test_results_use_the_range_of_their_dtype():
    y = verify.Problem("many channels", verify.KINDS["to uint8"]).compute("NCHW", None)
    assert y.dtype == np.uint8
    assert len(np.unique(y)) > 250
    for row in verify.LAYERS:
        y = verify.QuantizedProblem(row).compute("NCHW")
        assert y.dtype == np.uint8
        assert len(np.unique(y)) > (20 if y.size < 100 else 80), row


@canonical_only
def test_the_command(capsys):
    assert main(["verify"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 * (1 + len(EXPECTED["float32"])) + 2
    assert lines[-2] == f"all {verify.hash_of_all(EXPECTED)}"
    assert not any("*" in line for line in lines)
    assert max(map(len, lines)) <= 100


@canonical_only
def test_a_changed_hash_is_reported(few, monkeypatch, tmp_path, capsys):
    assert main(["verify", "--write", str(tmp_path / "new.json")]) == 0
    written = json.loads((tmp_path / "new.json").read_text())
    assert written == verify.compute_all()[0]
    written["float32"]["chunks"] = "00000000"
    del written["to uint8"]["gradient"]
    (tmp_path / "new.json").write_text(json.dumps(written))
    monkeypatch.setattr(verify, "EXPECTED", tmp_path / "new.json")
    capsys.readouterr()
    assert main(["verify"]) == 1
    out = capsys.readouterr().out
    assert "float32, chunks: " in out
    assert " instead of 00000000; sums are within the error bound: the largest error is 0." in out
    assert "to uint8, gradient: " in out
    assert "DIFFERENT: 2 differences" in out
    assert out.count("*") == 2


@canonical_only
def test_a_wrong_result_is_reported(few, monkeypatch, capsys):
    """A wrong kernel of one layout shows as a difference between ways, and as an error beyond the bound."""
    right = verify.Problem.compute

    class Wrong(pw.Conv):
        def __call__(self, *arrays, **how):
            return super().__call__(*arrays, **how) * np.float32(1.001)

    def wrong(problem, layout, activation):
        y = right(problem, layout, activation)
        return y + y.dtype.type(1) if layout == "NHWC" else y

    monkeypatch.setattr(verify.Problem, "compute", wrong)
    monkeypatch.setattr(verify, "Conv", Wrong)
    monkeypatch.setattr(verify, "LAYERS", {**verify.LAYERS, "chunks": verify.Layer(1, 600, 23, 7, 9)})
    assert main(["verify"]) == 1
    out = capsys.readouterr().out
    assert "float32, chunks: ways of computing it differ: NCHW, " in out
    assert "sums are BEYOND the error bound" in out


@pytest.mark.parametrize("row", verify.LAYERS)
def test_the_error_is_that_of_the_bound(row):
    """The error is neither 0 nor beyond the bound, whatever the options of the layer."""
    for kind in ("float32", "float64", "float16", "bfloat16", "int8"):
        assert 0 < verify.Problem(row, verify.KINDS[kind]).error() < 1


def test_without_ml_dtypes(forked):
    script = """
import sys
sys.modules["ml_dtypes"] = None
from pointwise.__main__ import main
print(main(["verify"]))
"""
    out = forked(script)
    assert "without bfloat16, so the hash of all is another one: run pip install ml_dtypes" in out
    assert out.endswith("0")


def test_portable(forked, tmp_path):
    script = f"""
from pointwise.__main__ import main
from pointwise.cli import verify
print(main(["verify"]), main(["verify", "--write", {str(tmp_path / "no.json")!r}]))
"""
    out = forked(script, POINTWISE_ISA="portable")
    assert "The portable kernels keep the error bound, not the bits" in out
    assert "The largest error is 0." in out
    assert out.endswith("0 2")
    assert not list(tmp_path.iterdir())
