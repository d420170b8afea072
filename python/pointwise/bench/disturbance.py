"""Notices layers whose measurement was disturbed: other work took the CPU, or the CPU was slower than before."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .timing import Block

SLOWER = 0.85  # a layer is disturbed if its peak is below this fraction of earlier peaks
EARLIER = 8  # number of earlier peaks to compare with; small, because a CPU that has become hot stays slower


def disturbance(blocks: Mapping[str, Sequence[Block]], peak: float, earlier: Sequence[float]) -> str | None:
    """Return a text that describes how the measurement of a layer was disturbed. Return None if it was not disturbed.

    Parameters
    ----------
    blocks : mapping of sequences of Block
        Timing blocks by contender. A single undisturbed block is enough for the best time of a contender.
    peak : float
        FMA peak in FLOP/s, measured in turn with the contenders.
    earlier : sequence of float
        Peaks that were measured in turn with earlier layers, in the order of measurement.
    """
    spoilt = [name for name, found in blocks.items() if all(block.disturbed for block in found)]
    if spoilt:
        return f"other work took the CPU in all timing blocks of {', '.join(spoilt)}"
    fraction = peak / max(earlier[-EARLIER:], default=peak)
    if fraction < SLOWER:
        return f"the FMA peak was {100 * fraction:.0f}% of the peak during earlier layers"
    return None
