"""Measure the 5x5 branch of GoogLeNet's Inception modules with and without its 1x1 layer (pip install torch).

    python bench/inception.py [--quick] [--threads 1] [--json inception.json]

pointwise computes the 1x1 layer, and PyTorch computes the 5x5 layer. Both layers have bias and ReLU. Three calls take
turns in one process: the 5x5 layer alone, the 1x1 layer alone, and the 1x1 layer followed by a 5x5 layer. PyTorch is
measured on contiguous and on channels_last tensors. All modules are measured --passes times, because other programs may
slow the CPU for a while. Only the fastest timing block of all passes is used. Results are checked before they are
timed. docs/why.md shows the times.

The shapes are those of Szegedy et al., "Going Deeper with Convolutions", 2015, table 1. Modules of equal shapes are
measured once.
"""

import argparse
import datetime
import json
import platform
import shlex
import sys
import time

import numpy as np
import pointwise as pw
from pointwise.bench.layers import read_network
from pointwise.bench.timing import Effort, time_block, time_in_turn
from pointwise.cli.files import check_writable, replacing
from pointwise.cli.info import cpu_name
from pointwise.cli.parser import positive, require

OUTPUTS = {"3a": 32, "3b": 96, "4a": 48, "4b": 64, "4d": 64, "4e": 128, "5a": 128, "5b": 128}  # of the 5x5 layers
EFFORT = Effort(seconds=0.4, block=4e-3, rounds=5)
QUICK = Effort(seconds=0.0, block=1e-3, rounds=2)


def branches():
    """Return the name of each module, its 1x1 layer and the output channels of its 5x5 layer."""
    layers = {case.layer: case for case in read_network("googlenet")}
    return [(name, layers[f"inception_{name}/5x5_reduce"], c_out) for name, c_out in OUTPUTS.items()]


def random_layer(rng, c_out, c_in, size):
    """Return the weights and the bias of a layer whose results have about the magnitude of its inputs."""
    weight = rng.standard_normal((c_out, c_in, size, size), dtype=np.float32) / np.float32((c_in * size * size) ** 0.5)
    return weight, rng.standard_normal(c_out, dtype=np.float32)


def calls_for(torch, case, c_out, layout):
    """Return the three calls. Their results are NumPy arrays in this layout, which share the memory of tensors."""
    rng = np.random.default_rng(case.cin)
    channels_last = layout == "NHWC"
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    wide, reduce, narrow = (
        random_layer(rng, *sizes) for sizes in ((c_out, case.cin, 5), (case.cout, case.cin, 1), (c_out, case.cout, 5))
    )
    x = rng.standard_normal((case.n, case.cin, case.h, case.w), dtype=np.float32)
    x = np.ascontiguousarray(x.transpose(0, 2, 3, 1)) if channels_last else x
    layer = pw.Conv(*reduce, layout=layout, activation="relu")

    def five(parameters):
        weight, bias = map(torch.from_numpy, parameters)
        weight = weight.contiguous(memory_format=memory_format)

        def call(array):
            with torch.inference_mode():
                tensor = torch.from_numpy(array)
                tensor = tensor.permute(0, 3, 1, 2) if channels_last else tensor
                y = torch.relu_(torch.conv2d(tensor, weight, bias, padding=2)).numpy()
                return y.transpose(0, 2, 3, 1) if channels_last else y

        return call

    alone, after = five(wide), five(narrow)
    calls = {"5x5": lambda: alone(x), "1x1": lambda: layer(x), "1x1 then 5x5": lambda: after(layer(x))}
    check(torch, calls, x.transpose(0, 3, 1, 2) if channels_last else x, wide, reduce, narrow, channels_last)
    return calls


def check(torch, calls, x, wide, reduce, narrow, channels_last):
    """Raise an AssertionError if a result differs from that of PyTorch in float64."""

    def exact(x, parameters):
        weight, bias = (torch.from_numpy(array).double() for array in parameters)
        return torch.relu(torch.conv2d(x, weight, bias, padding=weight.shape[-1] // 2))

    doubles = torch.from_numpy(np.ascontiguousarray(x)).double()
    reduced = exact(doubles, reduce)
    expected = {"5x5": exact(doubles, wide), "1x1": reduced, "1x1 then 5x5": exact(reduced, narrow)}
    for name, call in calls.items():
        y = call().transpose(0, 3, 1, 2) if channels_last else call()
        np.testing.assert_allclose(y, expected[name].numpy(), rtol=1e-3, atol=1e-4, err_msg=name)


def measure(torch, case, c_out, effort):
    """Return the seconds of each call by layout."""
    seconds = {}
    for layout in ("NCHW", "NHWC"):
        calls = calls_for(torch, case, c_out, layout)
        timers = {key: lambda n, call=call: time_block(call, n) for key, call in calls.items()}
        seconds[layout] = time_in_turn(timers, time.perf_counter() + effort.seconds * len(calls), effort)
    return seconds


def fastest(passes):
    """Return the shortest time of each call over several results of `measure`."""
    first = passes[0]
    return {layout: {key: min(p[layout][key] for p in passes) for key in first[layout]} for layout in first}


def document_of(name, case, c_out, seconds):
    """Return the result of one module as a dictionary."""
    return {
        "module": name,
        "cin": case.cin,
        "reduced": case.cout,
        "cout": c_out,
        "h": case.h,
        "w": case.w,
        "seconds": seconds,
    }


def main():
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="measure each module only for a moment")
    parser.add_argument("--passes", type=positive, default=10)
    parser.add_argument("--threads", type=positive, default=1)
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    if args.json:
        check_writable(args.json)
    torch = require("torch", "bench/inception.py")
    torch.set_num_threads(args.threads)
    effort, passes = (QUICK, 1) if args.quick else (EFFORT, args.passes)
    found = {name: [] for name, _, _ in branches()}
    with pw.num_threads(args.threads):
        for _ in range(passes):
            for name, case, c_out in branches():
                found[name].append(measure(torch, case, c_out, effort))
        results = [document_of(name, case, c_out, fastest(found[name])) for name, case, c_out in branches()]
        for result in results:
            for layout, seconds in result["seconds"].items():
                times = ", ".join(f"{key} {1e6 * value:.0f} us" for key, value in seconds.items())
                ratio = seconds["5x5"] / seconds["1x1 then 5x5"]
                print(f"{result['module']} {layout}: {times}; with the 1x1 layer {ratio:.2f} times as fast")
    if args.json:
        document = {
            "machine": {
                "cpu": cpu_name(),
                "isa": pw.isa(),
                "threads": args.threads,
                "versions": {
                    "python": platform.python_version(),
                    "numpy": np.__version__,
                    "torch": torch.__version__,
                },
            },
            "run": {
                "date": datetime.date.today().isoformat(),
                "command": shlex.join(["python", "bench/inception.py", *sys.argv[1:]]),
                "build": f"pointwise {pw.__version__}, compiler {pw.show_config('dicts')['compiler']}",
            },
            "results": results,
        }
        with replacing(args.json) as file:
            file.write(json.dumps(document, indent=1, allow_nan=False).encode() + b"\n")


if __name__ == "__main__":
    main()
