"""What was built, and what runs here."""

from __future__ import annotations

from typing import Any

from . import _core


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
