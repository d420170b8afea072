"""``pointwise run``: convolves an array in an .npy file, or applies a matrix along one of its axes.

The command maps the files of x and of the result, and computes blocks of the result one after the other. So the arrays
may be larger than memory.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import math
import sys
from typing import TYPE_CHECKING, Any

from .._conv import conv
from .._cost import cost
from .._mix import mix
from . import quantized
from .files import check_writable, create_npy, read_npy, replacing_by_name
from .parser import CommandError, activation, add_convolution_options, library_errors

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from .parser import Commands

SUMMARY = "convolve an array in an .npy file"
EXAMPLE = """examples: pointwise run x.npy weight.npy --bias bias.npy --activation relu -o y.npy
          pointwise run cube.npy matrix.npy --axis 0 -o y.npy"""
BLOCK_BYTES = 64 << 20  # of x and of the result together


def register(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("run", help=SUMMARY, description=SUMMARY.capitalize() + ".", epilog=EXAMPLE)
    parser.add_argument("x", metavar="x.npy", help="input, with the axes that --layout names")
    parser.add_argument("weight", metavar="weight.npy", help="weights of shape (C_out, C_in/groups)")
    parser.add_argument("--bias", metavar="b.npy", help="bias of shape (C_out,)")
    add_convolution_options(parser)
    parser.add_argument(
        "--axis", type=int, metavar="A", help="multiply this axis of x by a matrix, as pointwise.mix does"
    )
    parser.add_argument("--activation", type=activation, metavar="A", help="such as relu or clip,0,6 (default: none)")
    parser.add_argument(
        "--out-dtype", metavar="D", help="dtype of the result, such as uint8 for integer x (default: float)"
    )
    quantized.add_options(parser)
    parser.add_argument("-o", "--output", metavar="y.npy", required=True, help="result, written if the run succeeds")
    parser.set_defaults(run=run)


class Job:
    """A call of `conv` or `mix` that is divided into blocks along one axis of the result.

    Parameters
    ----------
    args : argparse.Namespace
        Options of the command.
    x, weight : ndarray
        Arrays of the call.
    bias : ndarray or None
        Bias of the call.

    Raises
    ------
    ValueError, TypeError, NotImplementedError
        As for `conv` and `mix`.
    """

    def __init__(
        self, args: argparse.Namespace, x: NDArray[Any], weight: NDArray[Any], bias: NDArray[Any] | None
    ) -> None:
        self.x, self.weight, self.stride = x, weight, 1
        self.call: Callable[..., NDArray[Any]]
        self.axis: int | None  # None if there is only one block
        how = {name: getattr(args, name) for name in ("layout", "stride", "padding", "groups")}
        if args.axis is not None:
            self.call = functools.partial(
                mix, bias=bias, axis=args.axis, activation=args.activation, out_dtype=args.out_dtype
            )
            self.axis = checked = None if x.ndim < 2 else 1 if args.axis in (0, -x.ndim) else 0
            self.matrices = weight.ndim == 3  # one matrix for each index of the first axis
            if self.matrices and x.ndim > 0 and len(weight) != len(x):
                self.call(x, weight)  # raises
        else:
            if quantized.is_quantized(args):
                self.call = quantized.quantized_call(args, x, bias, **how)
            else:
                given = {"bias": bias, "activation": args.activation, "out_dtype": args.out_dtype}
                self.call = functools.partial(conv, **given, **how)
            self.axis, self.stride = _axis_to_divide(x.shape, **how)
            checked = self.axis if self.axis is not None else _first_other_axis(args.layout, x.ndim)
            self.matrices = False
        # A call without elements checks all arguments. Messages must have the shapes of the whole arrays.
        part = x if checked is None else x[_index(checked, slice(0))]
        matrices = weight[:0] if self.matrices and checked == 0 else weight
        try:
            y = self.call(part, matrices)
        except ValueError as error:
            message = str(error).replace(str(part.shape), str(x.shape))
            raise ValueError(message.replace(str(matrices.shape), str(weight.shape))) from None
        self.dtype = y.dtype
        if args.axis is None:
            self.shape = cost(x.shape, len(weight), **how).output_shape
        else:
            self.shape = tuple(m if i == checked else n for i, (n, m) in enumerate(zip(y.shape, x.shape, strict=True)))

    def blocks(self) -> Iterator[slice]:
        """Divide the axis of the result into ranges of about `BLOCK_BYTES`."""
        if self.axis is None or math.prod(self.shape) == 0:
            yield slice(None)
            return
        total = self.shape[self.axis]
        nbytes = self.x.nbytes + math.prod(self.shape) * self.dtype.itemsize
        count = max(1, min(total, BLOCK_BYTES * total // max(nbytes, 1)))
        for begin in range(0, total, count):
            yield slice(begin, min(begin + count, total))

    def run(self, block: slice, out: NDArray[Any]) -> None:
        """Compute a block of `out`."""
        if self.axis is None or block == slice(None):
            self.call(self.x, self.weight, out=out)
            return
        read = slice(block.start * self.stride, (block.stop - 1) * self.stride + 1)
        weight = self.weight[block] if self.matrices else self.weight
        self.call(self.x[_index(self.axis, read)], weight, out=out[_index(self.axis, block)])


def _index(axis: int, part: slice) -> tuple[slice, ...]:
    return (*(slice(None),) * axis, part)


def _first_other_axis(layout: str, rank: int) -> int | None:
    """Return the first axis that is not the axis of channels, or None if there is no such axis."""
    return None if rank < 2 else 1 if layout.upper().startswith("C") else 0


def _axis_to_divide(
    shape: tuple[int, ...], layout: str, stride: Any, padding: Any, groups: int
) -> tuple[int | None, int]:
    """Return an axis along which blocks do not overlap, or None, and the stride along this axis."""
    names = layout.upper()
    if len(names) != len(shape):  # conv reports the mistake
        return None, 1
    if "N" in names and shape[names.index("N")] > 1:
        return names.index("N"), 1
    for i, axis in enumerate(axis for axis, name in enumerate(names) if name not in "NC"):
        step, pad = (v[i] if isinstance(v, tuple) and i < len(v) else v for v in (stride, padding))
        if pad == 0 and isinstance(step, int) and step > 0:
            return axis, step
    return None, 1


@contextlib.contextmanager
def _progress_bar(total: int) -> Iterator[Callable[[], None]]:
    """Show a progress bar if standard error is a terminal and rich is installed. Yield a function for each block."""
    try:
        module = importlib.import_module("rich.progress") if sys.stderr.isatty() else None
    except ImportError:
        module = None
    if module is None or total < 2:
        yield lambda: None
        return
    console = importlib.import_module("rich.console").Console(stderr=True)
    columns = (module.BarColumn(), module.TaskProgressColumn(), module.TimeRemainingColumn())
    with module.Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=total)
        yield lambda: bar.advance(task)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    if args.axis is not None and (args.layout, args.stride, args.padding, args.groups) != ("NCHW", 1, 0, 1):
        raise CommandError("--axis cannot be combined with --layout, --stride, --padding or --groups")
    if args.axis is not None and quantized.is_quantized(args):
        raise CommandError("--axis cannot be combined with scales and zero points")
    check_writable(args.output)
    x, weight = read_npy(args.x), read_npy(args.weight)
    bias = None if args.bias is None else read_npy(args.bias)
    with library_errors():
        job = Job(args, x, weight, bias)
    blocks = list(job.blocks())
    with replacing_by_name(args.output) as temporary:
        y = create_npy(temporary, job.shape, job.dtype)
        with _progress_bar(len(blocks)) as advance, library_errors():
            for block in blocks:
                job.run(block, y)
                advance()
    print(f"{args.output}: shape {job.shape}, dtype {job.dtype}")
    return 0
