"""The benchmark: every contender's result is checked, then all take turns."""

from __future__ import annotations

import dataclasses
import functools
import gc
import itertools
import time
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ._activation_reference import APPROXIMATION, define
from ._contenders import US, Operands, numpy_sum, operands
from ._epilogue import NO_ACTIVATION, RELU
from ._tables import Case

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from ._contenders import Builder, Call
    from ._cost import Cost
    from ._epilogue import Epilogue

    Timer: TypeAlias = Callable[[int], float]


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
    rounds : int
        The fewest rounds, in each of which every contender has one block.
    """

    seconds: float
    block: float
    rounds: int


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


def check(case: Case, layout: str, arrays: Operands, calls: dict[str, Call]) -> None:
    """Check every contender's result against NumPy's sum and the activation of it in float64.

    Sums of C products, a bias and a residual are each within gamma_(C+3) * (|w| |x| + |b| + |residual|) of the exact
    value, in whatever order they are added (gamma_n = n*u/(1 - n*u), u = 2**-24; without a residual it is
    gamma_(C+2)): two of them differ by no more than twice that. An activation brings no two values further apart than
    by its Lipschitz constant, to which comes what computing it in float32 rounds: `_activation_reference` has both.
    ReLU's constant is 1, and it rounds nothing.

    With many channels this is more than what tells some activations apart: `check_few_channels` sees it.

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
    total = numpy_sum(case, layout, arrays)
    kind = total.dtype
    total = total.astype(np.float64, copy=False)
    rounding = (case.cin // case.groups + 2 + case.epilogue.residual) * 2.0**-24
    bound = numpy_sum(case, layout, arrays.magnitudes())
    bound *= 2 * rounding / (1 - rounding)
    definition = define(case.epilogue.activation)
    expected = definition.function(total)
    rounded = definition.size(np.abs(total) + bound, expected)
    bound = definition.lipschitz * bound + APPROXIMATION * rounded
    for name, call in calls.items():
        result = call()
        what = f"wrong result of {name} on {case.network} {case.layer} in {layout}: "
        if (result.shape, result.dtype) != (expected.shape, kind):
            raise WrongResult(f"{what}shape {result.shape}, dtype {result.dtype}, not {expected.shape}, {kind}")
        wrong = _beyond(result, expected, bound)
        if wrong.any():
            index = tuple(int(i) for i in np.unravel_index(np.argmax(wrong), wrong.shape))
            raise WrongResult(
                f"{what}{np.count_nonzero(wrong)} of {wrong.size} elements; "
                f"at {index} {result[index]:.9g}, not {expected[index]:.9g} within {bound[index]:.2g}"
            )


@functools.cache
def check_few_channels(name: str, builder: Builder, layout: str, epilogue: Epilogue, threads: int) -> None:
    """Check a contender on a layer of two channels, whose sums hardly round; once for each epilogue and layout.

    The bound of a layer grows with C**1.5, and above 300 channels it exceeds the 4.7e-4 between gelu and gelu_tanh.
    Here it is a few 1e-6.

    Raises
    ------
    WrongResult
        Where an activation is another one, or a coarse approximation of it.
    """
    if epilogue.activation in (NO_ACTIVATION, RELU):
        return  # the bound of any layer tells them apart
    case = Case("a layer of", "two channels", 1, 2, 64, 16, 16, 1, 1, epilogue=epilogue)
    arrays = operands(case, layout)
    call = builder(case, layout, arrays, threads)
    if call is not None:
        check(case, layout, arrays, {name: call})


def _beyond(result: NDArray[Any], expected: NDArray[Any], bound: NDArray[Any]) -> NDArray[np.bool_]:
    """Return where the bound does not hold; NaN holds no bound."""
    with np.errstate(invalid="ignore"):
        within: NDArray[np.bool_] = np.abs(np.subtract(result, expected, dtype=np.float64)) <= bound
    return ~within


def _repetitions(timer: Timer, block: float) -> int:
    # the better of two: after a single one that was held up, every block would be too short to be timed well
    once = min(timer(1) for _ in range(2))
    return max(1, int(block / max(once, 1e-7)))


def time_in_turn(timers: dict[str, Timer], deadline: float, effort: Effort) -> dict[str, float]:
    """Time contenders in interleaved blocks.

    Parameters
    ----------
    timers : dict of callable
        What takes a number of repetitions and returns the seconds of a block of them, by contender.
    deadline : float
        When to stop, on the clock of `time.perf_counter`; not before `effort.rounds` rounds.
    effort : Effort
        The length of a block and the fewest rounds.

    Returns
    -------
    dict of float
        Seconds per call in the best block of each.
    """
    collecting = gc.isenabled()
    gc.disable()  # a collection in the middle of a block would be charged to whoever has the turn
    try:
        repetitions = {name: _repetitions(timer, effort.block) for name, timer in timers.items()}
        best = dict.fromkeys(timers, float("inf"))
        done = 0
        while done < effort.rounds or time.perf_counter() < deadline:
            for name, timer in timers.items():
                best[name] = min(best[name], timer(repetitions[name]) / repetitions[name])
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
    from ._turns import turns

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
