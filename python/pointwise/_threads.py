"""How many threads a call may use."""

from __future__ import annotations

import contextlib
import operator
from typing import TYPE_CHECKING

from . import _core
from ._words import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_THREADS = 65535


def _check(n: int) -> int:
    try:
        n = operator.index(n)
    except TypeError:
        raise TypeError(f"n must be an integer, got {type(n).__name__}") from None
    if not 1 <= n <= MAX_THREADS:
        raise ValueError(f"n must be from 1 to {MAX_THREADS}, got {shown(n)}")
    return n


def set_num_threads(n: int) -> None:
    """Set how many threads calls of this process may use.

    Parameters
    ----------
    n : int
        At least 1. A call never uses more threads than have useful work.
    """
    _core.set_thread_count(_check(n))


def get_num_threads() -> int:
    """Return how many threads a call of the calling thread may use.

    Returns
    -------
    int
        What `num_threads` or `set_num_threads` set, else ``OMP_NUM_THREADS``, else what the process may really use
        (CPU affinity and container quota). A call takes fewer where a threadpoolctl limit is in force, and where
        more would not pay.
    """
    return _core.thread_count()


def num_threads(n: int) -> contextlib.AbstractContextManager[None]:
    """Set how many threads calls of the calling thread may use, within a ``with`` block.

    Parameters
    ----------
    n : int
        At least 1.
    """
    return _num_threads(_check(n))


@contextlib.contextmanager
def _num_threads(n: int) -> Iterator[None]:
    before = _core.set_calling_thread_count(n)
    try:
        yield
    finally:
        _core.set_calling_thread_count(before)
