"""The contenders of the benchmark: bias and ReLU included, NumPy array in, new NumPy array out, float32."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from . import _peers
from ._api import Conv

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ._tables import Case

    Call: TypeAlias = Callable[[], NDArray[Any]]
    # None for what the contender cannot compute: it is left out there
    Builder: TypeAlias = Callable[[Case, str, "Operands", int], Call | None]

US = "pointwise"


class Operands(NamedTuple):
    """The arrays of one case."""

    x: NDArray[Any]
    weight: NDArray[Any]
    bias: NDArray[Any]

    def magnitudes(self) -> Operands:
        """Return absolute values in float64: the same convolution of them bounds the rounding errors."""
        x, weight, bias = (np.abs(array, dtype=np.float64) for array in self)
        return Operands(x, weight, bias)


def operands(case: Case, layout: str) -> Operands:
    """Return random arrays for a case, the same ones every time."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(case.shape(layout), dtype=np.float32)
    weight = rng.standard_normal((case.cout, case.cin // case.groups), dtype=np.float32)
    weight /= np.sqrt(np.float32(weight.shape[1]))
    return Operands(x, weight, rng.standard_normal(case.cout, dtype=np.float32))


def _pointwise(case: Case, layout: str, arrays: Operands, threads: int) -> Call:
    layer = Conv(arrays.weight, arrays.bias, layout=layout, stride=case.stride, groups=case.groups, activation="relu")
    return functools.partial(layer, arrays.x)


def numpy_baseline(case: Case, layout: str, arrays: Operands, threads: int) -> Call:
    """Return what a NumPy user writes: matmul on reshaped views, then bias and ReLU in place.

    Parameters
    ----------
    case : Case
        The layer.
    layout : str
        "NCHW" or "NHWC".
    arrays : Operands
        Of any one floating dtype, which the result has too.
    threads : int
        Unused: BLAS takes its number of threads from the process.

    Returns
    -------
    callable
        Computes the result, a new array for each call.
    """
    return (_numpy_nchw if layout == "NCHW" else _numpy_nhwc)(case, arrays)


def _numpy_nchw(case: Case, arrays: Operands) -> Call:
    x, weight, bias = arrays
    n, s, g = case.n, case.stride, case.groups
    matrix = weight.reshape(g, case.cout // g, -1) if g > 1 else weight
    channels = (g, case.cin // g) if g > 1 else (case.cin,)
    column = bias[:, None, None]

    def call() -> NDArray[Any]:
        source = x[:, :, ::s, ::s] if s > 1 else x
        h, w = source.shape[2:]
        y: NDArray[Any] = np.matmul(matrix, source.reshape(n, *channels, h * w)).reshape(n, case.cout, h, w)
        y += column
        np.maximum(y, 0, out=y)
        return y

    return call


def _numpy_nhwc(case: Case, arrays: Operands) -> Call:
    x, weight, bias = arrays
    n, s, g = case.n, case.stride, case.groups
    matrix = np.ascontiguousarray(weight.reshape(g, case.cout // g, -1).transpose(0, 2, 1))

    def call() -> NDArray[Any]:
        source = x[:, ::s, ::s] if s > 1 else x
        h, w = source.shape[1:3]
        if g == 1:
            y = np.matmul(source.reshape(n * h * w, case.cin), matrix[0])
        else:
            y = np.empty((n * h * w, case.cout), x.dtype)
            grouped = source.reshape(n * h * w, g, -1).transpose(1, 0, 2)
            np.matmul(grouped, matrix, out=y.reshape(n * h * w, g, -1).transpose(1, 0, 2))
        y += bias
        np.maximum(y, 0, out=y)
        result: NDArray[Any] = y.reshape(n, h, w, case.cout)
        return result

    return call


CONTENDERS: dict[str, Builder] = {
    US: _pointwise,
    "numpy": numpy_baseline,
    "torch": _peers.torch,
    "onnxruntime": _peers.onnxruntime,
    "openvino": _peers.openvino,
    "xnnpack": _peers.xnnpack,
}
MODULES = {
    "torch": ("torch",),
    "onnxruntime": ("onnxruntime", "onnx"),
    "openvino": ("openvino", "onnx"),
    "xnnpack": ("ai_edge_litert", "flatbuffers"),
}
