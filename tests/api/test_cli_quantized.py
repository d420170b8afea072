"""`pointwise run` with scales and zero points: quantized convolutions of files."""

import numpy as np
import pointwise as pw
import pytest
from pointwise import cli
from pointwise.__main__ import main

X_SHAPE, SCALES = (3, 8, 5, 4), "--x-scale 0.5 --weight-scale 0.25 --y-scale 8"


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    arrays = {
        "x": rng.integers(0, 256, X_SHAPE).astype(np.uint8),
        "w": rng.integers(-128, 128, (6, 8)).astype(np.int8),
        "b": rng.integers(-999, 999, 6).astype(np.int32),
        "s": rng.uniform(0.1, 1, 6).astype(np.float32),
        "z": rng.integers(-9, 9, 6).astype(np.int8),
    }
    for name, array in arrays.items():
        np.save(f"{name}.npy", array)
    return arrays


def run(options):
    return main(["run", "x.npy", "w.npy", "-o", "y.npy", *options.split()])


@pytest.mark.parametrize("block", [1, 64 << 20])
@pytest.mark.parametrize("out", ["uint8", "int8"])
def test_qconv(files, monkeypatch, out, block):
    monkeypatch.setattr(cli.run, "BLOCK_BYTES", block)
    options = "--x-scale 0.5 --weight-scale s.npy --y-scale 8 --x-zero-point 3 --weight-zero-point z.npy --bias b.npy"
    assert run(f"{options} --y-zero-point 7 --out-dtype {out} --stride 2 --activation relu") == 0
    x, w, b, s, z = files.values()
    zero = np.dtype(out).type(7)
    expected = pw.qconv(x, 0.5, np.uint8(3), w, s, z, 8, zero, b, stride=2, activation="relu")
    y = np.load("y.npy")
    assert y.dtype == out
    np.testing.assert_array_equal(y, expected)


def test_defaults(files, capsys):
    """Zero points are 0, and the result has the dtype of x."""
    assert run(SCALES) == 0
    assert capsys.readouterr().out == "y.npy: shape (3, 6, 5, 4), dtype uint8\n"
    expected = pw.qconv(files["x"], 0.5, 0, files["w"], 0.25, 0, 8, np.uint8(0))
    np.testing.assert_array_equal(np.load("y.npy"), expected)


def test_conv_integer(files):
    assert run("--x-zero-point 128 --weight-zero-point z.npy --layout NCHW") == 0
    y = np.load("y.npy")
    assert y.dtype == np.int32
    np.testing.assert_array_equal(y, pw.conv_integer(files["x"], files["w"], 128, files["z"]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--x-scale 1", "need all scales: add --weight-scale and --y-scale"),
        (f"{SCALES} --axis 1", "--axis cannot be combined with scales"),
        (f"{SCALES} --out-dtype float32", "must be uint8 or int8, got float32"),
        (f"{SCALES} --y-zero-point 256", "--y-zero-point must be an integer from 0 to 255, got 256"),
        (f"{SCALES} --y-zero-point 1.5", "--y-zero-point must be an integer from 0 to 255, got 1.5"),
        (f"{SCALES} --x-zero-point 256", "x_zero_point must"),
        (f"{SCALES} --activation gelu", "activation must be"),
        ("--x-zero-point 1 --bias b.npy", "--bias needs --x-scale, --weight-scale and --y-scale"),
        ("--x-zero-point 1 --y-zero-point 1", "--y-zero-point needs --x-scale"),
        ("--x-scale one", "expected a number or an .npy file, got 'one'"),
        ("--x-scale none.npy", "none.npy"),
    ],
)
def test_messages(files, capsys, tmp_path, options, message):
    try:
        status = run(options)
    except SystemExit as error:
        status = error.code
    assert status == 2
    lines = capsys.readouterr().err.splitlines()
    assert message in lines[-1]
    assert not (tmp_path / "y.npy").exists()
