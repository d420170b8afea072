"""``pointwise info``: what was built, what runs here, and which optional packages there are."""

from __future__ import annotations

import importlib.metadata
from typing import TYPE_CHECKING

from ._config import show_config
from ._machine import caches, cpu_name

if TYPE_CHECKING:
    import argparse

    from ._cli import Commands

SUMMARY = "show versions, instruction sets, threads, the CPU and optional packages"
OPTIONAL = ("rich", "matplotlib", "threadpoolctl", "ml_dtypes", "torch", "onnxruntime", "onnx")


def register(commands: Commands) -> None:
    """Add the command to the command line."""
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
