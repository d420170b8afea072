"""Measures layers: checks the result of every contender, then times all of them in turn."""

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
    """What was measured on one layer in one layout.

    Attributes
    ----------
    case, layout, cost
        The layer.
    seconds : dict of float
        Per call of every contender that has the layer.
    peak : float
        FLOP per second of multiply-adds alone, measured in turn with the contenders.
    """

    case: Case
    layout: str
    cost: Cost
    seconds: dict[str, float]
    peak: float

    @property
    def flops_per_second(self) -> float:
        """Our arithmetic per second."""
        return self.cost.flops / self.seconds[US]

    @property
    def bytes_per_second(self) -> float:
        """Our memory traffic per second, every array counted once."""
        return self.cost.bytes / self.seconds[US]

    @property
    def peak_fraction(self) -> float:
        """Our share of the peak beside the layer."""
        return self.flops_per_second / self.peak

    @property
    def name(self) -> str:
        """The network and the layer."""
        return f"{self.case.network} {self.case.layer}"

    def ratio(self, contender: str) -> float | None:
        """Return how many times our time the contender needs; None where it does not have the layer."""
        seconds = self.seconds.get(contender)
        return None if seconds is None else seconds / self.seconds[US]

    def best_peer(self) -> str | None:
        """Return the fastest contender other than us; None where there is no other."""
        return min((name for name in self.seconds if name != US), key=self.seconds.__getitem__, default=None)


def measure(
    cases: Sequence[Case],
    layouts: Sequence[str],
    contenders: Sequence[str],
    threads: int,
    effort: Effort,
    progress: Callable[[str], None] = lambda text: None,
) -> Iterator[Result]:
    """Check and time contenders on layers.

    Parameters
    ----------
    cases : sequence of Case
        The layers.
    layouts : sequence of str
        "NCHW", "NHWC" or both.
    contenders : sequence of str
        Names out of `CONTENDERS`, less our own, which always takes part.
    threads : int
        Threads of every contender. At one, BLAS must have been told before.
    effort : Effort
        How long to measure.
    progress : callable
        Called with a text before each layer, never while one is timed.

    Yields
    ------
    Result

    Raises
    ------
    WrongResult
        For the first wrong result; it is not timed.
    """
    left = len(layouts) * len(cases)
    with turns([US, *contenders], threads) as (prepare, peak):
        end = time.perf_counter() + left * effort.seconds
        for layout, case in itertools.product(layouts, cases):
            progress(f"{layout} {case.network} {case.layer}")
            now = time.perf_counter()
            # a slow layer takes from those after it: the whole stays in time
            deadline = now + max(0.0, end - now) / left
            seconds = time_in_turn(prepare(case, layout), deadline, effort)
            yield Result(case, layout, case.cost(layout), seconds, peak())
            left -= 1
