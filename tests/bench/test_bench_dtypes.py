"""`pointwise bench --dtype`: the layers, their checks and their figures. No test asserts a time."""

import dataclasses
import json
import math

import numpy as np
import pytest
from pointwise import bench
from pointwise.__main__ import main

TINY = """network,layer,n,cin,cout,h,w,stride,groups
tiny,plain,1,8,16,6,5,1,1
tiny,strided,2,12,8,5,5,2,4
"""
FLEETING = bench.timing.Effort(seconds=0.0, block=1e-4, rounds=1)
DTYPES = list(bench.dtypes.DTYPES)
CASE = bench.layers.Case("t", "it", 2, 12, 8, 5, 7, 2, 2)


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for module in (bench.command, bench.processes):
        monkeypatch.setattr(module, "fma_peak", lambda threads, dtype="float32", **how: 40e9)
    monkeypatch.setattr(bench.command, "copy_bandwidth", lambda threads: 10e9)
    monkeypatch.setattr(bench.command, "last_level_cache", lambda: 5000)
    for effort in ("QUICK", "COLD_QUICK", "NETWORK_QUICK"):
        monkeypatch.setattr(bench.command, effort, FLEETING)
    (tmp_path / "tiny.csv").write_text(TINY)
    return tmp_path


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_run_in_a_dtype(tiny, capsys, dtype):
    command = ["bench", "--layers", "tiny.csv", "--quick", "--dtype", dtype, "--json", "f.json", "--plot", "f.svg"]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert f"NCHW, {dtype}, bias and ReLU" in out
    found = json.loads((tiny / "f.json").read_text())
    assert found["settings"]["dtype"] == dtype
    peers = {"numpy"} if dtype == "float32" else {"numpy", "pointwise float32"}
    assert len(found["results"]) == 4
    for row in found["results"]:
        assert set(row["ratio"]) == peers
        assert set(row["seconds"]) == {"pointwise", *peers}
        assert row["peak"] == 40e9 * bench.dtypes.products(dtype)
        assert math.isclose(row["bandwidth_fraction"], row["cost"]["bytes"] / row["seconds"]["pointwise"] / 10e9)
    sizes = {"float32": 4, "float64": 8, "float16": 2, "bfloat16": 2}
    x, weight, y = (240, 128, 480)  # elements of the first layer
    of_channels = 64  # bytes of 16 float32 or int32 numbers, such as the bias
    expected = {"uint8": x + 4 * (weight + y) + of_channels, "int8": x + weight + y + 2 * of_channels}
    if dtype in sizes:
        expected[dtype] = sizes[dtype] * (x + weight + y) + (128 if dtype == "float64" else 64)
    assert found["results"][0]["cost"]["bytes"] == expected[dtype]


@pytest.mark.parametrize("mode", ["--cold", "--sequence"])
@pytest.mark.parametrize("dtype", ["bfloat16", "int8"])
def test_other_modes(tiny, capsys, dtype, mode):
    command = ["bench", "--layers", "tiny.csv", "--quick", "--dtype", dtype, mode, "--json", "f.json"]
    assert main(command) == 0
    for row in json.loads((tiny / "f.json").read_text())["results"]:
        assert row["seconds"]["pointwise float32"] > 0


def test_a_float32_run_of_pointwise_is_no_peer(tiny):
    assert main(["bench", "--layers", "tiny.csv", "--quick", "--dtype", "int8", "--json", "f.json"]) == 0
    found = json.loads((tiny / "f.json").read_text())
    assert "best_peer" not in found["summary"]["NCHW"]
    blocks = {name: [bench.timing.Block(1e-3)] for name in ("pointwise", "numpy")}
    blocks["pointwise float32"] = [bench.timing.Block(1e-6)]
    result = bench.measure.Result(CASE, "NCHW", CASE.cost(), blocks, 1e9)
    assert result.best_peer() == "numpy"


@pytest.mark.parametrize("layout", bench.layers.LAYOUTS)
@pytest.mark.parametrize("activation", ["none", "relu", "relu6", "clip,-1,2"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_contenders_agree_with_the_reference(dtype, activation, layout):
    epilogue = bench.epilogue.Epilogue(bench.epilogue.parse_activation(activation))
    case = dataclasses.replace(CASE, dtype=dtype, epilogue=epilogue)
    prepared = bench.preparation.prepare(["pointwise", "numpy", "pointwise float32"], 1, case, layout)
    assert set(prepared) == {"pointwise", "numpy", "pointwise float32"}
    y = prepared["pointwise"][1]()
    assert y.dtype.name == case.dtypes.result
    assert prepared["pointwise float32"][1]().dtype == np.float32
    if dtype == "int8" and activation == "relu":
        assert y.max() > y.min() == 0


@pytest.mark.parametrize("layout", bench.layers.LAYOUTS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["torch", "onnxruntime", "openvino", "xnnpack"])
def test_frameworks_agree_with_the_reference(name, dtype, layout):
    if dtype not in bench.contenders.peer_dtypes(name):
        return
    for module in bench.contenders.MODULES[name]:
        pytest.importorskip(module)
    for activation in ("none", "relu", "relu6", "clip,-1,2"):
        epilogue = bench.epilogue.Epilogue(bench.epilogue.parse_activation(activation))
        if bench.contenders.left_out(name, epilogue.activation) is None:
            case = dataclasses.replace(CASE, dtype=dtype, epilogue=epilogue)
            prepared = bench.preparation.prepare([name], 1, case, layout)
            assert (name in prepared) == (name != "xnnpack" or layout == "NHWC")


def test_the_reference_of_int8_is_qconv():
    """The reference of the benchmark agrees with the definition, computed with Python's integers."""
    case = bench.layers.Case("t", "it", 1, 3, 2, 1, 2, 1, 1, dtype="int8")
    arrays = bench.operands.operands(case, "NHWC")
    y = bench.quantized.expected(case, "NHWC", arrays)
    for p, o in np.ndindex(2, 2):
        total = int(arrays.bias[o])
        for i in range(3):
            total += int(arrays.weight[o, i]) * (int(arrays.x[0, 0, p, i]) - 128)
        factor = bench.quantized.X_SCALE * arrays.scales[o] / bench.quantized.y_scale(case)
        assert y[0, 0, p, o] == np.clip(np.rint(np.float32(total) * factor), 0, 255)


@pytest.mark.parametrize(("dtype", "step"), [("int8", 1), ("uint8", 0.01), ("bfloat16", 0.1), ("float64", 1e-9)])
def test_wrong_results_are_found(dtype, step):
    case = CASE.in_dtype(dtype)
    arrays = bench.operands.operands(case, "NCHW")
    prepared = bench.preparation.prepare(["pointwise"], 1, case, "NCHW")["pointwise"][1]
    bench.verify.check(case, "NCHW", arrays, {"pointwise": prepared})

    def wrong():
        y = prepared().copy()
        y[0, 3, 1, 2] += np.asarray(step).astype(y.dtype) if y[0, 3, 1, 2] < 200 else np.uint8(255)
        return y

    with pytest.raises(
        bench.verify.WrongResult, match=r"wrong result of pointwise .*\b1 of \d+ elements; at \(0, 3, 1"
    ):
        bench.verify.check(case, "NCHW", arrays, {"pointwise": wrong})
    if dtype == "int8":
        bench.verify.check(case, "NCHW", arrays, {"a peer": wrong})  # others may differ by 1
        bench.verify.check(case, "NCHW", arrays, {"a peer": lambda: bench.quantized.signed(prepared())})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--dtype float8", "--dtype"),
        ("--dtype int8 --tune", "--tune cannot be combined with --dtype int8"),
        ("--dtype int8 --residual", "--residual cannot be combined with --dtype int8"),
        ("--dtype int8 --activation gelu", "activation must be"),
        ("--dtype bfloat16 --explain", "--dtype cannot be combined with --explain"),
        ("--dtype float64 --neighbour", "--dtype cannot be combined with --neighbour"),
        ("--dtype float16 --company", "--dtype cannot be combined with --company"),
    ],
)
def test_what_is_refused(tiny, capsys, options, message):
    try:
        status = main(["bench", *options.split()])
    except SystemExit as error:
        status = error.code
    assert status == 2
    assert message in capsys.readouterr().err


def test_a_peer_without_the_dtype_is_refused(tiny, capsys, monkeypatch):
    monkeypatch.setattr(bench.command.importlib.util, "find_spec", lambda name: object())
    assert main(["bench", "--dtype", "bfloat16", "--vs", "openvino"]) == 2
    assert "--vs openvino cannot compute --dtype bfloat16, only float32" in capsys.readouterr().err


def test_the_peak_of_a_dtype():
    products = bench.dtypes.products
    assert [products("bfloat16", isa) for isa in ("avx2", "avx512_vnni", "avx512_bf16")] == [1, 1, 2]
    assert [products("int8", isa) for isa in ("portable", "avx2", "avx512", "avx2_vnni", "avx512_bf16")] == [
        *(1, 2, 2, 4, 4)
    ]
    peaks = {"float32": 100.0, "float64": 50.0}
    assert bench.dtypes.peak("float64", peaks.__getitem__) == 50
    assert bench.dtypes.peak("uint8", peaks.__getitem__) == 100
