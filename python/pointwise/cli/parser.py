"""Code that all commands share: errors in one line, argument types, imports of optional packages."""

from __future__ import annotations

import argparse
import contextlib
import importlib
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .._arguments import Activation

    Commands: TypeAlias = "argparse._SubParsersAction[Parser]"

DIGITS = 18  # a number with at most this many digits fits int64


class CommandError(Exception):
    """Error that ends a command with one line on standard error and an exit status.

    Parameters
    ----------
    message : str
        Text of the line.
    status : int
        Exit status: 2 for bad input.
    """

    def __init__(self, message: str, status: int = 2) -> None:
        super().__init__(message)
        self.status = status


def one_line(text: str) -> str:
    """Return the text with each sequence of white space, line ends included, replaced by one space."""
    return " ".join(text.split())


class Parser(argparse.ArgumentParser):
    """Argument parser that reports a usage error in one line, without the usage text."""

    def __init__(self, **keywords: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **keywords)
        self.set_defaults(prog=self.prog)

    def error(self, message: str) -> NoReturn:
        """Print the name of the command and the message, and exit with status 2."""
        self.exit(2, f"{self.prog}: {one_line(message)}\n")


@contextlib.contextmanager
def library_errors() -> Iterator[None]:
    """Convert exceptions of the library about arguments to a `CommandError` with the same message."""
    try:
        yield
    except (ValueError, TypeError, NotImplementedError) as error:
        raise CommandError(str(error)) from error


def require(module: str, needed_for: str) -> Any:
    """Import a module of an optional package.

    Parameters
    ----------
    module : str
        Full name of the module.
    needed_for : str
        Command or option that needs the module.

    Returns
    -------
    module

    Raises
    ------
    CommandError
        If the module cannot be imported. The message tells how to install the package.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        wanted = "'pointwise[bench]'" if package in ("rich", "matplotlib") else distribution(package)
        raise CommandError(f"{needed_for} needs {package}, which cannot be imported: pip install {wanted}") from error


def distribution(module: str) -> str:
    """Return the name of the package that provides a top-level module, as ``pip install`` takes it."""
    return module.replace("_", "-")


def _natural(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= DIGITS):
        raise argparse.ArgumentTypeError(f"expected a whole number, got {text!r}")
    return int(text)


def positive(text: str) -> int:
    """Parse an integer of at least 1, for argparse."""
    number = _natural(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return number


def sizes(text: str) -> tuple[int, ...]:
    """Parse sizes such as 1x32x10x10, for argparse."""
    try:
        return tuple(_natural(part) for part in text.split("x"))
    except argparse.ArgumentTypeError:
        message = f"expected whole numbers separated by x, as in 1x32x10x10, got {text!r}"
        raise argparse.ArgumentTypeError(message) from None


def per_axis(text: str) -> int | tuple[int, ...]:
    """Parse an integer, or a list such as 2,1 with one integer per spatial axis, for argparse."""
    try:
        first, *others = (int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected an integer, or one per axis as in 2,1, got {text!r}") from None
    return (first, *others) if others else first


def activation(text: str) -> Activation:
    """Parse the name of an activation, or a name with parameters such as clip,0,6, for argparse.

    The parameters of prelu are slopes, one for each output channel.
    """
    name, *parameters = text.split(",")
    try:
        values = tuple(float(parameter) for parameter in parameters)
        if name == "prelu":
            return name, values
        return (name, *values) if parameters else name
    except ValueError:
        message = f"expected a name, or a name and numbers as in clip,0,6, got {text!r}"
        raise argparse.ArgumentTypeError(message) from None


def add_convolution_options(parser: Parser) -> None:
    """Add the options that describe a convolution: the arguments of `pointwise.conv` that are not arrays."""
    parser.add_argument("--layout", default="NCHW", metavar="L", help="axes of x, such as NHWC (default: NCHW)")
    parser.add_argument("--stride", type=per_axis, default=1, metavar="S", help="in pixels: 2 or 2,1 (default: 1)")
    parser.add_argument("--padding", type=per_axis, default=0, metavar="P", help="in pixels: 1 or 1,0 (default: 0)")
    parser.add_argument("--groups", type=positive, default=1, metavar="G", help="number of groups (default: 1)")
