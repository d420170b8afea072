"""Measure the cost of activations, of writing into a concatenation, and of chains.

    python bench/epilogue.py activations [--dtype float64]
    python bench/epilogue.py concatenation
    python bench/epilogue.py chain [--threads 2]

Every result is checked before it is timed. Contenders take turns. The time of a contender is its fastest timing block.
"""

import argparse
import functools
import itertools
import math
import os
import time

os.environ.update(OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import numpy as np
import pointwise as pw
from pointwise.bench.epilogue import ACTIVATIONS
from pointwise.bench.machine import copy_bandwidth, fma_peak
from pointwise.bench.processes import Peaks
from pointwise.bench.tables import Grid, print_tables
from pointwise.bench.timing import Effort, time_block, time_in_turn

EFFORT = Effort(seconds=12.0, block=0.01, rounds=60)
LAYOUTS = ("NCHW", "NHWC")


def timed(calls, beside=None):
    """Return the seconds per call of each contender, by name.

    `beside` is a pair: the name of a contender, and the `Peaks` that take a sample after each of its timing blocks.
    """
    timers = {name: functools.partial(time_block, call) for name, call in calls.items()}
    if beside is not None:
        name, peaks = beside
        timers[name] = peaks.beside(timers[name])
    return time_in_turn(timers, time.perf_counter() + EFFORT.seconds, EFFORT)


def normal(*shape, dtype=np.float32):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(dtype)


def shaped(layout, n, c, h, w):
    return (n, c, h, w) if layout == "NCHW" else (n, h, w, c)


def show(title, columns, rows):
    grid = Grid(title, columns[:1], columns[1:])
    for row in rows:
        grid.add_row(*row)
    print_tables([grid])


def activations(args):
    """Compare the time with each activation to the time without one, for 256 -> 128 channels at 28x28."""
    dtype = np.dtype(args.dtype)
    weight, bias = normal(128, 256, dtype=dtype) / 16, normal(128, dtype=dtype)
    kinds = [None, *(("clip", -1.0, 1.0) if name == "clip" else name for name in ACTIVATIONS)]
    times = {}
    for layout in LAYOUTS:
        x = normal(*shaped(layout, 1, 256, 28, 28), dtype=dtype)
        plain = pw.conv(x, weight, bias, layout=layout)
        calls = {}
        for kind in kinds:
            layer = pw.Conv(weight, bias, layout=layout, activation=kind)
            # A convolution without input channels returns the activation of the residual.
            none = pw.conv(plain[:, :0] if layout == "NCHW" else plain[..., :0], np.empty((128, 0), dtype),
                           layout=layout, activation=kind, residual=plain)  # fmt: skip
            assert layer(x).tobytes() == none.tobytes()
            calls[str(kind)] = functools.partial(layer, x)
        times[layout] = timed(calls)
    rows = [
        [str(kind), *(f"{100 * (times[layout][str(kind)] / times[layout]['None'] - 1):.1f}%" for layout in LAYOUTS)]
        for kind in kinds[1:]
    ]
    flops = pw.cost((1, 256, 28, 28), 128).flops
    peak = fma_peak(1, blocks=100, dtype=dtype.name)
    of_peak = [flops / times[layout]["None"] / peak for layout in LAYOUTS]
    title = (
        f"Time over no activation, 256 -> 128 channels at 28x28, {dtype}, one thread, {pw.isa()}; "
        f"without one {of_peak[0]:.0%} and {of_peak[1]:.0%} of the FMA peak"
    )
    show(title, ["activation", *LAYOUTS], rows)


def concatenation(args):
    """Compare a slice of 256 channels as `out` with a contiguous `out`, for inception 3a of GoogLeNet."""
    rows = []
    for layout in LAYOUTS:
        x = normal(*shaped(layout, 8, 192, 28, 28))
        whole = np.empty(shaped(layout, 8, 256, 28, 28), np.float32)
        for first, channels in ((0, 64), (64, 128), (192, 32), (224, 32)):
            place = whole[:, first : first + channels] if layout == "NCHW" else whole[..., first : first + channels]
            apart = np.empty(place.shape, np.float32)
            layer = pw.Conv(normal(channels, 192), normal(channels), layout=layout, activation="relu")
            assert layer(x, out=place).tobytes() == layer(x, out=apart).tobytes()
            times = timed(
                {
                    "place": functools.partial(layer, x, out=place),
                    "apart": functools.partial(layer, x, out=apart),
                }
            )
            rows.append([f"{layout} 192 -> {channels}", f"{times['place'] / times['apart']:.3f}"])
    show("A slice of a 256-channel buffer over a contiguous array, 8 images of 28x28", ["layer", "time"], rows)


CHAINS = {
    "16 x 96x56x56 -> 384 -> 96": ((16, 96, 56, 56), (384, 96)),
    "8 x 16x112x112 -> 96 -> 24": ((8, 16, 112, 112), (96, 24)),
    "8 x 96x54x54 -> 96 -> 96 (Network in Network)": ((8, 96, 54, 54), (96, 96)),
    "8 x 384x14x14 -> 1536 -> 384 (ConvNeXt)": ((8, 384, 14, 14), (1536, 384)),
    "1 x 768x7x7 -> 3072 -> 768 (ConvNeXt)": ((1, 768, 7, 7), (3072, 768)),
    "1 x 192x28x28 -> 768 -> 192": ((1, 192, 28, 28), (768, 192)),
    "64 x 512 -> 1024 -> 10 (a classifier's head)": ((64, 512, 1, 1), (1024, 10)),
}


def chain(args):
    """Compare each chain with its layers called one by one, and with the limits that peak and bandwidth set."""
    rows = []
    bandwidth = copy_bandwidth(args.threads)
    for name, (shape, channels) in CHAINS.items():
        if args.quick:
            name, shape = f"1 x {name.partition(' x ')[2]}", (1, *shape[1:])
        for layout in LAYOUTS:
            x = normal(*shaped(layout, *shape))
            widths = [shape[1], *channels]
            layers = [
                pw.Conv(normal(b, a) / math.sqrt(a), normal(b), layout=layout, activation="relu")
                for a, b in itertools.pairwise(widths)
            ]

            def one_by_one(x=x, layers=layers):
                for layer in layers:
                    x = layer(x)
                return x

            both = pw.Chain(layers)
            assert both(x).tobytes() == one_by_one().tobytes()
            peaks = Peaks(args.threads)
            times = timed({"one by one": one_by_one, "chain": functools.partial(both, x)}, ("chain", peaks))
            peak = peaks.best()
            pixels = shape[0] * shape[2] * shape[3]
            flops = 2 * pixels * sum(a * b for a, b in itertools.pairwise(widths))
            least = max(flops / peak, 4 * pixels * (widths[0] + widths[-1]) / bandwidth)
            possible, gained = times["one by one"] - least, times["one by one"] - times["chain"]
            rows.append(
                [
                    f"{layout} {name}",
                    *(f"{1e3 * t:.3f}" for t in (times["one by one"], times["chain"], least)),
                    f"{times['one by one'] / times['chain']:.3f}",
                    f"{100 * gained / possible:.0f}%",
                    f"{flops / times['chain'] / peak:.1%}",
                    f"{4e-6 * pixels * max(channels[:-1]):.1f}",
                ]
            )
    columns = ["layers", "one by\none, ms", "chain,\nms", "at the\nlimit, ms", "\ngain", "of possible\ngain",
               "of\npeak", "between,\nMB"]  # fmt: skip
    threads = f"{args.threads} thread{'s' if args.threads > 1 else ''}"
    show(f"Chains, float32, {threads}, {pw.isa()}; copy bandwidth {bandwidth / 1e9:.0f} GB/s", columns, rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="what", required=True)
    for command in (activations, concatenation, chain):
        commands.add_parser(command.__name__, help=command.__doc__.splitlines()[0]).set_defaults(run=command)
    commands.choices["activations"].add_argument("--dtype", choices=("float32", "float64"), default="float32")
    commands.choices["chain"].add_argument("--threads", type=int, default=1)
    for command in commands.choices.values():
        command.add_argument("--quick", action="store_true", help="one image for each chain; less accurate")
    args = parser.parse_args()
    if args.quick:
        global EFFORT
        EFFORT = Effort(seconds=0.05, block=0.001, rounds=1)
    pw.set_num_threads(getattr(args, "threads", 1))
    args.run(args)


if __name__ == "__main__":
    main()
