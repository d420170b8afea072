"""Compare `QConv` with a float32 `Conv` and with QLinearConv of ONNX Runtime, on the layers of networks.

    python bench/quantized.py [--quick] [--threads 1] [--network NAME ...] [--json quantized.json]

x and the result are uint8, weights are int8 with a scale for each output channel. All contenders take turns in one
process and use the same number of threads. Only the fastest of several short timing blocks is used. Results are checked
before they are timed: pointwise exactly, and ONNX Runtime within 1. ONNX Runtime has no NHWC layout, and is left out if
it is not installed (pip install onnx onnxruntime). On CPUs without VNNI its sums may saturate, which the check finds.
"""

import argparse
import datetime
import importlib
import json
import math
import platform
import shlex
import sys
import time

import numpy as np
import pointwise as pw
from pointwise.bench.layers import default_networks, read_network
from pointwise.bench.timing import Effort, time_block, time_in_turn
from pointwise.cli.files import check_writable, replacing
from pointwise.cli.info import cpu_name
from pointwise.cli.parser import positive

EFFORT = Effort(seconds=0.2, block=3e-4, rounds=40)
QUICK = Effort(seconds=0.0, block=1e-4, rounds=2)
X_SCALE, X_ZERO, Y_ZERO = np.float32(0.02), np.uint8(128), np.uint8(120)


def peers():
    """Return the modules onnx and onnxruntime, or None if one of them is not installed."""
    try:
        return importlib.import_module("onnx"), importlib.import_module("onnxruntime")
    except ImportError:
        return None


def onnxruntime_call(modules, x, arrays, case, shape, threads):
    """Return a function that computes the layer with ONNX Runtime."""
    onnx, runtime = modules
    weight, weight_scale, y_scale, bias = arrays
    constants = {
        "x_scale": X_SCALE,
        "x_zero": X_ZERO,
        "w": weight[:, :, None, None],
        "w_scale": weight_scale,
        "w_zero": np.zeros(len(weight), np.int8),
        "y_scale": y_scale,
        "y_zero": Y_ZERO,
        "bias": bias,
    }
    attributes = {"kernel_shape": [1, 1], "group": case.groups, "strides": [case.stride] * 2}
    node = onnx.helper.make_node("QLinearConv", ["x", *constants], ["y"], **attributes)
    kind = onnx.TensorProto.UINT8
    graph = onnx.helper.make_graph(
        [node],
        "layer",
        [onnx.helper.make_tensor_value_info("x", kind, x.shape)],
        [onnx.helper.make_tensor_value_info("y", kind, shape)],
        [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)])
    model.ir_version = 8
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"x": x})[0]


def measure(case, layout, modules, threads, effort):
    """Return the result of one layer in one layout as a dictionary."""
    rng = np.random.default_rng(case.cin * 10 + case.cout)
    x = rng.integers(0, 256, case.shape(layout)).astype(np.uint8)
    weight = rng.integers(-127, 128, (case.cout, case.cin // case.groups)).astype(np.int8)
    weight_scale = rng.uniform(0.001, 0.01, case.cout).astype(np.float32)
    bias = rng.integers(-1000, 1000, case.cout).astype(np.int32)
    y_scale = np.float32(0.1 * math.sqrt(weight.shape[1]) / 8)
    how = {"layout": layout, "stride": case.stride, "groups": case.groups}
    layer = pw.QConv(X_SCALE, X_ZERO, weight, weight_scale, 0, y_scale, Y_ZERO, bias, **how)
    floating = pw.Conv(weight.astype(np.float32), bias.astype(np.float32), **how)
    y, x_float = layer(x), x.astype(np.float32)
    y_float = floating(x_float)
    sums = floating(x_float - np.float32(X_ZERO))  # sums of integers below 2**24 are exact in float32
    if abs(sums).max() < 2**23:
        factor = X_SCALE * weight_scale / y_scale
        of_channels = factor.reshape([-1 if axis == "C" else 1 for axis in layout])
        exact = (np.rint(sums * of_channels) + Y_ZERO).clip(0, 255)
        np.testing.assert_array_equal(y, exact, "pointwise")
    calls = {"pointwise": lambda: layer(x, y), "float32": lambda: floating(x_float, out=y_float)}
    if modules is not None and layout == "NCHW":
        arrays = (weight, weight_scale, y_scale, bias)
        calls["onnxruntime"] = onnxruntime_call(modules, x, arrays, case, y.shape, threads)
        wrong = np.abs(calls["onnxruntime"]().astype(int) - y).max()
        assert wrong <= 1, f"onnxruntime: {case} differs by {wrong}"
    timers = {name: lambda n, call=call: time_block(call, n) for name, call in calls.items()}
    seconds = time_in_turn(timers, time.perf_counter() + effort.seconds * len(calls), effort)
    return {
        **case.columns(),
        "layout": layout,
        "seconds": seconds,
        "ratio": {name: s / seconds["pointwise"] for name, s in seconds.items() if name != "pointwise"},
        "operations_per_second": case.cost(layout).flops / seconds["pointwise"],
    }


def main():
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="measure two layers, for a moment")
    parser.add_argument("--threads", type=positive, default=1)
    parser.add_argument("--network", nargs="+", choices=default_networks(), default=["resnet50", "mobilenet_v2"])
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    if args.json:
        check_writable(args.json)
    modules, effort = peers(), QUICK if args.quick else EFFORT
    cases = [case for network in args.network for case in read_network(network)]
    results = []
    with pw.num_threads(args.threads):
        for case in cases[-2:] if args.quick else cases:
            for layout in ("NCHW", "NHWC"):
                r = measure(case, layout, modules, args.threads, effort)
                results.append(r)
                shown = ", ".join(f"{name} {ratio:.2f}" for name, ratio in r["ratio"].items())
                speed = f"{r['operations_per_second'] / 1e9:.0f} GOP/s"
                print(f"{case.network}/{case.layer}, {layout}: {speed}; times {shown}", flush=True)
    for layout in ("NCHW", "NHWC"):
        for peer in ("float32", "onnxruntime"):
            ratios = [r["ratio"][peer] for r in results if r["layout"] == layout and peer in r["ratio"]]
            if ratios:
                mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
                print(f"{layout}: {mean:.2f} times as fast as {peer}, at least {min(ratios):.2f}")
    if args.json:
        versions = {"python": platform.python_version(), "numpy": np.__version__}
        versions |= {} if modules is None else {"onnxruntime": modules[1].__version__}
        found = {
            "machine": {"cpu": cpu_name(), "isa": pw.isa(), "threads": args.threads, "versions": versions},
            "run": {
                "date": datetime.date.today().isoformat(),
                "command": shlex.join(["python", "bench/quantized.py", *sys.argv[1:]]),
                "build": f"pointwise {pw.__version__}, compiler {pw.show_config('dicts')['compiler']}",
            },
            "results": results,
        }
        with replacing(args.json) as file:
            file.write(json.dumps(found, indent=1, allow_nan=False).encode() + b"\n")


if __name__ == "__main__":
    main()
