"""Cold calls, which find x and weights in memory.

A contender has several copies of a layer. A sweep first evicts all copies from the caches: it reads an array that is
larger than all caches. Then it calls the first copy without timing, because the code of the contender must come back
into the caches, and its threads must wake up. Then it times one call of each other copy.
"""

from __future__ import annotations

import concurrent.futures
import functools
import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from .._arguments import ITEM_SIZES
from .scheduler import counters
from .timing import Block

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .layers import Case
    from .operands import Call

CACHES = 3  # a sweep reads this multiple of the largest cache
MOST_COPIES = 8


def copies_of(case: Case) -> int:
    """Return the number of copies of x and weights: 1 for a hot layer, and 2 or more for a cold layer.

    Few copies suffice for a large layer. A call of another copy evicts them.
    """
    if not case.evicts:
        return 1
    x, weight = ITEM_SIZES[case.dtypes.x], ITEM_SIZES[case.dtypes.weight]
    nbytes = x * math.prod(case.shape("NCHW")) + weight * (case.cout * case.cin // case.groups)
    return min(max(2, math.ceil(case.evicts / nbytes) + 1), MOST_COPIES)


@functools.cache
def _filling(nbytes: int) -> NDArray[np.float64]:
    return np.ones(max(1, nbytes // 8))


@functools.cache
def _readers(threads: int) -> concurrent.futures.ThreadPoolExecutor:
    return concurrent.futures.ThreadPoolExecutor(threads)


def evict(nbytes: int, threads: int) -> None:
    """Read an array of `nbytes` bytes, on several threads, because each core has a cache of its own."""
    parts = np.array_split(_filling(nbytes), threads)
    concurrent.futures.wait([_readers(threads).submit(part.max) for part in parts if part.size > 0])


class ColdCalls:
    """Calls of copies of a layer.

    Parameters
    ----------
    calls : sequence of callable
        Calls, one for each copy, at least two.
    evicts : int
        Bytes that a sweep reads before the calls.
    threads : int
        Number of threads that read them.
    """

    def __init__(self, calls: Sequence[Call], evicts: int, threads: int) -> None:
        self.calls, self._evicts, self._threads = list(calls), evicts, threads

    def __call__(self) -> Any:
        """Call the first copy, which may be in the caches."""
        return self.calls[0]()

    def sweep(self) -> float:
        """Return the mean time in seconds of a call that finds x and weights in memory."""
        first, *others = self.calls
        evict(self._evicts, self._threads)
        first()
        start = time.perf_counter()
        for call in others:
            call()
        return (time.perf_counter() - start) / len(others)


def time_cold(calls: ColdCalls, repetitions: int) -> Block:
    """Time a block of at least `repetitions` cold calls."""
    before = counters()
    sweeps = math.ceil(repetitions / (len(calls.calls) - 1))
    seconds = [calls.sweep() for _ in range(sweeps)]
    mean = sum(seconds) / sweeps
    return Block(mean, counters().disturbed_since(before, mean * (len(calls.calls) - 1) * sweeps))
