"""The benchmark: every contender's result is checked, then all take turns in one process."""

from __future__ import annotations

import dataclasses
import gc
import itertools
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from ._contenders import CONTENDERS, US, Operands, numpy_baseline, operands
from ._threads import num_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from ._contenders import Call
    from ._cost import Cost
    from ._tables import Case


class WrongResult(Exception):
    """A contender whose result is not the baseline's: there is nothing to time."""


@dataclasses.dataclass(frozen=True)
class Effort:
    """How long to measure.

    Attributes
    ----------
    seconds : float
        For one case, everything included; at least `rounds` are measured in any case.
    block : float
        Seconds that the repetitions of one block take.
    rest : float
        Seconds before every block at more than one thread. Idle threads of the contender before wait awake for a
        while, on CPUs that the next one needs: libgomp's for some milliseconds, OpenBLAS's for 2**26 cycles.
    rounds : int
        The fewest rounds, in each of which every contender has one block.
    """

    seconds: float
    block: float
    rest: float
    rounds: int


QUICK = Effort(seconds=0.09, block=0.002, rest=0.005, rounds=1)
FULL = Effort(seconds=1.0, block=0.01, rest=0.03, rounds=5)


@dataclasses.dataclass(frozen=True)
class Result:
    """Seconds per call of every contender on one layer in one layout."""

    case: Case
    layout: str
    cost: Cost
    seconds: dict[str, float]

    @property
    def flops_per_second(self) -> float:
        """Our arithmetic per second."""
        return self.cost.flops / self.seconds[US]

    @property
    def bytes_per_second(self) -> float:
        """Our memory traffic per second, every array counted once."""
        return self.cost.bytes / self.seconds[US]

    def ratio(self, contender: str) -> float:
        """Return how many times our time the contender needs."""
        return self.seconds[contender] / self.seconds[US]


def check(case: Case, layout: str, arrays: Operands, calls: dict[str, Call]) -> None:
    """Check every contender's result against the NumPy baseline's.

    Sums of C products and a bias are each within gamma_(C+2) * (|w| |x| + |b|) of the exact value, in whatever order
    they are added (gamma_n = n*u/(1 - n*u), u = 2**-24): two of them differ by no more than twice that. ReLU brings
    no two values further apart.

    Parameters
    ----------
    case, layout, arrays
        What is computed.
    calls : dict of callable
        The contenders, by name.

    Raises
    ------
    WrongResult
        For the first that differs by more, or in shape or dtype.
    """
    expected = numpy_baseline(case, layout, arrays, 1)()
    rounding = (case.cin // case.groups + 2) * 2.0**-24
    bound = numpy_baseline(case, layout, arrays.magnitudes(), 1)()
    bound *= 2 * rounding / (1 - rounding)
    for name, call in calls.items():
        result = call()
        what = f"wrong result of {name} on {case.network} {case.layer} in {layout}: "
        if (result.shape, result.dtype) != (expected.shape, expected.dtype):
            raise WrongResult(
                f"{what}shape {result.shape}, dtype {result.dtype}, not {expected.shape}, {expected.dtype}"
            )
        wrong = _beyond(result, expected, bound)
        if wrong.any():
            index = tuple(int(i) for i in np.unravel_index(np.argmax(wrong), wrong.shape))
            raise WrongResult(
                f"{what}{np.count_nonzero(wrong)} of {wrong.size} elements; "
                f"at {index} {result[index]:.9g}, not {expected[index]:.9g} within {bound[index]:.2g}"
            )


def _beyond(result: NDArray[Any], expected: NDArray[Any], bound: NDArray[Any]) -> NDArray[np.bool_]:
    """Return where the bound does not hold; NaN holds no bound."""
    with np.errstate(invalid="ignore"):
        within: NDArray[np.bool_] = np.abs(np.subtract(result, expected, dtype=np.float64)) <= bound
    return ~within


def _time(call: Call, repetitions: int, rest: float) -> float:
    """Return the seconds of one block, after a rest and one call that warms up caches and threads."""
    if rest:
        time.sleep(rest)
    call()
    repeat = itertools.repeat(None, repetitions)
    start = time.perf_counter()
    for _ in repeat:
        call()
    return time.perf_counter() - start


def _repetitions(call: Call, block: float, rest: float) -> int:
    # the better of two: after a single one that was held up, every block would be too short to be timed well
    once = min(_time(call, 1, rest) for _ in range(2))
    return max(1, int(block / max(once, 1e-7)))


def time_in_turn(calls: dict[str, Call], deadline: float, effort: Effort, threads: int) -> dict[str, float]:
    """Time contenders in interleaved blocks.

    Parameters
    ----------
    calls : dict of callable
        The contenders, by name.
    deadline : float
        When to stop, on the clock of `time.perf_counter`; not before `effort.rounds` rounds.
    effort : Effort
        The length of a block, the rest before it and the fewest rounds.
    threads : int
        Threads of every contender.

    Returns
    -------
    dict of float
        Seconds per call in the best block of each.
    """
    rest = effort.rest if threads > 1 else 0.0
    collecting = gc.isenabled()
    gc.disable()  # a collection in the middle of a block would be charged to whoever has the turn
    try:
        repetitions = {name: _repetitions(call, effort.block, rest) for name, call in calls.items()}
        best = dict.fromkeys(calls, float("inf"))
        done = 0
        while done < effort.rounds or time.perf_counter() < deadline:
            for name, call in calls.items():
                best[name] = min(best[name], _time(call, repetitions[name], rest) / repetitions[name])
            done += 1
        return best
    finally:
        if collecting:
            gc.enable()


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
        Threads of every contender; BLAS must have been told before.
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
    end = time.perf_counter() + left * effort.seconds
    for layout, case in itertools.product(layouts, cases):
        progress(f"{layout} {case.network} {case.layer}")
        now = time.perf_counter()
        deadline = now + max(0.0, end - now) / left  # a slow layer takes from those after it: the whole stays in time
        arrays = operands(case, layout)
        with num_threads(threads):
            calls = {name: CONTENDERS[name](case, layout, arrays, threads) for name in (US, *contenders)}
            check(case, layout, arrays, calls)
            seconds = time_in_turn(calls, deadline, effort, threads)
        yield Result(case, layout, case.cost(layout), seconds)
        left -= 1
