"""``pointwise info``: shows the configuration of the build, the CPU, and the optional packages that are installed."""

from __future__ import annotations

import importlib.metadata
import pathlib
from typing import TYPE_CHECKING

from .._runtime import cpu_name, show_config

if TYPE_CHECKING:
    import argparse

    from .parser import Commands

SUMMARY = "show versions, instruction sets, threads, the CPU and optional packages"
OPTIONAL = ("rich", "matplotlib", "threadpoolctl", "ml_dtypes", "torch", "onnxruntime", "onnx")


def register(commands: Commands) -> None:
    """Add the command to the parser."""
    epilog = "example: POINTWISE_ISA=avx2 pointwise info"
    parser = commands.add_parser("info", help=SUMMARY, description=SUMMARY.capitalize() + ".", epilog=epilog)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    show_config()
    print(f"{'cpu':16s} {cpu_name()}")
    print(f"{'caches':16s} {', '.join(f'{name} {size}' for name, size in caches().items()) or 'unknown'}")
    installed = (f"{name} {version(name) or '-'}" for name in OPTIONAL)
    print(f"{'optional':16s} {', '.join(installed)}")
    return 0


def version(package: str) -> str | None:
    """Return the version of an installed package, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def caches() -> dict[str, str]:
    """Return the cache sizes of the first CPU in the format of the system, such as ``{"L1d": "32K"}``."""
    found = {}
    for index in sorted(pathlib.Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
        except OSError:
            continue
        if kind != "Instruction":
            found[f"L{level}{'d' if kind == 'Data' else ''}"] = size
    return found
