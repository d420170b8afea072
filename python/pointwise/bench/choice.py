"""Measures the choice of the cost model against all alternative kernel rows, packings and blockings."""

from __future__ import annotations

import dataclasses
import functools
import math
import time
from typing import TYPE_CHECKING

import numpy as np

from .._conv import Conv
from .contenders import US
from .layers import Case
from .operands import operands
from .timing import Effort, time_block, time_in_turn
from .verify import WrongResult, check

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from .timing import Timer

WITHIN = 2.0  # alternatives with more predicted cycles than this multiple of the minimum are not timed
# Timing blocks are short, so that a disturbance spoils only one block. The search takes half of `seconds`.
QUICK = Effort(seconds=0.09, block=0.0005, rounds=3)
FULL = Effort(seconds=1.0, block=0.002, rounds=8)

MOST_CHANNELS, MOST_PIXELS = 2048, 12544  # maxima of generated layers; 12544 is 112 x 112
MOST_FLOPS, MOST_BYTES = 300_000_000, 64_000_000


@dataclasses.dataclass(frozen=True)
class Alternative:
    """An alternative that was timed.

    Attributes
    ----------
    words : str
        Description: kernel row and packing; also "images x pixels" if the layer allows more than one choice.
    cycles : float
        Cycles that the cost model predicts.
    seconds : float
        Time per call in the best timing block of the search.
    """

    words: str
    cycles: float
    seconds: float


@dataclasses.dataclass(frozen=True)
class Choice:
    """Result of one layer in one layout.

    Attributes
    ----------
    chosen, best : str
        `words` of the alternative that the cost model chooses, and of the fastest one in the search.
    regret : float
        Time of the chosen alternative divided by the time of the best one. A ratio below 1 counts as 1. Both are timed
        again after the search. The times of the search are not used, because the lowest of many noisy times is too low.
    alternatives : list of Alternative
        All alternatives that were timed, the choice first.
    """

    case: Case
    layout: str
    chosen: str
    best: str
    regret: float
    alternatives: list[Alternative]


def generated_cases(count: int, seed: int, known: Collection[Case] = ()) -> list[Case]:
    """Return random layers with a log-uniform distribution of channels and pixels.

    About one layer in ten has stride 2, and one in ten has several images.

    Parameters
    ----------
    count : int
        Number of layers.
    seed : int
        Seed of the random numbers. The same seed gives the same layers.
    known : collection of Case
        Layers with shapes that are not generated again.

    Returns
    -------
    list of Case
        Layers with at most `MOST_FLOPS` operations and `MOST_BYTES` in all arrays.
    """
    rng = np.random.default_rng(seed)
    taken = {_sizes(case) for case in known}

    def draw(most: int) -> int:
        return math.floor(math.exp(rng.uniform(0, math.log(most + 1))))

    cases: list[Case] = []
    while len(cases) < count:
        cin, cout, pixels = draw(MOST_CHANNELS), draw(MOST_CHANNELS), draw(MOST_PIXELS)
        height = max(1, math.isqrt(pixels))
        stride = 2 if rng.random() < 0.1 else 1
        n = int(rng.integers(2, 17)) if rng.random() < 0.1 else 1
        # the number of output pixels does not depend on the stride
        h, w = height * stride, pixels // height * stride
        case = Case("generated", str(len(cases)), n, cin, cout, h, w, stride, 1)
        numbers = n * h * w * cin + cout * (cin + 1) + n * h * w // stride**2 * cout
        if case.cost().flops <= MOST_FLOPS and 4 * numbers <= MOST_BYTES and _sizes(case) not in taken:
            taken.add(_sizes(case))
            cases.append(case)
    return cases


def _sizes(case: Case) -> Case:
    return dataclasses.replace(case, network="", layer="")


def measure_choices(
    work: Sequence[tuple[Case, str]], effort: Effort, progress: Callable[[str], None] = lambda text: None
) -> Iterator[Choice]:
    """Time all alternatives of each layer in turn, on one thread, and compare them with the choice of the cost model.

    Parameters
    ----------
    work : sequence of (Case, str)
        Layers and their layouts. The caller must limit BLAS, which the check uses, to one thread.
    effort : Effort
        Duration of the measurement. Its rounds apply to the search and again to the comparison after the search.
    progress : callable
        Called with a text before each layer.

    Yields
    ------
    Choice

    Raises
    ------
    WrongResult
        If the result of a choice is wrong, or if another alternative gives other bits.
    """
    end = time.perf_counter() + len(work) * effort.seconds
    for done, (case, layout) in enumerate(work):
        progress(f"{layout} {case.network} {case.layer}")
        now = time.perf_counter()
        # a slow layer leaves less time to later layers, so that the total time stays the same
        yield _measure(case, layout, effort, now, max(0.0, end - now) / (len(work) - done))


def _measure(case: Case, layout: str, effort: Effort, start: float, seconds: float) -> Choice:
    arrays = operands(case, layout)
    layer = Conv(arrays.weight, arrays.bias, layout=layout, stride=case.stride, groups=case.groups, activation="relu")
    expected = layer(arrays.x)
    check(case, layout, arrays, {US: lambda: expected})
    out = np.empty_like(expected)
    ways = layer._alternatives(arrays.x.shape)
    least = min(cycles for _, cycles, _ in ways)
    cycles: dict[str, float] = {}
    timers: dict[str, Timer] = {}
    for words, expectation, run in ways:
        if expectation > WITHIN * least:
            continue
        out.fill(np.nan)
        run(arrays.x, out)
        if not np.array_equal(out.view(np.uint32), expected.view(np.uint32)):
            raise WrongResult(
                f"{words} and the choice, {ways[0][0]}, differ in bits on {case.network} {case.layer} in {layout}"
            )
        cycles[words] = expectation
        timers[words] = functools.partial(time_block, functools.partial(run, arrays.x, out))

    chosen, regret = ways[0][0], 1.0
    found = time_in_turn(timers, start + seconds / 2, effort)
    best = min(found, key=lambda words: found[words])
    if best != chosen:
        again = time_in_turn({words: timers[words] for words in (chosen, best)}, start + seconds, effort)
        regret = max(1.0, again[chosen] / again[best])
    alternatives = [Alternative(words, cycles[words], found[words]) for words in timers]
    return Choice(case, layout, chosen, best, regret, alternatives)
