"""Times calls, either one by one or in timing blocks. A timing block is a sequence of repetitions of a call."""

from __future__ import annotations

import dataclasses
import gc
import itertools
import time
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import numpy as np

from .scheduler import counters

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from .operands import Call

    Timer: TypeAlias = Callable[[int], "Block"]


class Block(NamedTuple):
    """Result of a timing block.

    Attributes
    ----------
    seconds : float
        Mean time per call in seconds.
    disturbed : bool
        True if other work took the CPU during the block.
    """

    seconds: float
    disturbed: bool = False


@dataclasses.dataclass(frozen=True)
class Effort:
    """Duration of a measurement.

    Attributes
    ----------
    seconds : float
        Time for one case in seconds, with preparation and checks. `rounds` rounds are completed even if they take
        longer.
    block : float
        Duration of a timing block in seconds.
    rounds : int
        Minimum number of rounds. In a round, each contender has one timing block.
    """

    seconds: float
    block: float
    rounds: int


def _repetitions(timer: Timer, block: float) -> int:
    # Uses the faster of two calls, because a delay of a single call would make all timing blocks too short.
    once = min(timer(1).seconds for _ in range(2))
    return max(1, int(block / max(once, 1e-7)))


def blocks_in_turn(timers: dict[str, Timer], deadline: float, effort: Effort) -> dict[str, list[Block]]:
    """Time contenders in interleaved timing blocks.

    Parameters
    ----------
    timers : dict of callable
        Timers by contender. A timer takes a number of repetitions, and times a block with this number of calls.
    deadline : float
        Value of `time.perf_counter` at which the measurement ends. At least `effort.rounds` rounds are completed.
    effort : Effort
        Duration of a timing block and minimum number of rounds.

    Returns
    -------
    dict of list of Block
        Timing blocks of each contender, one for each round.
    """
    collecting = gc.isenabled()
    gc.disable()  # garbage collection would be part of the time of a contender
    try:
        repetitions = {name: _repetitions(timer, effort.block) for name, timer in timers.items()}
        blocks: dict[str, list[Block]] = {name: [] for name in timers}
        done = 0
        while done < effort.rounds or time.perf_counter() < deadline:
            for name, timer in timers.items():
                blocks[name].append(timer(repetitions[name]))
            done += 1
        return blocks
    finally:
        if collecting:
            gc.enable()


def time_in_turn(timers: dict[str, Timer], deadline: float, effort: Effort) -> dict[str, float]:
    """Time contenders like `blocks_in_turn`. Return the seconds per call in the best timing block of each."""
    blocks = blocks_in_turn(timers, deadline, effort)
    return {name: min(block.seconds for block in found) for name, found in blocks.items()}


@dataclasses.dataclass(frozen=True)
class Slice:
    """Turn of a contender in which each call is timed on its own.

    Attributes
    ----------
    untimed : float
        Seconds of calls at the start that warm up caches and threads.
    timed : float
        Seconds of timed calls. At least one call is timed.
    """

    untimed: float
    timed: float


def time_block(call: Callable[[], object], repetitions: int) -> Block:
    """Time a block of calls. Untimed calls before it warm up caches and threads."""
    before = counters()
    for _ in range(1 + repetitions // 4):
        call()
    repeat = itertools.repeat(None, repetitions)
    start = time.perf_counter()
    for _ in repeat:
        call()
    seconds = time.perf_counter() - start
    return Block(seconds / repetitions, counters().disturbed_since(before, seconds))


def time_each(call: Call, turn: Slice) -> NDArray[np.float64]:
    """Return the seconds of each timed call of a slice.

    The clock is read once between two calls. So the times include every stop by the scheduler, even a stop between two
    calls.
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
