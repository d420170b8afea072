"""What this machine can do at most: arithmetic and memory bandwidth, measured."""

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

SMALLEST_COPY = 1 << 26  # bytes of each array: 64 MiB, beyond most last-level caches
LARGEST_COPY = 1 << 28
SUFFIXES = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def blas_kernels() -> dict[str, str]:
    """Return which kernels NumPy's BLAS takes, such as ``{"openblas": "SkylakeX"}``: the environment can force others.

    Returns
    -------
    dict of str
        The library, and the CPUs that its kernels are for; empty where threadpoolctl is missing or does not know.
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
    """Return a size as the system writes it, such as 32K, in bytes; 0 where it is something else."""
    number, unit = size[:-1], SUFFIXES.get(size[-1:])
    return int(number) * unit if unit and number.isdigit() else 0


def fma_peak(threads: int, blocks: int = 80, block: float = 2e-3, dtype: str = "float32") -> float:
    """Measure the most arithmetic that the kernels' instruction set can do.

    Parameters
    ----------
    threads : int
        Threads that compute at once.
    blocks : int
        The best of so many.
    block : float
        Seconds of a block: long against a parallel region, short against a neighbour's time slice.
    dtype : str
        "float32" or "float64".

    Returns
    -------
    float
        FLOP per second of all threads together, a multiply-add being two.
    """
    return _core._testing.fma_peak(threads, dtype, blocks, block)


def copy_bandwidth(threads: int, repetitions: int = 5) -> float:
    """Measure the memory bandwidth by copies of arrays far larger than the caches.

    The better of `numpy.copyto`, whose stores read the lines they overwrite unless the C library's do not, and of
    stores past the caches.

    Parameters
    ----------
    threads : int
        Threads that copy at once, each its own part.
    repetitions : int
        The best of so many copies of either kind.

    Returns
    -------
    float
        Bytes read and bytes written per second.
    """
    largest_cache = max(map(_bytes, caches().values()), default=0)
    nbytes = min(max(SMALLEST_COPY, 4 * largest_cache), LARGEST_COPY)
    source = np.ones(nbytes // 4, np.float32)
    target = np.zeros_like(source)
    target.fill(1)  # fresh zeros are not memory yet
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
    for _ in range(repetitions + 1):  # the first starts the threads and cannot be the best
        start = time.perf_counter()
        copy()
        best = min(best, time.perf_counter() - start)
    return best
