"""``pointwise cost``: counts the cost of a convolution, and the saving by a 1x1 convolution before a larger one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .._arguments import DTYPES
from .._cost import cost
from .parser import CommandError, add_convolution_options, library_errors, positive, sizes

if TYPE_CHECKING:
    import argparse

    from .._cost import Cost
    from .parser import Commands

SUMMARY = "count parameters, multiply-adds and bytes of a convolution"
EXAMPLE = """\
examples: pointwise cost 1x32x10x10 16
          pointwise cost 1x192x28x28 16 --then 5x5 --out 32"""


def register(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("cost", help=SUMMARY, description=SUMMARY.capitalize() + ".", epilog=EXAMPLE)
    parser.add_argument("x_shape", type=sizes, metavar="SHAPE", help="shape of x, such as 1x32x10x10")
    parser.add_argument("c_out", type=positive, metavar="C_OUT", help="number of output channels")
    parser.add_argument("--bias", action="store_true", help="include a bias")
    add_convolution_options(parser)
    parser.add_argument("--dtype", choices=DTYPES, default="float32", metavar="D", help="dtype of x (default: float32)")
    parser.add_argument("--weight-dtype", choices=("int8", "uint8"), metavar="D", help="dtype of quantized weights")
    parser.add_argument("--out-dtype", choices=DTYPES, metavar="D", help="dtype of the result, if it is another one")
    parser.add_argument(
        "--then", type=sizes, metavar="KxK", help="size of a larger kernel after the 1x1; prints the saving by the 1x1"
    )
    parser.add_argument("--out", type=positive, metavar="M", help="number of output channels of that kernel")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    if (args.then is None) != (args.out is None):
        raise CommandError("--then and --out go together: --then 5x5 --out 32")
    with library_errors():
        result = cost(
            args.x_shape,
            args.c_out,
            layout=args.layout,
            stride=args.stride,
            padding=args.padding,
            groups=args.groups,
            bias=args.bias,
            dtype=args.dtype,
            weight_dtype=args.weight_dtype,
            out_dtype=args.out_dtype,
        )
    lines = [
        ("params", f"{result.params:,}"),
        ("multiply-adds", f"{result.macs:,}"),
        ("FLOPs", f"{result.flops:,}"),
        ("bytes", f"{result.bytes:,}"),
        ("intensity", f"{result.intensity:.2f} FLOP/byte"),
        ("output", "x".join(map(str, result.output_shape))),
    ]
    text = [f"{name:15s}{value}" for name, value in lines]
    if args.then is not None:
        text += ["", *_saving(args, result)]
    print("\n".join(text))
    return 0


def _saving(args: argparse.Namespace, first: Cost) -> list[str]:
    """Return a table of the larger kernel alone and after the 1x1 convolution.

    The larger kernel has stride 1 and keeps the size of the image.
    """
    spatial = [i for i, axis in enumerate(args.layout) if axis in "DHW"]
    if len(args.then) != len(spatial) or not spatial or 0 in args.then:
        raise CommandError(
            f"--then must be sizes of at least 1, one for each spatial axis of layout {args.layout}, "
            f"got {'x'.join(map(str, args.then))}"
        )
    kernel = "x".join(map(str, args.then))
    taps = math.prod(args.then)
    c_in = args.x_shape[args.layout.index("C")]
    batch = args.x_shape[args.layout.index("N")] if "N" in args.layout else 1
    pixels = batch * math.prod(first.output_shape[i] for i in spatial)
    bias = args.out if args.bias else 0

    weights_alone, weights_behind = taps * c_in * args.out, taps * args.c_out * args.out
    alone = (weights_alone + bias, pixels * weights_alone)
    behind = (first.params + weights_behind + bias, first.macs + pixels * weights_behind)
    rows = [
        ("", "params", "multiply-adds"),
        (f"{kernel} alone", *(f"{count:,}" for count in alone)),
        (f"1x1 then {kernel}", *(f"{count:,}" for count in behind)),
        ("saving", *(_ratio(before, after) for before, after in zip(alone, behind, strict=True))),
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    return [f"{row[0]:{widths[0]}s}  {row[1]:>{widths[1]}s}  {row[2]:>{widths[2]}s}" for row in rows]


def _ratio(before: int, after: int) -> str:
    """Return the ratio of two counts and the saving in percent, which is negative if the count grows."""
    if not before or not after:
        return "-"
    return f"{before / after:.2f}x ({100 * (1 - after / before):.1f}%)"
