"""Compare `pw.mix` with OpenCV and NumPy on images of few channels (pip install opencv-python-headless).

    python bench/images.py [--quick] [--threads 1] [--json images.json]

Each image is mixed from float32 to float32, from uint8 to float32 and from uint8 to uint8, in HWC. All contenders write
to a given array, take turns in one process, and use the same number of threads. Only the fastest of several short
timing blocks is used. Results are checked before they are timed: float32 within a tolerance, and uint8 exactly. But
uint8 results of OpenCV may be off by 1, because OpenCV computes them with fixed-point numbers.

- OpenCV: `cv2.transform`, for up to 4 channels. It does not convert uint8 to float32.
- NumPy: `numpy.matmul` of the pixels. For uint8, the conversions to and from float32 are timed, too.
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
from pointwise.bench.command import blas_threads
from pointwise.bench.machine import copy_bandwidth
from pointwise.bench.timing import Effort, time_block, time_in_turn
from pointwise.cli.files import check_writable, replacing
from pointwise.cli.info import cpu_name
from pointwise.cli.parser import positive

CHANNELS = ((1, 1), (2, 2), (3, 1), (3, 2), (3, 3), (4, 1), (4, 3), (4, 4), (8, 8), (12, 3))
SIZES = ((64, 64), (512, 512), (1080, 1920), (3000, 4000))
KINDS = (("float32", "float32"), ("uint8", "float32"), ("uint8", "uint8"))
MOST_OF_OPENCV = 4  # channels
EFFORT = Effort(seconds=0.6, block=2e-3, rounds=8)
QUICK = Effort(seconds=0.0, block=2e-4, rounds=2)


def opencv(threads):
    """Return the module cv2 with its number of threads set, or None if it is not installed."""
    try:
        module = importlib.import_module("cv2")
    except ImportError:
        return None
    module.setNumThreads(threads)
    return module


def calls_for(x, matrix, dtype, cv2):
    """Return a function for each contender. Each function writes its result to its own array and returns it."""
    c_out, c_in = matrix.shape
    turned, pixels = np.ascontiguousarray(matrix.T), (x.shape[0] * x.shape[1], c_in)
    ours, theirs, numpys = (np.empty((*x.shape[:2], c_out), dtype) for _ in range(3))
    converted, product = np.empty(pixels, np.float32), np.empty((pixels[0], c_out), np.float32)

    def plain():
        np.matmul(x.reshape(pixels), turned, out=numpys.reshape(-1, c_out))
        return numpys

    def with_conversions():
        np.copyto(converted, x.reshape(pixels))
        if dtype == np.float32:
            np.matmul(converted, turned, out=numpys.reshape(-1, c_out))
        else:
            np.matmul(converted, turned, out=product)
            np.rint(product, out=product)
            np.clip(product, 0, 255, out=product)
            np.copyto(numpys.reshape(-1, c_out), product, casting="unsafe")
        return numpys

    calls = {
        "pointwise": lambda: pw.mix(x, matrix, out=ours),
        "numpy": plain if x.dtype == dtype == np.float32 else with_conversions,
    }
    if cv2 is not None and max(c_in, c_out) <= MOST_OF_OPENCV and x.dtype == dtype:
        calls["opencv"] = lambda: cv2.transform(x, matrix, theirs)
    return calls


def check(calls, x, matrix, dtype):
    """Raise an AssertionError if a result is wrong."""
    exact = x.astype(np.float64) @ matrix.T.astype(np.float64)
    for name, call in calls.items():
        y = np.asarray(call()).reshape(exact.shape).astype(np.float64)
        if dtype == np.float32:
            np.testing.assert_allclose(y, exact, rtol=1e-5, atol=1e-4, err_msg=name)
            continue
        halves = abs(exact - np.floor(exact) - 0.5) < 1e-3  # float32 sums may round to the other side
        wrong = abs(y - np.rint(exact).clip(0, 255)) > np.where(halves | (name == "opencv"), 1, 0)
        assert not wrong.any(), f"{name}: {wrong.sum()} of {wrong.size} numbers are wrong"


def measure(size, channels, kind, cv2, effort):
    """Return the result of one case as a dictionary."""
    (h, w), (c_in, c_out), (x_dtype, dtype) = size, channels, kind
    rng = np.random.default_rng(c_in * 10 + c_out)
    matrix = rng.random((c_out, c_in), np.float32) / c_in
    x = (rng.random((h, w, c_in), np.float32) * 255).astype(x_dtype)
    calls = calls_for(x, matrix, np.dtype(dtype), cv2)
    check(calls, x, matrix, np.dtype(dtype))
    timers = {name: lambda n, call=call: time_block(call, n) for name, call in calls.items()}
    seconds = time_in_turn(timers, time.perf_counter() + effort.seconds * len(calls), effort)
    ratios = {name: s / seconds["pointwise"] for name, s in seconds.items() if name != "pointwise"}
    nbytes = x.nbytes + h * w * c_out * np.dtype(dtype).itemsize
    return {
        "height": h,
        "width": w,
        "cin": c_in,
        "cout": c_out,
        "x_dtype": x_dtype,
        "dtype": dtype,
        "seconds": seconds,
        "ratio": ratios,
        "bytes_per_second": nbytes / seconds["pointwise"],
    }


def main():
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="measure only small images, for a moment")
    parser.add_argument("--threads", type=positive, default=1)
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    if args.json:
        check_writable(args.json)
    cv2 = opencv(args.threads)
    effort, sizes = (QUICK, SIZES[:1]) if args.quick else (EFFORT, SIZES)
    results = []
    with pw.num_threads(args.threads), blas_threads(args.threads, owns_process=True):
        for kind in KINDS:
            for size in sizes:
                for channels in CHANNELS:
                    r = measure(size, channels, kind, cv2, effort)
                    results.append(r)
                    times = ", ".join(f"{name} {1e6 * s:.1f} us" for name, s in r["seconds"].items())
                    shown = ", ".join(f"{name} {ratio:.2f}" for name, ratio in r["ratio"].items())
                    print(
                        f"{kind[0]} to {kind[1]}, {size[0]}x{size[1]}, {channels[0]} -> {channels[1]}: {times}; "
                        f"{r['bytes_per_second'] / 1e9:.1f} GB/s; times {shown}",
                        flush=True,
                    )
        bandwidth = copy_bandwidth(args.threads)
    for kind in KINDS:
        of_kind = [r for r in results if (r["x_dtype"], r["dtype"]) == kind]
        for peer in ("opencv", "numpy"):
            ratios = [r["ratio"][peer] for r in of_kind if peer in r["ratio"]]
            if ratios:
                mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
                print(f"{kind[0]} to {kind[1]}: {mean:.2f} times as fast as {peer}, at least {min(ratios):.2f}")
    if args.json:
        versions = {"python": platform.python_version(), "numpy": np.__version__}
        versions |= {} if cv2 is None else {"opencv": cv2.__version__}
        found = {
            "machine": {
                "cpu": cpu_name(),
                "isa": pw.isa(),
                "threads": args.threads,
                "bandwidth": bandwidth,
                "versions": versions,
            },
            "run": {
                "date": datetime.date.today().isoformat(),
                "command": shlex.join(["python", "bench/images.py", *sys.argv[1:]]),
                "build": f"pointwise {pw.__version__}, compiler {pw.show_config('dicts')['compiler']}",
            },
            "results": results,
        }
        with replacing(args.json) as file:
            file.write(json.dumps(found, indent=1, allow_nan=False).encode() + b"\n")


if __name__ == "__main__":
    main()
