"""The cost model's choice against the best of all kernel rows, packings and blockings, by time."""

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

WITHIN = 2.0  # alternatives that the model takes for slower than the best by more than this factor are not timed
# Short blocks: a neighbour on the machine spoils one of them, not all. The search is the first half of a layer's time.
QUICK = Effort(seconds=0.09, block=0.0005, rounds=3)
FULL = Effort(seconds=1.0, block=0.002, rounds=8)

MOST_CHANNELS, MOST_PIXELS = 2048, 12544  # of generated shapes; 112 x 112
MOST_FLOPS, MOST_BYTES = 300_000_000, 64_000_000


@dataclasses.dataclass(frozen=True)
class Alternative:
    """One way to run a layer.

    Attributes
    ----------
    words : str
        Kernel row, packing and, where they can differ, images x pixels.
    cycles : float
        What the cost model expects.
    seconds : float
        Per call in the best block of the search.
    """

    words: str
    cycles: float
    seconds: float


@dataclasses.dataclass(frozen=True)
class Choice:
    """What was measured of one layer in one layout.

    Attributes
    ----------
    chosen, best : str
        Words of the model's choice, and of what took the least time in the search.
    regret : float
        The time of the choice over that of the best, in blocks of their own after the search: the least of many noisy
        times is a lucky one, and would make every choice look worse than it is. 1 where the choice is the best, or no
        slower in those blocks.
    alternatives : list of Alternative
        All that were timed, the choice first.
    """

    case: Case
    layout: str
    chosen: str
    best: str
    regret: float
    alternatives: list[Alternative]


def generated_cases(count: int, seed: int, known: Collection[Case] = ()) -> list[Case]:
    """Return random layers: channels and pixels log-uniform, one in ten with stride 2, one in ten a batch.

    Parameters
    ----------
    count : int
        How many.
    seed : int
        Of the random numbers: the same layers for the same seed.
    known : collection of Case
        Layers whose shapes are left out.

    Returns
    -------
    list of Case
        None of more than `MOST_FLOPS`, nor with more than `MOST_BYTES` in its arrays.
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
        # as many pixels of the result, whatever the stride
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
    """Time the model's choice and its alternatives on layers, in turn, with one thread.

    Parameters
    ----------
    work : sequence of (Case, str)
        Layers and their layouts. BLAS, which the check needs, must have been told to use one thread.
    effort : Effort
        How long to measure; its rounds are those of the search, and again of the choice against the best.
    progress : callable
        Called with a text before each layer.

    Yields
    ------
    Choice

    Raises
    ------
    WrongResult
        For a choice whose result is not NumPy's, and for an alternative whose result differs in a bit from it.
    """
    end = time.perf_counter() + len(work) * effort.seconds
    for done, (case, layout) in enumerate(work):
        progress(f"{layout} {case.network} {case.layer}")
        now = time.perf_counter()
        # a slow layer takes from those after it: the whole stays in time
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
