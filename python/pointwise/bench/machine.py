"""Measures the limits of this machine: FMA peak and copy bandwidth."""

from __future__ import annotations

import concurrent.futures
import importlib
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _core
from ..cli.info import caches

if TYPE_CHECKING:
    from collections.abc import Callable

SMALLEST_COPY = 1 << 26  # bytes of each array; larger than most last-level caches
LARGEST_COPY = 1 << 28
SUFFIXES = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def blas_kernels() -> dict[str, str]:
    """Return the kernels that the BLAS of NumPy uses, such as ``{"openblas": "SkylakeX"}``.

    Environment variables can make a BLAS use kernels for another CPU.

    Returns
    -------
    dict of str
        Target CPU of the kernels, by library. Empty if threadpoolctl is missing or does not know the kernels.
    """
    try:
        control: Any = importlib.import_module("threadpoolctl")
    except ImportError:
        return {}
    return {
        str(library["internal_api"]): str(library["architecture"])
        for library in control.threadpool_info()
        if library.get("user_api") == "blas" and library.get("architecture")
    }


def _bytes(size: str) -> int:
    """Parse a size in the format of the system, such as 32K. Return bytes, or 0 if the format is unknown."""
    number, unit = size[:-1], SUFFIXES.get(size[-1:])
    return int(number) * unit if unit and number.isdigit() else 0


def last_level_cache() -> int:
    """Return the size of the largest cache in bytes, or 32 MiB if the system does not report it."""
    return max(map(_bytes, caches().values()), default=0) or 32 << 20


def fma_peak(threads: int, blocks: int = 80, block: float = 2e-3, dtype: str = "float32") -> float:
    """Measure the FMA peak of the instruction set in use: multiply-adds on registers.

    Parameters
    ----------
    threads : int
        Number of threads that compute at the same time.
    blocks : int
        Number of timing blocks. The result is the peak in the best block.
    block : float
        Duration of a timing block in seconds. It must be long compared with the time to start a team, and short
        compared with a time slice of the scheduler.
    dtype : str
        "float32" or "float64".

    Returns
    -------
    float
        Peak of all threads together in FLOP/s. A multiply-add counts as two operations.
    """
    return _core._testing.fma_peak(threads, dtype, blocks, block)


def copy_bandwidth(threads: int, repetitions: int = 5) -> float:
    """Measure the memory bandwidth by copies of arrays that are larger than the caches.

    Arrays are copied by `numpy.copyto` and by non-temporal stores. The result is the bandwidth of the fastest copy.
    `numpy.copyto` may read the cache lines that it overwrites. Non-temporal stores do not read them.

    Parameters
    ----------
    threads : int
        Number of threads. Each thread copies a part of the array at the same time.
    repetitions : int
        Number of copies of each kind.

    Returns
    -------
    float
        Bytes that are read and written, per second.
    """
    largest_cache = max(map(_bytes, caches().values()), default=0)
    nbytes = min(max(SMALLEST_COPY, 4 * largest_cache), LARGEST_COPY)
    source = np.ones(nbytes // 4, np.float32)
    target = np.zeros_like(source)
    target.fill(1)  # the system allocates memory for zeros on the first write
    parts = list(zip(np.array_split(target, threads), np.array_split(source, threads), strict=True))
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:

        def plain_copy() -> None:
            if threads == 1:
                np.copyto(target, source)
            else:
                concurrent.futures.wait([pool.submit(np.copyto, *part) for part in parts])

        def streaming_copy() -> None:
            _core._testing.streaming_copy(target, source, threads)

        best = min(_seconds(copy, repetitions) for copy in (plain_copy, streaming_copy))
    return 2 * source.nbytes / best


def _seconds(copy: Callable[[], None], repetitions: int) -> float:
    best = float("inf")
    for _ in range(repetitions + 1):  # one more, because the first copy starts the threads
        start = time.perf_counter()
        copy()
        best = min(best, time.perf_counter() - start)
    return best
