"""``pointwise verify``: computes fixed layers and compares their bits with those that any AVX2 or AVX-512 CPU gives."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import pathlib
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from .. import _core
from .._arguments import DTYPES, as_dtype
from .._conv import Conv
from .._gradients import conv_grad_weight
from .._qconv import QConv
from .._runtime import get_num_threads, isa, num_threads
from .parser import CommandError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from .._arguments import Activation
    from .parser import Commands

    Hashes: TypeAlias = dict[str, dict[str, str]]  # by kind and layer

SUMMARY = "compare the bits of fixed layers with those of other machines"
DESCRIPTION = """\
Computes fixed layers for every dtype on this machine. Prints a hash of each result and one hash of all results. The
hashes are equal on every CPU with AVX2 or AVX-512. Exits with status 1 if a hash differs from the expected one."""
EXPECTED = pathlib.Path(__file__).with_name("verify.json")


class Kind(NamedTuple):
    """The dtypes of x, of the weights and of the result, and the significant bits of floating x and weights."""

    x: str
    weight: str
    y: str
    digits: int
    stored: str | None = None  # the dtype of the stored weights, if it is another one

    @property
    def sum(self) -> str:
        """The dtype of the sums and of the bias."""
        return "float64" if self.weight == "float64" else "float32"


# The columns of the table. A dtype that is added to pointwise needs one entry here.
KINDS = {
    "float32": Kind("float32", "float32", "float32", 24),
    "float64": Kind("float64", "float64", "float64", 53),
    "float16": Kind("float16", "float16", "float16", 11),
    "bfloat16": Kind("bfloat16", "bfloat16", "bfloat16", 8),
    "uint8": Kind("uint8", "float32", "float32", 24),
    "int8": Kind("int8", "float32", "float32", 24),
    "uint16": Kind("uint16", "float32", "float32", 24),
    "int16": Kind("int16", "float32", "float32", 24),
    "to uint8": Kind("uint8", "float32", "uint8", 24),
    "weight i8": Kind("float32", "float32", "float32", 24, "int8"),
}
QUANTIZED = "QConv"  # the column of quantized layers
COLUMNS = 6  # of a table
# The activations of the layer "activations": all names, and those with parameters. prelu follows with its slopes.
ACTIVATIONS: tuple[Activation, ...] = (
    *("relu6", "sigmoid", "tanh", "silu", "hardsigmoid", "hardswish", "gelu", "gelu_tanh", "softplus", "mish"),
    *(("clip", -0.25, 0.75), ("leaky_relu", 0.125), ("elu", 1.5)),
)


@dataclasses.dataclass(frozen=True)
class Layer:
    """A layer of the set: sizes of an NCHW convolution, and its options."""

    images: int
    c_in: int
    c_out: int
    height: int
    width: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    activation: Activation = None
    residual: bool = False
    scale: bool = False


# The rows of the table. Sizes are not multiples of tiles, vectors and chunks.
LAYERS = {
    "colours": Layer(1, 3, 3, 37, 41),
    "one pixel": Layer(1, 64, 70, 1, 1, activation="relu"),
    "few outputs": Layer(1, 131, 2, 40, 39),
    "chunks": Layer(1, 600, 24, 7, 9, activation="relu"),
    "many channels": Layer(1, 192, 97, 28, 27, activation="relu"),
    "images": Layer(3, 48, 33, 14, 13, activation="gelu", residual=True),
    "stride": Layer(2, 40, 65, 27, 28, stride=2, padding=1, activation="hardswish"),
    "groups": Layer(1, 48, 64, 20, 19, groups=4, activation="tanh"),
    "depthwise": Layer(2, 37, 37, 21, 20, groups=37),
    "scaled input": Layer(2, 32, 40, 17, 19, activation="sigmoid", scale=True),
}


def random_bits(seed: int, count: int) -> NDArray[np.uint64]:
    """Return pseudorandom 64-bit integers: the generator SplitMix64, started at `seed` * 2**32."""
    z = np.arange(1, count + 1, dtype=np.uint64) + np.uint64(seed << 32)
    z *= np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = z ^ (z >> np.uint64(31))
    return mixed


def numbers(seed: int, shape: tuple[int, ...], dtype: str, digits: int, exponent: int = 0) -> NDArray[Any]:
    """Return pseudorandom numbers of a dtype, which are exact: no operation rounds.

    Integers are uniform. Floating numbers have `digits` significant bits and magnitudes of at most 2**exponent.
    """
    bits = random_bits(seed, math.prod(shape))
    kind = as_dtype(dtype, DTYPES)
    if kind.kind in "iu":
        upper = bits >> np.uint64(64 - 8 * kind.itemsize)
        result: NDArray[Any] = upper.astype(f"u{kind.itemsize}").view(kind).reshape(shape)
        return result
    whole = (bits >> np.uint64(64 - digits)).astype(np.int64) - (1 << (digits - 1))  # float64 holds it exactly
    # Four magnitudes. Numbers of few digits have more, because otherwise no sum would round.
    magnitudes = 4 if digits > 8 else 16
    powers = exponent + 1 - digits - (bits % np.uint64(magnitudes)).astype(np.int64)
    result = np.ldexp(whole.astype(np.float64), powers).astype(kind).reshape(shape)
    return result


class Problem:
    """A layer with the arrays of a kind."""

    def __init__(self, name: str, kind: Kind) -> None:
        layer = LAYERS[name]
        self.kind, self.layer, seed = kind, layer, 16 * list(LAYERS).index(name)
        dtype = as_dtype(kind.x, DTYPES)
        integer = dtype.kind in "iu"
        # Sums have a magnitude of about 1, or of about 256 for results that are integers.
        per_group = layer.c_in // layer.groups
        down = -(per_group.bit_length() // 2) - (8 * dtype.itemsize - 1 if integer else 0)
        scaled = down + (8 if kind.y != kind.weight else 0)
        x_shape = (layer.images, layer.c_in, layer.height, layer.width)
        self.x = numbers(seed, x_shape, kind.x, kind.digits, exponent=1)
        self.weight = numbers(seed + 1, (layer.c_out, per_group), kind.weight, kind.digits, scaled)
        self.bias = numbers(seed + 2, (layer.c_out,), kind.sum, kind.digits)
        self.scale = numbers(seed + 3, x_shape[:2], kind.weight, kind.digits) if layer.scale else None
        self.how: dict[str, Any] = {"stride": layer.stride, "padding": layer.padding, "groups": layer.groups}
        size = [(n + 2 * layer.padding - 1) // layer.stride + 1 for n in x_shape[2:]]
        y_shape = (layer.images, layer.c_out, *size)
        with_residual = layer.residual and kind.y == kind.weight
        self.residual = numbers(seed + 4, y_shape, kind.y, kind.digits) if with_residual else None
        self.slopes = numbers(seed + 5, (layer.c_out,), kind.weight, kind.digits)

    def compute(self, layout: str, activation: Activation) -> NDArray[Any]:
        """Return the result in NCHW. The layer is computed in `layout`, NCHW or NHWC."""
        out_dtype = None if self.kind.y == self.kind.weight else self.kind.y
        how = {"activation": activation, "out_dtype": out_dtype, "weight_dtype": self.kind.stored, **self.how}
        layer = Conv(self.weight, self.bias, layout=layout, **how)
        if layout == "NCHW":
            return layer(self.x, self.residual, input_scale=self.scale)
        residual = None if self.residual is None else last(self.residual)
        y: NDArray[Any] = layer(last(self.x), residual, input_scale=self.scale).transpose(0, 3, 1, 2)
        return y

    def ways(self, activation: Activation) -> Iterator[tuple[str, NDArray[Any]]]:
        """Yield the ways in which the layer is computed, and their results, which have the same bits."""
        yield f"NCHW, {get_num_threads()} threads", self.compute("NCHW", activation)
        with num_threads(1):
            yield "NHWC, 1 thread", self.compute("NHWC", activation)

    def error(self) -> float:
        """Return the largest error without the activation, in units of the error bound of float sums."""
        plain = Conv(self.weight, self.bias, weight_dtype=self.kind.stored, out_dtype=self.kind.sum, **self.how)
        x, weight, bias = (a.astype(np.float64).astype(np.longdouble) for a in (self.x, plain.weight, self.bias))
        if self.scale is not None:
            kind = self.weight.dtype
            product = self.x.astype(kind) * self.scale[:, :, None, None]  # rounded once, as by pointwise
            x = product.astype(np.float64).astype(np.longdouble)
        layer, (n, c, h, w) = self.layer, self.x.shape
        p, s = layer.padding, layer.stride
        padded = np.zeros((n, c, h + 2 * p, w + 2 * p), np.longdouble)
        padded[:, :, p : p + h, p : p + w] = x
        source = padded[:, :, ::s, ::s].reshape(n, layer.groups, c // layer.groups, -1)
        grouped = weight.reshape(layer.groups, -1, weight.shape[1])

        def total(source: NDArray[Any], grouped: NDArray[Any], bias: NDArray[Any]) -> NDArray[Any]:
            y = np.matmul(grouped, source).reshape(n, layer.c_out, -1) + bias[:, None]
            return np.asarray(y)

        channels, info = weight.shape[1], np.finfo(self.kind.sum)
        terms = min(channels, 256) + -(-channels // 256) + 2
        unit = float(info.eps) / 2
        bound = terms * unit / (1 - terms * unit) * total(abs(source), abs(grouped), abs(bias)) + float(info.tiny)
        y = plain(self.x, input_scale=self.scale)
        return float((abs(y.reshape(n, layer.c_out, -1) - total(source, grouped, bias)) / bound).max())


class QuantizedProblem:
    """A quantized layer with its arrays: x of uint8 and weights of int8, with a scale for each output channel."""

    def __init__(self, name: str) -> None:
        layer = LAYERS[name]
        self.layer, seed = layer, 16 * list(LAYERS).index(name) + 8
        per_group = layer.c_in // layer.groups
        self.x = numbers(seed, (layer.images, layer.c_in, layer.height, layer.width), "uint8", 8)
        self.weight = numbers(seed + 1, (layer.c_out, per_group), "int8", 8)
        self.bias = numbers(seed + 2, (layer.c_out,), "int16", 16).astype(np.int32)
        self.scales = np.float32(2**-8) + numbers(seed + 3, (layer.c_out,), "uint8", 8).astype(np.float32) / 65536
        self.y_scale = np.float32(2.0 ** (per_group.bit_length() // 2 - 7))  # results use most of their range
        self.how: dict[str, Any] = {"stride": layer.stride, "padding": layer.padding, "groups": layer.groups}

    def compute(self, layout: str) -> NDArray[Any]:
        """Return the result in NCHW. The layer is computed in `layout`, NCHW or NHWC."""
        activation = self.layer.activation if self.layer.activation in ("relu", None) else "relu6"
        scales = (np.float32(2**-6), np.uint8(125), self.weight, self.scales, np.int8(0), self.y_scale, np.uint8(120))
        layer = QConv(*scales, self.bias, layout=layout, activation=activation, **self.how)
        if layout == "NCHW":
            return layer(self.x)
        y: NDArray[Any] = layer(last(self.x)).transpose(0, 3, 1, 2)
        return y


def last(a: NDArray[Any]) -> NDArray[Any]:
    """Return an NCHW array as a contiguous NHWC array."""
    return np.ascontiguousarray(a.transpose(0, 2, 3, 1))


def digest(*results: NDArray[Any]) -> str:
    """Return a hash of 32 bits of the dtypes, shapes and little-endian bytes of results."""
    state = hashlib.sha256()
    for y in results:
        state.update(f"{y.dtype.name}{y.shape}".encode())
        words = np.ascontiguousarray(y).view(f"u{y.dtype.itemsize}")
        state.update(words.astype(words.dtype.newbyteorder("<"), copy=False).tobytes())
    return state.hexdigest()[:8]


def hashes_of(kind: Kind) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the rows of a kind: the name of the row, and hashes by the way in which it was computed."""
    for name in LAYERS:
        problem = Problem(name, kind)
        yield name, {way: digest(y) for way, y in problem.ways(problem.layer.activation)}
    problem = Problem("scaled input", kind)
    ways: dict[str, list[NDArray[Any]]] = {}
    for activation in (*ACTIVATIONS, ("prelu", problem.slopes)):
        for way, y in problem.ways(activation):
            ways.setdefault(way, []).append(y)
    yield "activations", {way: digest(*results) for way, results in ways.items()}
    problem = Problem("images", kind)
    grad = numbers(999, (3, 33, 14, 13), kind.weight, kind.digits)
    nhwc = conv_grad_weight(last(grad), last(problem.x), layout="NHWC")
    yield "gradient", {"NCHW": digest(conv_grad_weight(grad, problem.x)), "NHWC": digest(nhwc)}


def quantized_hashes() -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the rows of quantized layers, as `hashes_of` does for a kind."""
    for name in LAYERS:
        problem = QuantizedProblem(name)
        ways = {f"NCHW, {get_num_threads()} threads": digest(problem.compute("NCHW"))}
        with num_threads(1):
            ways["NHWC, 1 thread"] = digest(problem.compute("NHWC"))
        yield name, ways


def has(dtype: str) -> bool:
    """Return True if NumPy has the dtype. bfloat16 needs ml_dtypes."""
    try:
        as_dtype(dtype, DTYPES)
    except TypeError:
        return False
    return True


def compute_all() -> tuple[Hashes, list[str]]:
    """Return the hashes of this machine, and one line for each row whose ways differ from each other."""
    found: Hashes = {}
    differences = []
    columns = {name: hashes_of(kind) for name, kind in KINDS.items() if has(kind.x)} | {QUANTIZED: quantized_hashes()}
    for name, rows in columns.items():
        found[name] = {}
        for row, ways in rows:
            found[name][row] = next(iter(ways.values()))
            if len(set(ways.values())) > 1:
                each = ", ".join(f"{way} {value}" for way, value in ways.items())
                differences.append(f"{name}, {row}: ways of computing it differ: {each}")
    return found, differences


def hash_of_all(hashes: Hashes) -> str:
    """Return the hash of a table of hashes."""
    lines = [f"{kind} {row} {value}\n" for kind, rows in hashes.items() for row, value in rows.items()]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def compared(found: Hashes, expected: Hashes) -> list[str]:
    """Return a line for each hash that differs from the expected one. The line tells how large the error is."""
    lines = []
    for kind, rows in found.items():
        for row, value in rows.items():
            wanted = expected.get(kind, {}).get(row, "none")
            if value != wanted:
                lines.append(f"{kind}, {row}: {value} instead of {wanted}{error_words(kind, row)}")
    return lines


def error_words(kind: str, row: str) -> str:
    """Return words about the error of a layer. They are empty for rows that are no layer."""
    if row not in LAYERS or kind not in KINDS:
        return ""
    error = Problem(row, KINDS[kind]).error()
    place = "within" if error <= 1 else "BEYOND"
    return f"; sums are {place} the error bound: the largest error is {error:.2f} of it"


def table(found: Hashes, marked: Hashes) -> list[str]:
    """Return the lines of the tables. A star marks a hash that differs from that of `marked`."""
    rows = list(next(iter(found.values())))
    width = max(map(len, rows))
    lines = []
    for first in range(0, len(found), COLUMNS):
        columns = list(found)[first : first + COLUMNS]
        lines.append(" ".join([" " * width, *(f"{column:9s}" for column in columns)]))
        for row in rows:
            cells = [cell(found[column].get(row, ""), marked.get(column, {}).get(row, "")) for column in columns]
            lines.append(" ".join([f"{row:{width}s}", *cells]))
    return [line.rstrip() for line in lines]


def cell(value: str, marked: str) -> str:
    """Return a cell of a table."""
    return f"{value}{' ' if value == marked else '*'}".ljust(9)


def register(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "verify", help=SUMMARY, description=DESCRIPTION, epilog="example: POINTWISE_ISA=avx2 pointwise verify"
    )
    parser.add_argument("--write", metavar="FILE", help="write the hashes of this machine to FILE as JSON")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the command."""
    portable = isa() == "portable"
    if args.write is not None and portable:
        raise CommandError("--write needs AVX2 or AVX-512: the portable kernels keep the error bound, not the bits")
    found, differences = compute_all()
    if args.write is not None:
        pathlib.Path(args.write).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    expected: Hashes = json.loads(EXPECTED.read_text(encoding="utf-8")) if args.write is None else found
    print(*table(found, found if portable else expected), sep="\n")
    print(f"all {hash_of_all(found)}")
    for name, kind in KINDS.items():
        if name not in found:
            print(f"without {name}, so the hash of all is another one: run pip install ml_dtypes to add {kind.x}")
    if portable:
        return report_portable()
    differences += compared(found, expected)
    machine = f"{isa()}, {get_num_threads()} threads, pointwise {_core.version}"
    if differences:
        print(*differences, f"DIFFERENT: {len(differences)} differences ({machine})", sep="\n")
        return 1
    print("the same bits as on every CPU with AVX2 or AVX-512")
    return 0


def report_portable() -> int:
    """Print the largest error of the portable kernels, whose bits are not promised. Return the exit status."""
    kinds = [kind for kind in KINDS if has(KINDS[kind].x)]
    errors = {(kind, row): Problem(row, KINDS[kind]).error() for kind in kinds for row in LAYERS}
    (kind, row), worst = max(errors.items(), key=lambda item: item[1])
    print("The portable kernels keep the error bound, not the bits, so hashes may differ from those of other machines.")
    print(f"The largest error is {worst:.2f} of the bound: {kind}, {row}.")
    return int(not worst <= 1)
