"""Classifies layers as compute-bound layers, which should reach the FMA peak, and other large layers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from .dtypes import FLOAT32

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .measure import Result

LARGE = 1_000_000  # FLOP; a smaller call is mostly overhead
# Minimum FLOP/byte of compute-bound layers in float32. All dtypes have the same compute-bound layers. The intensity is
# at most half of each of three numbers: pixels, input channels of a group, and output channels of a group. So each of
# these numbers is at least 24, which is enough for register tiles.
INTENSITY = 12.0
PEAK_TARGET, BANDWIDTH_TARGET = 0.80, 0.85  # other large layers should reach one of them


def geometric_mean(values: Iterable[float]) -> float | None:
    """Return the geometric mean of positive numbers, or None if there are none."""
    logarithms = [math.log(value) for value in values]
    return math.exp(math.fsum(logarithms) / len(logarithms)) if logarithms else None


def is_large(result: Result) -> bool:
    """Return True if the layer has more than 1 MFLOP."""
    return result.cost.flops > LARGE


def is_compute_bound(result: Result) -> bool:
    """Return True if the layer has more than 1 MFLOP, and 12 FLOP/byte or more in float32."""
    return is_large(result) and result.case.in_dtype(FLOAT32).cost(result.layout).intensity >= INTENSITY


def class_summary(results: Sequence[Result], bandwidth: float) -> dict[str, Any]:
    """Return a summary of both classes for the results of one layout, as JSON objects."""
    bound = [result for result in results if is_compute_bound(result)]
    other = [result for result in results if is_large(result) and not is_compute_bound(result)]

    def share(result: Result) -> float:
        """Return the fraction of the peak target or the fraction of the bandwidth target, whichever is larger."""
        of_bandwidth = result.bytes_per_second / bandwidth
        return max(result.peak_fraction / PEAK_TARGET, of_bandwidth / BANDWIDTH_TARGET)

    least = min(bound, key=lambda result: result.peak_fraction, default=None)
    farthest = min(other, key=share, default=None)
    return {
        "compute_bound": {
            "layers": len(bound),
            "peak_fraction": geometric_mean(result.peak_fraction for result in bound),
            "minimum_peak_fraction": None if least is None else least.peak_fraction,
            "minimum_layer": None if least is None else least.name,
        },
        "other_above_1_mflop": {
            "layers": len(other),
            "minimum_of_targets": None if farthest is None else share(farthest),
            "minimum_layer": None if farthest is None else farthest.name,
            "minimum_peak_fraction": None if farthest is None else farthest.peak_fraction,
            "minimum_bandwidth_fraction": None if farthest is None else farthest.bytes_per_second / bandwidth,
            "below_targets": [result.name for result in other if share(result) < 1],
        },
    }


def class_lines(layout: str, summary: dict[str, Any]) -> list[str]:
    """Return the summary of one layout as lines of text. A class without layers gives no line."""
    lines = []
    bound, other = summary["compute_bound"], summary["other_above_1_mflop"]
    if bound["layers"]:
        lines.append(
            f"{layout}: compute-bound layers: {100 * bound['peak_fraction']:.1f}% of FMA peak (geometric mean of "
            f"{bound['layers']}), at least {100 * bound['minimum_peak_fraction']:.1f}% ({bound['minimum_layer']})"
        )
    if other["layers"]:
        short = other["below_targets"]
        lines.append(
            f"{layout}: other layers above 1 MFLOP: {len(short)} of {other['layers']} reach neither "
            f"{100 * PEAK_TARGET:.0f}% of FMA peak nor {100 * BANDWIDTH_TARGET:.0f}% of copy bandwidth"
            f"{': ' if short else ''}{', '.join(short)}; lowest: {100 * other['minimum_peak_fraction']:.1f}% and "
            f"{100 * other['minimum_bandwidth_fraction']:.1f}% ({other['minimum_layer']})"
        )
    return lines
