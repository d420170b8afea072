"""The command line: ``pointwise`` or ``python -m pointwise``."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TYPE_CHECKING

from . import _core
from .bench import command as bench
from .cli import cost, info, run, verify
from .cli.parser import CommandError, Parser, one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

EXAMPLE = "example: pointwise cost 1x32x10x10 16"


def build_parser() -> Parser:
    """Return the parser of the whole command line."""
    parser = Parser(prog="pointwise", description="1x1 (pointwise) convolution on the CPU.", epilog=EXAMPLE)
    parser.add_argument("--version", action="version", version=f"pointwise {_core.version}")
    parser.set_defaults(run=None)
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for command in (bench, run, cost, info, verify):
        command.register(commands)
    return parser


def _run(argv: Sequence[str] | None) -> int:
    parser = build_parser()
    try:
        args = parser.parse_args(argv)
    except SystemExit as stop:  # --help, --version or a usage error, which argparse has printed
        return stop.code if isinstance(stop.code, int) else 0
    if args.run is None:
        parser.print_help(sys.stderr)
        return 2
    args.owns_process = argv is None
    try:
        return int(args.run(args))
    except CommandError as error:
        message, status = str(error), error.status
    except MemoryError as error:
        message, status = str(error) or "out of memory", 2
    except BrokenPipeError:
        raise
    except OSError as error:
        message, status = error.strerror or str(error), 2
    print(f"{args.prog}: {one_line(message)}", file=sys.stderr)
    return status


def _abandon_stdout() -> None:
    """Redirect stdout, so that the interpreter does not write to a closed pipe or a full disk at exit."""
    with contextlib.suppress(OSError, ValueError):
        if sys.stdout is not None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments. None means the arguments of the process.

    Returns
    -------
    int
        Exit status: 0 for success, 1 for a wrong result or different bits, 2 for bad input, 130 after Ctrl-C, 141 if
        the reader of standard output has closed the pipe.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # file names may have characters that the terminal cannot show
            stream.reconfigure(errors="backslashreplace")
    try:
        status = _run(argv)
        if sys.stdout is not None:  # None if it was closed before Python started
            sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        _abandon_stdout()
        return 141
    except OSError as error:
        _abandon_stdout()
        print(f"pointwise: standard output: {one_line(error.strerror or str(error))}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
