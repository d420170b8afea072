"""Settings for threads and for the memory of results, and the configuration of this build."""

from __future__ import annotations

import contextlib
import operator
import os
import warnings
from typing import TYPE_CHECKING, Any

from . import _core
from ._arguments import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "cpu_name",
    "get_num_threads",
    "isa",
    "num_threads",
    "release_memory",
    "set_memory_limit",
    "set_num_threads",
    "show_config",
    "warn_about_environment",
]

MAX_THREADS = 65535


def warn_about_environment() -> None:
    """Warn if ``OMP_NUM_THREADS`` is not a positive integer or a list of positive integers."""
    if not _core.omp_num_threads_is_valid():
        warnings.warn(
            "OMP_NUM_THREADS must be a positive integer or a list of positive integers, "
            f"got {shown(os.environ.get('OMP_NUM_THREADS'))}: pointwise ignores it",
            RuntimeWarning,
            stacklevel=3,  # the import of pointwise
        )


def _checked_threads(n: int) -> int:
    try:
        n = operator.index(n)
    except TypeError:
        raise TypeError(f"n must be an integer, got {type(n).__name__}") from None
    if not 1 <= n <= MAX_THREADS:
        raise ValueError(f"n must be from 1 to {MAX_THREADS}, got {shown(n)}")
    return n


def set_num_threads(n: int) -> None:
    """Set the maximum number of threads of a call, for the whole process.

    Parameters
    ----------
    n : int
        Number of threads, from 1 to 65535. A call uses fewer threads if there is not enough work for all.

    Raises
    ------
    TypeError
        If `n` is not an integer.
    ValueError
        If `n` is out of range.

    See Also
    --------
    num_threads : sets the number for the calling thread only.
    get_num_threads : returns the number in force.

    Examples
    --------
    >>> import pointwise as pw
    >>> before = pw.get_num_threads()
    >>> pw.set_num_threads(2)
    >>> pw.get_num_threads()
    2
    >>> pw.set_num_threads(before)
    """
    _core.set_thread_count(_checked_threads(n))


def get_num_threads() -> int:
    """Return the maximum number of threads of a call, for the calling thread.

    Returns
    -------
    int
        The first of these numbers that is set: `num_threads`, `set_num_threads`, the environment variable
        ``OMP_NUM_THREADS``. If no number is set, the number of CPUs that CPU affinity and container quota allow the
        process.

    See Also
    --------
    set_num_threads : sets the number for the process.
    num_threads : sets the number for the calling thread.

    Notes
    -----
    A call uses fewer threads in three cases: threadpoolctl has set a limit, more threads would not make the call
    faster, or other processes keep the CPUs busy.

    ``OMP_NUM_THREADS`` is read when the package is imported. If it is not a positive integer, or a list of positive
    integers, it is ignored and the import gives a RuntimeWarning.

    Examples
    --------
    >>> import pointwise as pw
    >>> pw.get_num_threads() >= 1
    True
    """
    return _core.thread_count()


def num_threads(n: int) -> contextlib.AbstractContextManager[None]:
    """Set the maximum number of threads of a call, for calls of the current thread in a ``with`` block.

    Parameters
    ----------
    n : int
        Number of threads, from 1 to 65535.

    Returns
    -------
    context manager
        Sets the number on entry and restores the previous setting on exit.

    Raises
    ------
    TypeError
        If `n` is not an integer.
    ValueError
        If `n` is out of range.

    See Also
    --------
    set_num_threads : sets the number for the process.

    Examples
    --------
    >>> import pointwise as pw
    >>> with pw.num_threads(1):
    ...     print(pw.get_num_threads())
    1
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
    """Return the idle memory of recycled results to the system.

    Memory that an array uses is not affected.

    See Also
    --------
    set_memory_limit : limits the idle memory.

    Notes
    -----
    Results of 16 KiB or more use recycled memory. When no array uses this memory any more, pointwise keeps it for later
    results. The reason is that fresh memory causes page faults, which can take longer than the arithmetic.

    Examples
    --------
    >>> import pointwise as pw
    >>> pw.release_memory()
    """
    _core.release_idle_buffers()


def set_memory_limit(nbytes: int) -> None:
    """Limit the idle memory that pointwise keeps for later results.

    Parameters
    ----------
    nbytes : int
        Limit in bytes. With 0, pointwise keeps no idle memory. Idle memory beyond the limit goes back to the system at
        once. The default limit is 128 MiB.

    Raises
    ------
    TypeError
        If `nbytes` is not an integer.
    ValueError
        If `nbytes` is negative or beyond int64.

    See Also
    --------
    release_memory : returns all idle memory once.

    Notes
    -----
    A result in recycled memory does not own its memory: ``y.flags.owndata`` is False. The array and its views keep the
    memory alive. The array behaves like any other, except that ``ndarray.resize`` cannot change it in place.

    Examples
    --------
    >>> import pointwise as pw
    >>> pw.set_memory_limit(128 * 2**20)
    """
    try:
        limit = operator.index(nbytes)
    except TypeError:
        raise TypeError(f"nbytes must be an integer, got {type(nbytes).__name__}") from None
    if not 0 <= limit <= LARGEST_LIMIT:
        raise ValueError(f"nbytes must be from 0 to {LARGEST_LIMIT}, got {shown(limit)}")
    _core.set_idle_limit(limit)


def isa() -> str:
    """Return the instruction set of the kernels in use.

    Returns
    -------
    str
        "portable", "avx2", "avx2_vnni", "avx512", "avx512_vnni" or "avx512_bf16". Instruction sets with VNNI (Vector
        Neural Network Instructions) differ from the others in quantized convolutions only, and "avx512_bf16" in
        convolutions of bfloat16 only.

    See Also
    --------
    show_config : lists the instruction sets that can be used.

    Notes
    -----
    The environment variable ``POINTWISE_ISA`` selects an instruction set, in upper or lower case. It is read when the
    package is imported.

    Examples
    --------
    >>> import pointwise as pw
    >>> pw.isa() in ("portable", "avx2", "avx2_vnni", "avx512", "avx512_vnni", "avx512_bf16")
    True
    """
    return _core.isa


def show_config(mode: str = "stdout") -> dict[str, Any] | None:
    """Show versions, instruction sets and threads.

    Parameters
    ----------
    mode : {"stdout", "dicts"}
        "stdout" prints the configuration, "dicts" returns it.

    Returns
    -------
    dict or None
        None with ``mode="stdout"``. Otherwise a dictionary with these keys:

        - "pointwise", "numpy", "compiler": versions, as strings.
        - "isa": instruction set in use. "isas": list of the instruction sets that can be used.
        - "openmp": True if pointwise was compiled with OpenMP. If not, it uses only its own worker threads.
        - "threads": maximum number of threads of a call.
        - "threading": threads that a call uses, "workers" or "openmp". "threading_reason": reason for this choice.

    Raises
    ------
    ValueError
        If `mode` is another value.

    See Also
    --------
    isa : returns only the instruction set.
    get_num_threads : returns only the number of threads.

    Notes
    -----
    pointwise uses its own worker threads. But while another library of the process uses an OpenMP runtime, such as
    PyTorch or scikit-learn, pointwise uses OpenMP threads. The reason is that OpenMP threads spin between calls and
    would compete with the workers for CPUs. The environment variable ``POINTWISE_THREADING``, "workers" or "openmp",
    overrides this choice. It is read when the package is imported.

    Examples
    --------
    >>> import pointwise as pw
    >>> pw.show_config("dicts")["isa"] == pw.isa()
    True
    """
    if not isinstance(mode, str) or mode not in ("stdout", "dicts"):
        raise ValueError(f'mode must be "stdout" or "dicts", got {mode!r}')
    import numpy as np

    threading, reason = _core.threading()
    config = {
        "pointwise": _core.version,
        "numpy": np.__version__,
        "compiler": _core.compiler,
        "isa": _core.isa,
        "isas": _core.supported_isas(),
        "openmp": _core.openmp,
        "threads": _core.thread_count(),
        "threading": threading,
        "threading_reason": reason,
    }
    if mode == "dicts":
        return config
    for key, value in config.items():
        if isinstance(value, bool):
            value = "yes" if value else "no"
        print(f"{key.replace('_', ' '):16s} {', '.join(value) if isinstance(value, list) else value}")
    return None


def cpu_name() -> str:
    """Return the name of the CPU. If the system does not report the name, return the architecture.

    Virtual machines often have a name without a generation, so the family and the model number are added.
    """
    import platform  # late, because the import of pointwise does not need it

    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError:
        text = ""
    first = text.split("\n\n", 1)[0]  # the first CPU
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}
    name = fields.get("model name") or platform.processor() or platform.machine() or "unknown"
    if "cpu family" in fields and "model" in fields:
        name += f" (family {fields['cpu family']}, model {fields['model']})"
    return name
