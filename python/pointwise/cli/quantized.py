"""The options of ``pointwise run`` for quantized convolutions."""

from __future__ import annotations

import argparse
import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from .._quantized import conv_integer, qconv
from .files import read_npy
from .parser import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

SCALES = ("x_scale", "weight_scale", "y_scale")
ZERO_POINTS = ("x_zero_point", "weight_zero_point", "y_zero_point")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options to the parser of the command."""
    group = parser.add_argument_group(
        "quantized convolutions",
        "With scales, x, weight and y have 8 bits, as for pointwise.qconv. Without scales, y has the int32 sums of "
        "pointwise.conv_integer. Weights may have one number for each output channel, in an .npy file.",
    )
    for name, of in zip(SCALES, ("x", "weight", "y"), strict=True):
        group.add_argument(f"--{name.replace('_', '-')}", type=_number_or_file, metavar="S", help=f"scale of {of}")
    for name, of in zip(ZERO_POINTS, ("x", "weight", "y"), strict=True):
        text = f"number of {of} that stands for 0 (default: 0)"
        group.add_argument(f"--{name.replace('_', '-')}", type=_number_or_file, metavar="Z", help=text)


def is_quantized(args: argparse.Namespace) -> bool:
    """Return True if an option of quantized convolutions is given."""
    return any(getattr(args, name) is not None for name in (*SCALES, *ZERO_POINTS))


def quantized_call(
    args: argparse.Namespace, x: NDArray[Any], bias: NDArray[Any] | None, **how: Any
) -> Callable[..., NDArray[Any]]:
    """Return a function that takes x, weight and `out`, and computes the convolution.

    Raises
    ------
    CommandError
        If the options do not fit each other.
    """
    zeros: dict[str, Any] = {name: 0 if getattr(args, name) is None else getattr(args, name) for name in ZERO_POINTS}
    missing = [name for name in SCALES if getattr(args, name) is None]
    if len(missing) == len(SCALES):
        for option in ("bias", "activation", "out_dtype", "y_zero_point"):
            if getattr(args, option) is not None:
                name = option.replace("_", "-")
                raise CommandError(f"--{name} needs --x-scale, --weight-scale and --y-scale in a quantized convolution")
        del zeros["y_zero_point"]
        return functools.partial(conv_integer, **zeros, **how)
    if missing:
        names = " and ".join(f"--{name.replace('_', '-')}" for name in missing)
        raise CommandError(f"quantized convolutions need all scales: add {names}")
    result = x.dtype.name if args.out_dtype is None else args.out_dtype
    if result not in ("uint8", "int8"):
        raise CommandError(f"the result of a quantized convolution must be uint8 or int8, got {result}")
    zero, limits = zeros["y_zero_point"], np.iinfo(result)
    if not isinstance(zero, int) or not limits.min <= zero <= limits.max:
        raise CommandError(f"--y-zero-point must be an integer from {limits.min} to {limits.max}, got {zero}")
    zeros["y_zero_point"] = np.dtype(result).type(zero)
    scales = {name: getattr(args, name) for name in SCALES}

    def call(x: NDArray[Any], weight: NDArray[Any], out: NDArray[Any] | None = None) -> NDArray[Any]:
        return qconv(x, weight=weight, bias=bias, activation=args.activation, out=out, **scales, **zeros, **how)

    return call


def _number_or_file(text: str) -> Any:
    """Return the numbers of an .npy file, or the number that the text is."""
    if text.endswith(".npy"):
        try:
            return np.array(read_npy(text))
        except CommandError as error:
            raise argparse.ArgumentTypeError(str(error)) from None
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    raise argparse.ArgumentTypeError(f"expected a number or an .npy file, got {text!r}")
