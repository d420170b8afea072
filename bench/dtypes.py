"""Measure the speed of each dtype relative to float32, and its error, with the best instruction set and with AVX2.

    python bench/dtypes.py [--quick] [--isa avx512_bf16,avx2] [--json bench/results/dtypes.json]

All dtypes of a layer take turns in one process with one thread. Each instruction set has its own process. Results are
checked as by `pointwise bench --dtype`. There are three kinds of layers: hot layers whose arithmetic is the limit,
large images that are read from memory, and layers of 7x7 pixels whose weights are read from memory.

The error is that of a layer with x, weights and result in the dtype, on random normal numbers: the energy of the
difference to the result of long double, relative to the energy of that result, in dB.
"""

import argparse
import datetime
import functools
import json
import math
import os
import pathlib
import platform
import shlex
import subprocess
import sys
import tempfile
import time

os.environ.update(OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import numpy as np
import pointwise as pw
from pointwise.bench.cold import CACHES, ColdCalls, time_cold
from pointwise.bench.contenders import US
from pointwise.bench.dtypes import DTYPES, FLOAT32, as_array
from pointwise.bench.layers import LAYOUTS, parse_layer
from pointwise.bench.machine import last_level_cache
from pointwise.bench.preparation import prepare
from pointwise.bench.timing import Effort, time_block, time_in_turn
from pointwise.cli.files import check_writable, replacing
from pointwise.cli.info import caches, cpu_name

COMPUTE, IMAGES, WEIGHTS = "arithmetic", "large images", "weights from memory"
LAYERS = {
    COMPUTE: ("1x64x56x56:256", "1x128x28x28:512", "1x512x14x14:256", "1x256x56x56:64"),
    IMAGES: ("1x32x256x256:32", "1x64x256x256:16"),
    WEIGHTS: ("1x1024x7x7:1024", "1x2048x7x7:512"),
}
HOT, COLD = Effort(seconds=1.5, block=2e-3, rounds=10), Effort(seconds=0.0, block=1e-6, rounds=4)
QUICK = Effort(seconds=0.0, block=1e-5, rounds=1)


def cases(quick):
    """Return the kinds of layers and their layers in float32. With `quick` the layers are tiny."""
    for kind, layers in LAYERS.items():
        for text in ["1x8x4x4:16"] if quick else layers:
            case = parse_layer(text)
            evicts = 1 << 20 if quick else CACHES * last_level_cache()
            yield kind, case if kind == COMPUTE else case.cold(evicts)


def measure(kind, case, layout, quick):
    """Return the results of one layer in one layout, one for each dtype."""
    calls = {name: prepare([US], 1, case.in_dtype(name), layout)[US][1] for name in DTYPES}
    timers = {
        name: functools.partial(time_cold if isinstance(call, ColdCalls) else time_block, call)
        for name, call in calls.items()
    }
    effort = QUICK if quick else HOT if kind == COMPUTE else COLD
    seconds = time_in_turn(timers, time.perf_counter() + effort.seconds, effort)
    return [
        {
            "isa": pw.isa(),
            "kind": kind,
            "dtype": name,
            **case.columns(),
            "layout": layout,
            "cost": {"flops": case.cost(layout).flops, "bytes": case.in_dtype(name).cost(layout).bytes},
            "seconds": {"pointwise": seconds[name]},
            "ratio": {"pointwise float32": seconds[FLOAT32] / seconds[name]},
        }
        for name in DTYPES
    ]


def quantized_x(x, weight):
    """Return the result of a layer of float32 with x of uint8. The scale and zero point of x are in its weights."""
    scale, zero = pw.calibrate(x)
    xq = np.clip(np.rint(x / scale) + zero, 0, 255).astype(np.uint8)
    scaled = (weight * scale).astype(np.float32)
    return pw.conv(xq, scaled, -float(zero) * scaled.sum(1, dtype=np.float64).astype(np.float32))


def errors():
    """Return the error of each dtype in dB."""
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((1, 256, 14, 14)), rng.standard_normal((64, 256)) / 16
    wide = np.matmul(weight.astype(np.longdouble), x.reshape(256, 196).astype(np.longdouble)).reshape(1, 64, 14, 14)
    x32, weight32 = x.astype(np.float32), weight.astype(np.float32)
    quantized = pw.QConv.from_float(pw.Conv(weight32), x32)
    results = {
        name: pw.conv(as_array(x, name), as_array(weight, name)) for name in DTYPES if name == DTYPES[name].weight
    }
    results["uint8"] = quantized_x(x32, weight32)
    results["int8"] = quantized.dequantize(quantized(quantized.quantize(x32)))
    energy = np.sum(wide**2)
    return {
        name: float(10 * np.log10(np.sum((y.astype(np.longdouble) - wide) ** 2) / energy))
        for name, y in results.items()
    }


def one_isa(args):
    """Measure with the instruction set in use, and write the results to the file `args.json`."""
    results = []
    with pw.num_threads(1):
        for kind, case in cases(args.quick):
            for layout in LAYOUTS:
                found = measure(kind, case, layout, args.quick)
                results += found
                ratios = ", ".join(f"{r['dtype']} {r['ratio']['pointwise float32']:.2f}" for r in found)
                print(f"{pw.isa()}, {kind}, {case.layer}, {layout}: times float32: {ratios}", flush=True)
        found = {"results": results, "errors": {"isa": pw.isa(), "decibels": errors()}}
    pathlib.Path(args.json).write_text(json.dumps(found), encoding="utf-8")


def main():
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="measure tiny layers, for a moment")
    parser.add_argument("--isa", metavar="A,B", help=f"instruction sets (default: {pw.isa()} and avx2)")
    parser.add_argument("--json", metavar="FILE")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        one_isa(args)
        return
    if args.json:
        check_writable(args.json)
    wanted = args.isa.split(",") if args.isa else [pw.isa(), "avx2"]
    isas = [name for name in dict.fromkeys(wanted) if name in pw.show_config("dicts")["isas"]]
    parts = []
    with tempfile.TemporaryDirectory() as folder:
        for isa in isas:
            file = pathlib.Path(folder, f"{isa}.json")
            command = [sys.executable, __file__, "--child", "--json", str(file), *(["--quick"] if args.quick else [])]
            subprocess.run(command, check=True, env={**os.environ, "POINTWISE_ISA": isa})
            parts.append(json.loads(file.read_text(encoding="utf-8")))
    results = [r for part in parts for r in part["results"]]
    for isa in isas:
        for name in DTYPES:
            found = [r for r in results if (r["isa"], r["dtype"]) == (isa, name)]
            means = [
                math.exp(np.mean([math.log(r["ratio"]["pointwise float32"]) for r in found if r["kind"] == kind]))
                for kind in LAYERS
            ]
            words = ", ".join(f"{kind} {mean:.2f}" for kind, mean in zip(LAYERS, means, strict=True))
            print(f"{isa}, {name}: times float32: {words}")
    if args.json:
        versions = {"python": platform.python_version(), "numpy": np.__version__}
        document = {
            "machine": {
                "cpu": cpu_name(),
                "caches": caches(),
                "isa": " and ".join(isas),
                "threads": 1,
                "versions": versions,
            },
            "run": {
                "date": datetime.date.today().isoformat(),
                "command": shlex.join(["python", "bench/dtypes.py", *sys.argv[1:]]),
                "build": f"pointwise {pw.__version__}, compiler {pw.show_config('dicts')['compiler']}",
            },
            "results": results,
            "errors": [part["errors"] for part in parts],
        }
        with replacing(args.json) as file:
            file.write(json.dumps(document, indent=1, allow_nan=False).encode() + b"\n")


if __name__ == "__main__":
    main()
