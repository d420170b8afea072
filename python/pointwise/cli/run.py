"""``pointwise run``: convolves an array in an .npy file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .._conv import conv
from .files import check_writable, read_npy, replacing
from .parser import activation, add_convolution_options, library_errors

if TYPE_CHECKING:
    import argparse

    from .parser import Commands

SUMMARY = "convolve an array in an .npy file"
EXAMPLE = "example: pointwise run x.npy weight.npy --bias bias.npy --activation relu -o y.npy"


def register(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("run", help=SUMMARY, description=SUMMARY.capitalize() + ".", epilog=EXAMPLE)
    parser.add_argument("x", metavar="x.npy", help="input, with the axes that --layout names")
    parser.add_argument("weight", metavar="weight.npy", help="weights of shape (C_out, C_in/groups)")
    parser.add_argument("--bias", metavar="b.npy", help="bias of shape (C_out,)")
    add_convolution_options(parser)
    parser.add_argument("--activation", type=activation, metavar="A", help="such as relu or clip,0,6 (default: none)")
    parser.add_argument("-o", "--output", metavar="y.npy", required=True, help="result, written if the run succeeds")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    check_writable(args.output)
    x, weight = read_npy(args.x), read_npy(args.weight)
    bias = None if args.bias is None else read_npy(args.bias)
    with library_errors():
        y = conv(
            x,
            weight,
            bias,
            layout=args.layout,
            stride=args.stride,
            padding=args.padding,
            groups=args.groups,
            activation=args.activation,
        )
    with replacing(args.output) as file:
        np.save(file, y, allow_pickle=False)
    print(f"{args.output}: shape {y.shape}, dtype {y.dtype}")
    return 0
