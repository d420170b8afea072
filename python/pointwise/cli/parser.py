"""What the commands of the command line share: errors in one line, types of arguments, optional packages."""

from __future__ import annotations

import argparse
import contextlib
import importlib
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .._arguments import Activation

    Commands: TypeAlias = "argparse._SubParsersAction[Parser]"

DIGITS = 18  # as many as always fit int64


class CommandError(Exception):
    """Ends a command with one line on standard error and an exit status.

    Parameters
    ----------
    message : str
        The line.
    status : int
        The exit status: 2 for bad input.
    """

    def __init__(self, message: str, status: int = 2) -> None:
        super().__init__(message)
        self.status = status


def one_line(text: str) -> str:
    """Return the text with every run of white space, line ends included, as one space."""
    return " ".join(text.split())


class Parser(argparse.ArgumentParser):
    """An argument parser that reports a usage error in one line, without the usage."""

    def __init__(self, **keywords: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **keywords)
        self.set_defaults(prog=self.prog)

    def error(self, message: str) -> NoReturn:
        """Print the message after the command's name and exit with status 2."""
        self.exit(2, f"{self.prog}: {one_line(message)}\n")


@contextlib.contextmanager
def library_errors() -> Iterator[None]:
    """Turn what the package raises about its arguments into a `CommandError` with the same words."""
    try:
        yield
    except (ValueError, TypeError, NotImplementedError) as error:
        raise CommandError(str(error)) from error


def require(module: str, needed_for: str) -> Any:
    """Import a module of an optional package.

    Parameters
    ----------
    module : str
        The module's full name.
    needed_for : str
        What it is for, in the user's words.

    Returns
    -------
    module

    Raises
    ------
    CommandError
        Where it is not installed: says how to install it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        wanted = "'pointwise[bench]'" if package in ("rich", "matplotlib") else distribution(package)
        raise CommandError(f"{needed_for} needs {package}, which cannot be imported: pip install {wanted}") from error


def distribution(module: str) -> str:
    """Return the name by which a top-level module is installed, as its index writes it."""
    return module.replace("_", "-")


def _natural(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= DIGITS):
        raise argparse.ArgumentTypeError(f"expected a whole number, got {text!r}")
    return int(text)


def positive(text: str) -> int:
    """Return a whole number of at least 1; a type for argparse."""
    number = _natural(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return number


def sizes(text: str) -> tuple[int, ...]:
    """Return sizes written as 1x32x10x10; a type for argparse."""
    try:
        return tuple(_natural(part) for part in text.split("x"))
    except argparse.ArgumentTypeError:
        message = f"expected whole numbers with an x between them, as in 1x32x10x10, got {text!r}"
        raise argparse.ArgumentTypeError(message) from None


def per_axis(text: str) -> int | tuple[int, ...]:
    """Return one integer for all spatial axes, or as many as there are commas; a type for argparse."""
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected an integer, or one per axis as in 2,1, got {text!r}") from None
    return numbers if len(numbers) > 1 else numbers[0]


def activation(text: str) -> Activation:
    """Return a name, or a tuple of name and parameters written as clip,0,6; a type for argparse."""
    name, *parameters = text.split(",")
    try:
        return (name, *(float(parameter) for parameter in parameters)) if parameters else name
    except ValueError:
        message = f"expected a name, or a name and numbers as in clip,0,6, got {text!r}"
        raise argparse.ArgumentTypeError(message) from None


def add_convolution_options(parser: Parser) -> None:
    """Add the options that say which convolution: those of `pointwise.conv` that are no arrays."""
    parser.add_argument("--layout", default="NCHW", metavar="L", help="the axes of x, such as NHWC (default: NCHW)")
    parser.add_argument("--stride", type=per_axis, default=1, metavar="S", help="in pixels: 2, or 2,1 (default: 1)")
    parser.add_argument("--padding", type=per_axis, default=0, metavar="P", help="in pixels: 1, or 1,0 (default: 0)")
    parser.add_argument("--groups", type=positive, default=1, metavar="G", help="groups of channels (default: 1)")
