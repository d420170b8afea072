"""Compare convolutions with NumPy over sizes, from one pixel and one channel to 512x512 pixels and 256 channels.

    python bench/sweep.py [--quick] [--random 300] [--json sweep.json] [--plot sweep.png]

A point is a choice of C_in, C_out and the number of pixels. Each point is measured in NCHW and in NHWC, with and
without bias and ReLU. A run measures one of these sets of points:

- by default, a fine grid of small sizes, for which overhead and remainders take most of the time, and a coarse grid of
  larger sizes (takes a quarter of an hour)
- --quick: a coarse grid of all sizes (takes two or three minutes)
- --random N: N random points, with a log-uniform distribution
- --full: every point up to 65 channels and 200 pixels (takes hours)

Points above 1.5 GFLOP are left out. Points with more than 34 MB of results, or with more than 300 MB of x and results
together, are left out, too. The ratio is the time of NumPy in its fastest form divided by the time of a `pw.Conv`
created beforehand. Both return a new array and take turns in one process with one BLAS thread. Only the fastest of
several short timing blocks is used. A point with a ratio below 1.05 is measured again in more timing blocks.
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
from pointwise.bench.contenders import CONTENDERS
from pointwise.bench.epilogue import BIAS_RELU, NO_ACTIVATION, Epilogue
from pointwise.bench.forms import fastest_form
from pointwise.bench.layers import LAYOUTS, Case
from pointwise.bench.operands import operands
from pointwise.bench.timing import Effort, time_block, time_in_turn
from pointwise.bench.verify import WrongResult, check, named_forms
from pointwise.cli.files import check_writable, replacing
from pointwise.cli.parser import CommandError, positive, require

# Sizes around powers of two, and around the vectors and tiles of every kernel.
CHANNELS = (1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 23, 24, 25, 31, 32, 33, 40, 47, 48, 49, 57, 63, 64, 65)
PIXELS = (1, 2, 3, 4, 5, 7, 8, 9, 13, 16, 17, 25, 31, 32, 33, 49, 64, 65, 100, 128, 169, 196, 200)
LARGER_CHANNELS = (1, 3, 8, 16, 64, 128, 256)
LARGER_PIXELS = tuple(side * side for side in (16, 32, 64, 128, 256, 512))
QUICK_CHANNELS, QUICK_PIXELS = (1, 3, 16, 64, 256), (1, 7, 49, 196, 64 * 64, 512 * 512)
MOST_CHANNELS, MOST_PIXELS = 256, 512 * 512
MOST_FLOPS, MOST_BYTES, MOST_RESULT_BYTES = 1_500_000_000, 300_000_000, 34_000_000
EPILOGUES = {"plain": Epilogue(NO_ACTIVATION, bias=False), "bias and ReLU": BIAS_RELU}
CONTENDER_NAMES = ("numpy", "pointwise")
SLOWER = 1.05  # ratios below this are measured again
SHORT = Effort(seconds=0.0, block=150e-6, rounds=4)
CAREFUL = Effort(seconds=0.0, block=200e-6, rounds=25)


def is_measured(point):
    """Return True if a point is not too large."""
    c_in, c_out, pixels = point
    x_bytes, result_bytes, flops = 4 * c_in * pixels, 4 * c_out * pixels, 2 * c_in * c_out * pixels
    return flops <= MOST_FLOPS and result_bytes <= MOST_RESULT_BYTES and x_bytes + result_bytes <= MOST_BYTES


def random_points(count, seed):
    """Yield random points that are not too large."""
    rng = random.Random(seed)
    most = (MOST_CHANNELS, MOST_CHANNELS, MOST_PIXELS)
    while count > 0:
        point = tuple(math.floor(math.exp(rng.uniform(0, math.log(size + 1)))) for size in most)
        if is_measured(point):
            count -= 1
            yield point


def points(args):
    """Return the (C_in, C_out, pixels) to measure."""
    if args.random is not None:
        return list(random_points(args.random, args.seed))
    if args.full:
        channels = range(1, max(CHANNELS) + 1)
        return list(itertools.product(channels, channels, range(1, max(PIXELS) + 1)))
    if args.quick:
        grids = [(QUICK_CHANNELS, QUICK_CHANNELS, QUICK_PIXELS)]
    else:
        grids = [(CHANNELS, CHANNELS, PIXELS), (LARGER_CHANNELS, LARGER_CHANNELS, LARGER_PIXELS)]
    return [point for grid in grids for point in itertools.product(*grid) if is_measured(point)]


def forms_of(case, layout, arrays):
    """Return the forms of both contenders, by name."""
    return {name: CONTENDERS[name](case, layout, arrays, 1) for name in CONTENDER_NAMES}


def measure(point, layout, epilogue):
    """Return the seconds per call of both contenders, and the fastest form of NumPy. Check all forms first."""
    c_in, c_out, pixels = point
    words = f"{c_in} -> {c_out}, {pixels} pixels, {epilogue}"
    case = Case("sweep", words, 1, c_in, c_out, 1, pixels, 1, 1, epilogue=EPILOGUES[epilogue])
    arrays = operands(case, layout)
    forms = forms_of(case, layout, arrays)
    check(case, layout, arrays, dict(pair for name in forms for pair in named_forms(name, forms[name])))
    fastest = {name: fastest_form(forms[name], SHORT.block, rounds=2) for name in forms}
    timers = {name: partial(time_block, forms[name][form]) for name, form in fastest.items()}
    seconds = time_in_turn(timers, 0.0, SHORT)
    if seconds["numpy"] < SLOWER * seconds["pointwise"]:
        seconds = time_in_turn(timers, 0.0, CAREFUL)
    return seconds, fastest["numpy"]


def sweep(args):
    """Measure all points, and yield the result of each."""
    layouts = LAYOUTS if args.layout == "both" else (args.layout,)
    epilogues = tuple(EPILOGUES) if args.epilogue == "both" else (tuple(EPILOGUES)[args.epilogue == "bias-relu"],)
    chosen = points(args)
    for layout, epilogue in itertools.product(layouts, epilogues):
        for i, point in enumerate(chosen):
            if i % 100 == 0 and sys.stderr.isatty():
                print(f"\r{layout}, {epilogue}: {i} of {len(chosen)} ", end="", file=sys.stderr, flush=True)
            seconds, form = measure(point, layout, epilogue)
            yield {
                "layout": layout,
                "epilogue": epilogue,
                **dict(zip(("c_in", "c_out", "pixels"), point, strict=True)),
                "seconds": seconds,
                "form": form,
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
            f"lowest ratio {s['minimum_ratio']:.2f}, slower than NumPy on {s['below_1']} points"
        )
    print("the worst:")
    for row in sorted(found, key=lambda row: row["ratio"])[:10]:
        ours, theirs = (1e6 * row["seconds"][name] for name in ("pointwise", "numpy"))
        print(
            f"  {row['ratio']:.2f}  {row['c_in']} -> {row['c_out']} channels, {row['pixels']} pixels, {row['layout']}, "
            f"{row['epilogue']}: {ours:.2f} us, NumPy {theirs:.2f} us ({row['form']})"
        )


def save_plot(file, found):
    """Draw two heat maps for each layout.

    One has the axes C_out and C_in, and shows the least ratio over all numbers of pixels. The other has the axes C_out
    and pixels, and shows the least ratio over all C_in.
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
    which.add_argument("--quick", action="store_true", help="measure fewer points, over the same range of sizes")
    which.add_argument("--full", action="store_true", help="measure every point up to 65 channels and 200 pixels")
    which.add_argument("--random", type=positive, metavar="N", help="measure N random points")
    parser.add_argument("--seed", type=positive, default=1, help="seed of the random points (default: 1)")
    parser.add_argument("--layout", choices=(*LAYOUTS, "both"), default="both")
    parser.add_argument("--epilogue", choices=("plain", "bias-relu", "both"), default="both")
    parser.add_argument("--json", metavar="FILE", help="write every figure as JSON")
    parser.add_argument("--plot", metavar="FILE.png", help="draw heat maps of the least ratios")
    args = parser.parse_args()
    try:
        for path in filter(None, (args.json, args.plot)):
            check_writable(path)
        if args.plot:
            require("matplotlib", "--plot")
        with blas_threads(1, owns_process=True), pw.num_threads(1):
            found = list(sweep(args))
    except (CommandError, WrongResult) as error:
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
