"""Settings of the process: threads and the memory of results. Also says what was built."""

from __future__ import annotations

import contextlib
import operator
from typing import TYPE_CHECKING, Any

from . import _core
from ._arguments import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "get_num_threads",
    "isa",
    "num_threads",
    "release_memory",
    "set_memory_limit",
    "set_num_threads",
    "show_config",
]

MAX_THREADS = 65535


def _checked_threads(n: int) -> int:
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
    _core.set_thread_count(_checked_threads(n))


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
    return _num_threads(_checked_threads(n))


@contextlib.contextmanager
def _num_threads(n: int) -> Iterator[None]:
    before = _core.set_calling_thread_count(n)
    try:
        yield
    finally:
        _core.set_calling_thread_count(before)


LARGEST_LIMIT = 2**63 - 1


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
    if not 0 <= limit <= LARGEST_LIMIT:
        raise ValueError(f"nbytes must be from 0 to {LARGEST_LIMIT}, got {shown(limit)}")
    _core.set_idle_limit(limit)


def isa() -> str:
    """Return the instruction set of the kernels in use: "portable", "avx2" or "avx512".

    The environment variable ``POINTWISE_ISA`` forces one when the package is imported.
    """
    return _core.isa


def show_config(mode: str = "stdout") -> dict[str, Any] | None:
    """Show versions, instruction sets and threads.

    Parameters
    ----------
    mode : {"stdout", "dicts"}
        Print them, or return them.

    Returns
    -------
    dict or None
        With ``mode="dicts"`` a dictionary with the keys "pointwise", "numpy", "compiler", "isa", "isas", "threads",
        "threading" and "threading_reason".

    Notes
    -----
    "threading" says which threads a call uses now: "workers" of pointwise, or those of "openmp". OpenMP's are used
    while another library of the process uses an OpenMP runtime (PyTorch, scikit-learn), as its threads spin between
    calls and would compete with the workers for CPUs. The environment variable ``POINTWISE_THREADING``, "workers" or
    "openmp", forces one. It is read when the package is imported. "threading_reason" says why.
    """
    if mode not in ("stdout", "dicts"):
        raise ValueError(f'mode must be "stdout" or "dicts", got {mode!r}')
    import numpy as np

    threading, reason = _core.threading()
    config = {
        "pointwise": _core.version,
        "numpy": np.__version__,
        "compiler": _core.compiler,
        "isa": _core.isa,
        "isas": _core.supported_isas(),
        "threads": _core.thread_count(),
        "threading": threading,
        "threading_reason": reason,
    }
    if mode == "dicts":
        return config
    for key, value in config.items():
        print(f"{key.replace('_', ' '):16s} {', '.join(value) if isinstance(value, list) else value}")
    return None
