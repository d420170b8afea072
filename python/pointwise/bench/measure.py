"""Measures layers: checks the result of each contender, then times all contenders in turn."""

from __future__ import annotations

import dataclasses
import itertools
import time
from typing import TYPE_CHECKING

from .contenders import US
from .processes import turns
from .timing import Effort, time_in_turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .._cost import Cost
    from .layers import Case


QUICK = Effort(seconds=0.09, block=0.002, rounds=1)
FULL = Effort(seconds=1.0, block=0.01, rounds=5)


@dataclasses.dataclass(frozen=True)
class Result:
    """Result of one layer in one layout.

    Attributes
    ----------
    case, layout, cost
        The layer, its layout and its cost.
    seconds : dict of float
        Time per call in seconds of each contender that can compute the layer.
    peak : float
        FMA peak in FLOP/s, measured in turn with the contenders.
    """

    case: Case
    layout: str
    cost: Cost
    seconds: dict[str, float]
    peak: float

    @property
    def flops_per_second(self) -> float:
        """Arithmetic of pointwise in FLOP/s."""
        return self.cost.flops / self.seconds[US]

    @property
    def bytes_per_second(self) -> float:
        """Memory traffic of pointwise in bytes/s, with each array counted once."""
        return self.cost.bytes / self.seconds[US]

    @property
    def peak_fraction(self) -> float:
        """Fraction of `peak` that pointwise reaches."""
        return self.flops_per_second / self.peak

    @property
    def name(self) -> str:
        """Names of the network and of the layer."""
        return f"{self.case.network} {self.case.layer}"

    def ratio(self, contender: str) -> float | None:
        """Return time of a contender / time of pointwise, or None if the contender cannot compute the layer."""
        seconds = self.seconds.get(contender)
        return None if seconds is None else seconds / self.seconds[US]

    def best_peer(self) -> str | None:
        """Return the fastest peer, or None if there is no peer."""
        return min((name for name in self.seconds if name != US), key=self.seconds.__getitem__, default=None)


def measure(
    cases: Sequence[Case],
    layouts: Sequence[str],
    contenders: Sequence[str],
    threads: int,
    effort: Effort,
    progress: Callable[[str], None] = lambda text: None,
) -> Iterator[Result]:
    """Check the results of contenders, then time the contenders.

    Parameters
    ----------
    cases : sequence of Case
        Layers.
    layouts : sequence of str
        "NCHW", "NHWC" or both.
    contenders : sequence of str
        Peers: names of `CONTENDERS` other than pointwise, which is always measured.
    threads : int
        Number of threads of each contender. If it is 1, the caller must limit BLAS to one thread.
    effort : Effort
        Duration of the measurement.
    progress : callable
        Called with a text before each layer, never while a layer is timed.

    Yields
    ------
    Result

    Raises
    ------
    WrongResult
        If a result is wrong. It is not timed.
    """
    left = len(layouts) * len(cases)
    with turns([US, *contenders], threads) as (prepare, peak):
        end = time.perf_counter() + left * effort.seconds
        for layout, case in itertools.product(layouts, cases):
            progress(f"{layout} {case.network} {case.layer}")
            now = time.perf_counter()
            # a slow layer leaves less time to later layers, so that the total time stays the same
            deadline = now + max(0.0, end - now) / left
            seconds = time_in_turn(prepare(case, layout), deadline, effort)
            yield Result(case, layout, case.cost(layout), seconds, peak())
            left -= 1
