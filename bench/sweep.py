"""Compare small convolutions with NumPy, at sizes for which overhead and remainders take most of the time.

    python bench/sweep.py [--random 1000] [--json sweep.json] [--plot sweep.png]

The sizes form a cube: C_in from 1 to 65, C_out from 1 to 65 and 1 to 200 pixels. Each point of the cube is measured in
both layouts, with and without bias and ReLU. By default a run measures a grid of points. With --full it measures every
point (takes hours), with --random N random points.

The ratio is the time of NumPy divided by the time of a `pw.Conv` that was created beforehand. Both return a new array
and take turns in one process with one BLAS thread. The time of each is that of its fastest short block of calls. If the
ratio of a point is below 1.05, the point is measured again in more blocks.
"""

import argparse
import itertools
import json
import math
import random
import sys
from functools import partial

import numpy as np
import pointwise as pw
from pointwise.bench.command import blas_threads
from pointwise.bench.layers import LAYOUTS, Case
from pointwise.bench.numpy_baseline import numpy_baseline
from pointwise.bench.operands import Operands
from pointwise.bench.timing import Effort, time_block, time_in_turn
from pointwise.cli.files import check_writable, replacing
from pointwise.cli.parser import CommandError, positive, require

MOST_CHANNELS, MOST_PIXELS = 65, 200
# Sizes around powers of two, and around the vectors and tiles of every kernel.
CHANNELS = (1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 23, 24, 25, 31, 32, 33, 40, 47, 48, 49, 57, 63, 64, 65)
PIXELS = (1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 17, 25, 31, 32, 33, 49, 64, 65, 100, 128, 169, 196, 200)
EPILOGUES = ("plain", "bias and ReLU")
SLOWER = 1.05  # points with a ratio below this are measured again
SHORT = Effort(seconds=0.0, block=150e-6, rounds=4)
CAREFUL = Effort(seconds=0.0, block=200e-6, rounds=25)


def points(args):
    """Return the points to measure, as (C_in, C_out, pixels)."""
    if args.random is not None:
        rng = random.Random(args.seed)
        most = (MOST_CHANNELS, MOST_CHANNELS, MOST_PIXELS)
        return [tuple(rng.randint(1, size) for size in most) for _ in range(args.random)]
    if args.full:
        channels = range(1, MOST_CHANNELS + 1)
        return list(itertools.product(channels, channels, range(1, MOST_PIXELS + 1)))
    return list(itertools.product(CHANNELS, CHANNELS, PIXELS))


def plain_numpy(case, layout, arrays):
    """Return a NumPy implementation without bias and activation, as a user would write it."""
    x, weight = arrays.x, arrays.weight
    if layout == "NCHW":
        return lambda: np.matmul(weight, x.reshape(1, case.cin, -1)).reshape(1, case.cout, *x.shape[2:])
    matrix = np.ascontiguousarray(weight.T)
    return lambda: np.matmul(x.reshape(-1, case.cin), matrix).reshape(*x.shape[:3], case.cout)


def calls_of(case, layout, epilogue, arrays):
    """Return the calls of both contenders, by name."""
    if epilogue == "plain":
        layer = pw.Conv(arrays.weight, layout=layout)
        baseline = plain_numpy(case, layout, arrays)
    else:
        layer = pw.Conv(arrays.weight, arrays.bias, layout=layout, activation="relu")
        baseline = numpy_baseline(case, layout, arrays, 1)
    return {"numpy": baseline, "pointwise": partial(layer, arrays.x)}


def check(case, layout, epilogue, arrays, calls):
    """End the run if the error of a result exceeds the rounding bound.

    The docstring of `pointwise.bench.verify.check` derives this bound.
    """
    x, weight, bias = (array.astype(np.float64) for array in arrays[:3])
    axes = "oi,nihw->nohw" if layout == "NCHW" else "oi,nhwi->nhwo"
    bias = bias[:, None, None] if layout == "NCHW" else bias
    expected, magnitude = np.einsum(axes, weight, x), np.einsum(axes, np.abs(weight), np.abs(x))
    if epilogue != "plain":
        expected, magnitude = np.maximum(expected + bias, 0), magnitude + np.abs(bias)
    rounding = (case.cin + 2) * 2.0**-24
    bound = rounding / (1 - rounding) * magnitude
    for name, call in calls.items():
        result = call()
        same_kind = (result.shape, result.dtype) == (expected.shape, np.float32)
        if not same_kind or not (np.abs(result - expected) <= bound).all():
            sys.exit(f"sweep.py: wrong result of {name}: {case.cin} -> {case.cout}, {case.w} pixels, {layout}")


def measure(point, layout, epilogue, numbers):
    """Return the seconds per call of both contenders."""
    cin, cout, pixels = point
    case = Case("sweep", "", 1, cin, cout, 1, pixels, 1, 1)
    arrays = Operands(
        numbers[0, : cin * pixels].reshape(case.shape(layout)).copy(),
        numbers[1, : cin * cout].reshape(cout, cin).copy(),
        numbers[2, :cout].copy(),
    )
    calls = calls_of(case, layout, epilogue, arrays)
    check(case, layout, epilogue, arrays, calls)
    timers = {name: partial(time_block, call) for name, call in calls.items()}
    seconds = time_in_turn(timers, 0.0, SHORT)
    if seconds["numpy"] < SLOWER * seconds["pointwise"]:
        seconds = time_in_turn(timers, 0.0, CAREFUL)
    return seconds


def sweep(args):
    """Measure all points, and yield the result of each."""
    numbers = np.random.default_rng(args.seed).standard_normal((3, MOST_CHANNELS * MOST_PIXELS), np.float32)
    layouts = LAYOUTS if args.layout == "both" else (args.layout,)
    epilogues = EPILOGUES if args.epilogue == "both" else (EPILOGUES[args.epilogue == "bias-relu"],)
    chosen = points(args)
    for layout, epilogue in itertools.product(layouts, epilogues):
        for i, point in enumerate(chosen):
            if i % 500 == 0 and sys.stderr.isatty():
                print(f"\r{layout}, {epilogue}: {i} of {len(chosen)} ", end="", file=sys.stderr, flush=True)
            seconds = measure(point, layout, epilogue, numbers)
            yield {
                "layout": layout,
                "epilogue": epilogue,
                **dict(zip(("c_in", "c_out", "pixels"), point, strict=True)),
                "seconds": seconds,
                "ratio": seconds["numpy"] / seconds["pointwise"],
            }


def geometric_mean(ratios):
    return math.exp(math.fsum(map(math.log, ratios)) / len(ratios))


def summarize(found):
    """Return the summary of each layout and epilogue, and of all points."""
    parts = {}
    for row in found:
        for part in (f"{row['layout']}, {row['epilogue']}", "all"):
            parts.setdefault(part, []).append(row["ratio"])
    return {
        part: {
            "points": len(ratios),
            "geometric_mean_ratio": geometric_mean(ratios),
            "minimum_ratio": min(ratios),
            "below_1": sum(ratio < 1 for ratio in ratios),
        }
        for part, ratios in sorted(parts.items())
    }


def report(found, summary):
    """Print the summary and the worst ten points."""
    for part, s in summary.items():
        print(
            f"{part}: {s['geometric_mean_ratio']:.2f} times as fast as NumPy (geometric mean of {s['points']} points), "
            f"least ratio {s['minimum_ratio']:.2f}, points with a ratio below 1: {s['below_1']}"
        )
    print("the worst:")
    for row in sorted(found, key=lambda row: row["ratio"])[:10]:
        ours, theirs = (1e6 * row["seconds"][name] for name in ("pointwise", "numpy"))
        print(
            f"  {row['ratio']:.2f}  {row['c_in']} -> {row['c_out']} channels, {row['pixels']} pixels, {row['layout']}, "
            f"{row['epilogue']}: {ours:.2f} us, NumPy {theirs:.2f} us"
        )


def save_plot(file, found):
    """Draw two heat maps of least ratios for each layout.

    One map has a least ratio for each C_in and C_out, the other for each C_out and number of pixels.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.colors import TwoSlopeNorm
    from matplotlib.figure import Figure

    layouts = list(dict.fromkeys(row["layout"] for row in found))
    figure = Figure(figsize=(6.5 * len(layouts) + 1, 12), layout="constrained")
    canvas = FigureCanvasAgg(figure)
    panels = figure.subplots(2, len(layouts), squeeze=False)
    norm = TwoSlopeNorm(1, vmin=0.5, vmax=5)
    names = {"c_in": "C_in", "c_out": "C_out", "pixels": "pixels"}
    for (i, (axis, other)), (k, layout) in itertools.product(
        enumerate((("c_in", "pixels"), ("pixels", "c_in"))), enumerate(layouts)
    ):
        rows = [row for row in found if row["layout"] == layout]
        ys, xs = (sorted({row[name] for row in rows}) for name in (axis, "c_out"))
        least = np.full((len(ys), len(xs)), np.nan)
        for row in rows:
            at = ys.index(row[axis]), xs.index(row["c_out"])
            least[at] = np.fmin(least[at], row["ratio"])
        panel = panels[i, k]
        panel.set_facecolor("lightgrey")  # the color of sizes that were not measured
        image = panel.imshow(least, norm=norm, cmap="RdYlGn", origin="lower", aspect="auto")
        for values, set_ticks in ((xs, panel.set_xticks), (ys, panel.set_yticks)):
            step = math.ceil(len(values) / 26)
            set_ticks(range(0, len(values), step), map(str, values[::step]), fontsize=7)
        panel.set(xlabel="C_out", ylabel=names[axis], title=f"{layout}: least ratio over {names[other]}")
    figure.colorbar(image, ax=panels, shrink=0.5, extend="both", label="NumPy's time / ours")
    canvas.print_png(file)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--full", action="store_true", help="measure every point of the cube")
    which.add_argument("--random", type=positive, metavar="N", help="measure N random points of the cube")
    parser.add_argument("--seed", type=positive, default=1, help="seed of random points and numbers (default: 1)")
    parser.add_argument("--layout", choices=(*LAYOUTS, "both"), default="both")
    parser.add_argument("--epilogue", choices=("plain", "bias-relu", "both"), default="both")
    parser.add_argument("--json", metavar="FILE", help="write all measured figures as JSON")
    parser.add_argument("--plot", metavar="FILE.png", help="draw heat maps of the least ratios")
    args = parser.parse_args()
    try:
        for path in filter(None, (args.json, args.plot)):
            check_writable(path)
        if args.plot:
            require("matplotlib", "--plot")
        with blas_threads(1, owns_process=True), pw.num_threads(1):
            found = list(sweep(args))
    except CommandError as error:
        sys.exit(f"sweep.py: {error}")
    summary = summarize(found)
    if args.json:
        with replacing(args.json) as file:
            file.write(json.dumps({"isa": pw.isa(), "seed": args.seed, "points": found, "summary": summary}).encode())
    if args.plot:
        with replacing(args.plot) as file:
            save_plot(file, found)
    report(found, summary)


if __name__ == "__main__":
    main()
