"""Draws the roofline of a benchmark: a plot of FLOP/s over arithmetic intensity."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

import numpy as np

from ..cli.parser import require
from .contenders import US

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .measure import Result
    from .report import Machine

COLOURS = {
    US: "tab:red",
    "numpy": "tab:blue",
    "torch": "tab:orange",
    "onnxruntime": "tab:green",
    "openvino": "tab:purple",
    "xnnpack": "tab:brown",
}
MARKERS = {"NCHW": "o", "NHWC": "^", "NCHW dx": "o", "NHWC dx": "^", "NCHW dw": "s", "NHWC dw": "v"}


def save_roofline(file: IO[bytes], results: Sequence[Result], machine: Machine, kind: str = "png") -> None:
    """Draw one dot per layer, layout, gradient and contender under the measured roof.

    Parameters
    ----------
    file : binary file
        File that receives the picture.
    results : sequence of Result
        Results, which give the dots.
    machine : Machine
        Machine, which gives the roof.
    kind : str
        Format: "png" or "svg".
    """
    figure_module = require("matplotlib.figure", "--plot")
    canvas_module = require("matplotlib.backends.backend_agg", "--plot")
    figure = figure_module.Figure(figsize=(11, 6.5), layout="constrained")
    canvas = canvas_module.FigureCanvasAgg(figure)  # without pyplot, which has global state and may open a window
    axes = figure.subplots()

    intensities = np.array([result.cost.intensity for result in results])
    ridge = machine.fma_peak / machine.bandwidth
    span = np.geomspace(min(intensities.min(), ridge) / 2, max(intensities.max(), ridge) * 2, 200)
    roof = np.minimum(machine.fma_peak, span * machine.bandwidth) / 1e9
    label = f"roof: {machine.fma_peak / 1e9:.0f} GFLOP/s, {machine.bandwidth / 1e9:.0f} GB/s"
    axes.plot(span, roof, color="black", label=label, zorder=1)

    # pointwise is last, so that its dots are on top
    contenders = dict.fromkeys(name for result in results for name in result.seconds if name in COLOURS)
    for contender in sorted(contenders, key=lambda name: name == US):
        for part in dict.fromkeys(result.part for result in results if contender in result.seconds):
            chosen = [result for result in results if result.part == part and contender in result.seconds]
            axes.scatter(
                [result.cost.intensity for result in chosen],
                [result.cost.flops / result.seconds[contender] / 1e9 for result in chosen],
                s=26,
                marker=MARKERS[part],
                color=COLOURS[contender],
                edgecolors="white",
                linewidths=0.4,
                alpha=0.85,
                label=f"{contender}, {part}",
                zorder=3 if contender == US else 2,
            )
    axes.set(xscale="log", yscale="log", xlabel="arithmetic intensity (FLOP/byte)", ylabel="GFLOP/s")
    case = results[0].case
    words = f"{case.dtype}, {'gradients' if case.gradient else case.words()}"
    axes.set_title(f"1x1 convolution, {words}: {machine.cpu}, {machine.isa}, threads: {machine.threads}")
    axes.grid(True, which="both", linewidth=0.3, alpha=0.6)
    figure.legend(loc="outside right upper")  # outside of the axes, so that it covers no dot
    canvas.print_figure(file, format=kind, metadata={"Date": None} if kind == "svg" else None)
