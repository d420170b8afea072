"""The memory of results, which is recycled."""

from __future__ import annotations

import operator

from . import _core
from ._words import shown

__all__ = ["release_memory", "set_memory_limit"]

LARGEST = 2**63 - 1


def release_memory() -> None:
    """Give the idle memory of recycled results back to the system.

    The memory of a result of 16 KiB or more is kept when its last array dies, for the next result: fresh memory costs
    page faults, which can exceed the arithmetic. Memory that an array uses is never touched.

    See Also
    --------
    set_memory_limit : how much is kept.
    """
    _core.release_idle_buffers()


def set_memory_limit(nbytes: int) -> None:
    """Bound the idle memory that is kept for the results to come.

    Parameters
    ----------
    nbytes : int
        In bytes; 0 keeps none. What is idle beyond it goes back to the system at once. 128 MiB until it is set.

    Raises
    ------
    TypeError
        Where `nbytes` is not an integer.
    ValueError
        Where it is negative or beyond int64.

    Notes
    -----
    A recycled result does not own its memory (``y.flags.owndata`` is False); the array and its views keep it alive,
    and it behaves like any other array but for ``ndarray.resize`` in place.
    """
    try:
        limit = operator.index(nbytes)
    except TypeError:
        raise TypeError(f"nbytes must be an integer, got {type(nbytes).__name__}") from None
    if not 0 <= limit <= LARGEST:
        raise ValueError(f"nbytes must be from 0 to {LARGEST}, got {shown(limit)}")
    _core.set_idle_limit(limit)
