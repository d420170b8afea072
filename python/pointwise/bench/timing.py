"""Timing of calls, in blocks that take turns or one by one."""

from __future__ import annotations

import dataclasses
import gc
import itertools
import time
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from .operands import Call

    Timer: TypeAlias = Callable[[int], float]


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


@dataclasses.dataclass(frozen=True)
class Slice:
    """A turn in which every single call is timed.

    Attributes
    ----------
    untimed : float
        Seconds of calls at its start that warm up caches and threads.
    timed : float
        Seconds of timed calls; at least one is timed in any case.
    """

    untimed: float
    timed: float


def time_block(call: Callable[[], object], repetitions: int) -> float:
    """Return the seconds of one block, after some calls that warm up caches and threads."""
    for _ in range(1 + repetitions // 4):
        call()
    repeat = itertools.repeat(None, repetitions)
    start = time.perf_counter()
    for _ in repeat:
        call()
    return time.perf_counter() - start


def time_each(call: Call, turn: Slice) -> NDArray[np.float64]:
    """Return the seconds of every single timed call of a slice.

    One reading of the clock ends a call and begins the next: no moment of the slice is missing, so that a thread that
    the system puts to sleep between two calls is counted too.
    """
    clock = time.perf_counter
    end = clock() + turn.untimed
    call()
    while clock() < end:
        call()
    ticks = [clock()]
    end = ticks[0] + turn.timed
    while True:
        call()
        now = clock()
        ticks.append(now)
        if now >= end:
            return np.diff(ticks)
