"""What this machine is, and what it can do at most: arithmetic and memory bandwidth, measured."""

from __future__ import annotations

import concurrent.futures
import importlib
import pathlib
import platform
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _core

if TYPE_CHECKING:
    from collections.abc import Callable

SMALLEST_COPY = 1 << 26  # bytes of each array: 64 MiB, beyond most last-level caches
LARGEST_COPY = 1 << 28
SUFFIXES = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def cpu_name() -> str:
    """Return the CPU's model name, or the architecture where the system does not say."""
    try:
        text = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name" and value.strip():
            return value.strip()
    return platform.processor() or platform.machine() or "unknown"


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


def caches() -> dict[str, str]:
    """Return the sizes of the first CPU's caches as the system writes them, such as ``{"L1d": "32K"}``."""
    found = {}
    for index in sorted(pathlib.Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
        except OSError:
            continue
        if kind != "Instruction":
            found[f"L{level}{'d' if kind == 'Data' else ''}"] = size
    return found


def _bytes(size: str) -> int:
    """Return a size as the system writes it, such as 32K, in bytes; 0 where it is something else."""
    number, unit = size[:-1], SUFFIXES.get(size[-1:])
    return int(number) * unit if unit and number.isdigit() else 0


def fma_peak(threads: int, blocks: int = 80, block: float = 2e-3) -> float:
    """Measure the most float32 arithmetic that the kernels' instruction set can do.

    Parameters
    ----------
    threads : int
        Threads that compute at once.
    blocks : int
        The best of so many.
    block : float
        Seconds of a block: long against a parallel region, short against a neighbour's time slice.

    Returns
    -------
    float
        FLOP per second of all threads together, a multiply-add being two.
    """
    return _core.fma_peak(threads, "float32", blocks, block)


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
            _core.streaming_copy(target, source, threads)

        best = min(_seconds(copy, repetitions) for copy in (plain_copy, streaming_copy))
    return 2 * source.nbytes / best


def _seconds(copy: Callable[[], None], repetitions: int) -> float:
    best = float("inf")
    for _ in range(repetitions + 1):  # the first starts the threads and cannot be the best
        start = time.perf_counter()
        copy()
        best = min(best, time.perf_counter() - start)
    return best
