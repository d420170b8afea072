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
        With ``mode="dicts"`` a dictionary with the keys "pointwise", "numpy", "compiler", "isa", "isas", "threads"
        and "threading": what runs teams, "helpers" or "openmp" (the environment variable ``POINTWISE_THREADING``
        forces one when the package is imported).
    """
    if mode not in ("stdout", "dicts"):
        raise ValueError(f'mode must be "stdout" or "dicts", got {mode!r}')
    import numpy as np

    config = {
        "pointwise": _core.version,
        "numpy": np.__version__,
        "compiler": _core.compiler,
        "isa": _core.isa,
        "isas": _core.supported_isas(),
        "threads": _core.thread_count(),
        "threading": _core.threading,
    }
    if mode == "dicts":
        return config
    for key, value in config.items():
        print(f"{key:10s} {', '.join(value) if isinstance(value, list) else value}")
    return None
