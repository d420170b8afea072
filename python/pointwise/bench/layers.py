"""Reads layers from arguments of a command and from tables, which are CSV files with 1x1 convolutions of networks."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import io
import math
import pathlib
import re
import sys
from typing import TYPE_CHECKING

from .._arguments import ITEM_SIZES
from .._cost import Cost, cost
from ..cli.parser import CommandError
from .dtypes import DTYPES, FLOAT32, QUANTIZED, Dtypes
from .epilogue import BIAS_RELU, NO_ACTIVATION, Epilogue

if TYPE_CHECKING:
    from collections.abc import Sequence

LAYOUTS = ("NCHW", "NHWC")
# gradients of a layer, with respect to x and with respect to the weight and the bias
GRADIENTS = ("dx", "dw")
# Tables that are measured only on request. The published figures do not include them. `large` needs gigabytes of
# memory.
ON_REQUEST = ("images", "large")
GIVEN = "given"  # network of the layers of --layer
LAYER = re.compile(r"(\d+)x(\d+)x(\d+)x(\d+):(\d+)(?:/(\d+))?(?:g(\d+))?", re.ASCII)
HEADER = ["network", "layer", "n", "cin", "cout", "h", "w", "stride", "groups"]


@dataclasses.dataclass(frozen=True)
class Case:
    """Layer of a network: a row of a table, and an epilogue. Fields have the names of the columns of the table."""

    network: str
    layer: str
    n: int
    cin: int
    cout: int
    h: int
    w: int
    stride: int
    groups: int
    epilogue: Epilogue = dataclasses.field(default=BIAS_RELU, kw_only=True)
    # bytes that are read before calls, so that the calls find x and weights in memory; 0 for hot calls
    evicts: int = dataclasses.field(default=0, kw_only=True)
    # one of `GRADIENTS`, which is computed in place of the layer; None for the layer itself
    gradient: str | None = dataclasses.field(default=None, kw_only=True)
    dtype: str = dataclasses.field(default=FLOAT32, kw_only=True)  # one of `DTYPES`

    @property
    def dtypes(self) -> Dtypes:
        """Dtypes of the arrays."""
        return DTYPES[self.dtype]

    def columns(self) -> dict[str, str | int]:
        """Return the row of the table, by column."""
        return {column: getattr(self, column) for column in HEADER}

    def shape(self, layout: str) -> tuple[int, int, int, int]:
        """Return the shape of x in one of `LAYOUTS`."""
        n, c, h, w = self.n, self.cin, self.h, self.w
        return (n, c, h, w) if layout == "NCHW" else (n, h, w, c)

    def cost(self, layout: str = "NCHW") -> Cost:
        """Return the cost in the dtypes of the layer. The bytes include a residual, which is read once.

        The gradient dw has the arithmetic and the bytes of the layer. The gradient dx writes all of x, and has no bias.
        """
        shape = self.shape(layout)
        found = cost(
            shape,
            self.cout,
            layout=layout,
            stride=self.stride,
            groups=self.groups,
            bias=self.epilogue.bias and self.gradient != "dx",
            dtype=self.dtypes.x,
            weight_dtype=self.dtypes.weight if self.dtype == QUANTIZED else None,
            out_dtype=self.dtypes.result,
        )
        nbytes = found.bytes
        if self.gradient == "dx":
            results = math.prod(found.output_shape)
            nbytes = ITEM_SIZES[self.dtypes.x] * (results + found.params + math.prod(shape))
        elif self.epilogue.residual:
            nbytes += ITEM_SIZES[self.dtypes.result] * math.prod(found.output_shape)
        else:
            return found
        return dataclasses.replace(found, bytes=nbytes, intensity=found.flops / nbytes)

    def with_batch(self, n: int) -> Case:
        """Return the layer for `n` images."""
        return dataclasses.replace(self, n=n)

    def with_epilogue(self, epilogue: Epilogue) -> Case:
        """Return the layer with another epilogue."""
        return dataclasses.replace(self, epilogue=epilogue)

    def gradients(self) -> list[Case]:
        """Return the layer once for each of its gradients. The epilogue keeps the bias only."""
        epilogue = Epilogue(NO_ACTIVATION, bias=self.epilogue.bias)
        return [dataclasses.replace(self, epilogue=epilogue, gradient=gradient) for gradient in GRADIENTS]

    def words(self) -> str:
        """Return a text for headings, such as "bias and ReLU" or "dw, with bias"."""
        if self.gradient is None:
            return self.epilogue.words()
        return self.gradient + (", with bias" if self.gradient == "dw" and self.epilogue.bias else "")

    def in_dtype(self, dtype: str) -> Case:
        """Return the layer in another one of `DTYPES`."""
        return dataclasses.replace(self, dtype=dtype)

    def cold(self, evicts: int) -> Case:
        """Return the layer with cold calls, before which `evicts` bytes are read."""
        return dataclasses.replace(self, evicts=evicts)


@dataclasses.dataclass(frozen=True)
class Network:
    """All layers of a network, which are called one after the other.

    Attributes
    ----------
    network : str
        Name of the network.
    cases : tuple of Case
        Layers, in the order of the table.
    """

    network: str
    cases: tuple[Case, ...]

    @property
    def layer(self) -> str:
        """Number of layers, as text."""
        return f"{len(self.cases)} layers"

    @property
    def dtype(self) -> str:
        """Dtype of all layers."""
        return self.cases[0].dtype

    def cost(self, layout: str = "NCHW") -> Cost:
        """Return the sums of the costs of all layers. There is no output shape."""
        costs = [case.cost(layout) for case in self.cases]
        params, macs, flops, nbytes = (
            sum(getattr(found, name) for found in costs) for name in ("params", "macs", "flops", "bytes")
        )
        return Cost(params, macs, flops, nbytes, flops / nbytes, ())


def in_networks(cases: Sequence[Case]) -> list[Network]:
    """Return the networks of the layers, in the order of their first layers."""
    names = dict.fromkeys(case.network for case in cases)
    return [Network(name, tuple(case for case in cases if case.network == name)) for name in names]


def _tables() -> dict[str, pathlib.Path]:
    # an editable installation has two folders; the second one holds the data
    folders = sys.modules[__name__.partition(".")[0]].__path__
    return {file.stem: file for folder in folders for file in pathlib.Path(folder, "layers").glob("*.csv")}


def networks() -> list[str]:
    """Return the names of the tables that are installed with the package, sorted."""
    return sorted(_tables())


def default_networks() -> list[str]:
    """Return the names of the installed tables that a benchmark without ``--network`` measures, sorted."""
    return [name for name in networks() if name not in ON_REQUEST]


def read_network(name: str) -> list[Case]:
    """Read a table that is installed with the package.

    Parameters
    ----------
    name : str
        One of the names that `networks` returns.

    Returns
    -------
    list of Case

    Raises
    ------
    CommandError
        If there is no such table.
    """
    tables = _tables()
    if name not in tables:
        raise CommandError(f"there is no network {name!r}; there are {', '.join(sorted(tables)) or 'none'}")
    return read_table(tables[name], f"{name}.csv")


def read_table(file: pathlib.Path, name: str) -> list[Case]:
    """Read a table.

    Parameters
    ----------
    file : Path
        CSV file with the header ``network,layer,n,cin,cout,h,w,stride,groups``.
    name : str
        Name of the file in messages.

    Returns
    -------
    list of Case
        At least one layer.

    Raises
    ------
    CommandError
        If the file cannot be read or is malformed. The message names the line.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise CommandError(f"{name}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise CommandError(f"{name}: not a text file in UTF-8: {error}") from error
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    cases = []
    try:
        if next(rows, None) != HEADER:
            raise ValueError(f"the header must be {','.join(HEADER)}")
        cases = [_case(row) for row in rows if row]
    except (ValueError, csv.Error) as error:
        raise CommandError(f"{name}: line {max(rows.line_num, 1)}: {error}") from error
    if not cases:
        raise CommandError(f"{name}: no layers")
    return cases


def parse_layer(text: str) -> Case:
    """Parse a layer such as 1x64x56x56:128/2g4, for argparse. Stride and groups are optional."""
    match = LAYER.fullmatch(text)
    if match is None:
        message = f"expected images x channels x height x width : outputs, as in 1x64x56x56:128/2g4, got {text!r}"
        raise argparse.ArgumentTypeError(message)
    n, cin, h, w, cout, stride, groups = (number or "1" for number in match.groups())
    try:
        return _case([GIVEN, text, n, cin, cout, h, w, stride, groups])
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{error}, in {text!r}") from None


def _case(row: list[str]) -> Case:
    if len(row) != len(HEADER):
        raise ValueError(f"expected {len(HEADER)} fields, got {len(row)}")
    for column, text in zip(HEADER[2:], row[2:], strict=True):
        if not (text.isascii() and text.isdigit() and int(text[:20]) > 0):
            raise ValueError(f"{column} must be a whole number of at least 1, got {text!r}")
    case = Case(row[0], row[1], *map(int, row[2:]))
    if case.cin % case.groups or case.cout % case.groups:
        raise ValueError(f"groups must divide cin and cout, got {case.groups} for {case.cin} and {case.cout}")
    case.cost()  # raises ValueError for sizes beyond int64
    return case
