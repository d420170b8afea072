"""The contenders of the benchmark: bias and epilogue included, NumPy arrays in, new NumPy array out, float32."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from . import _numpy_activations, _peers
from ._api import Conv
from ._epilogue import RELU

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ._epilogue import Activation
    from ._tables import Case

    Call: TypeAlias = Callable[[], NDArray[Any]]
    Activate: TypeAlias = Callable[[NDArray[Any]], Any]
    # None for what the contender cannot compute: it is left out there
    Builder: TypeAlias = Callable[[Case, str, "Operands", int], Call | None]

US = "pointwise"


class Operands(NamedTuple):
    """The arrays of one case; the residual is None where there is none."""

    x: NDArray[Any]
    weight: NDArray[Any]
    bias: NDArray[Any]
    residual: NDArray[Any] | None = None

    def magnitudes(self) -> Operands:
        """Return absolute values in float64: the same sum of them bounds the rounding errors."""
        x, weight, bias = (np.abs(array, dtype=np.float64) for array in (self.x, self.weight, self.bias))
        residual = None if self.residual is None else np.abs(self.residual, dtype=np.float64)
        return Operands(x, weight, bias, residual)


def operands(case: Case, layout: str) -> Operands:
    """Return random arrays for a case, the same ones every time."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(case.shape(layout), dtype=np.float32)
    weight = rng.standard_normal((case.cout, case.cin // case.groups), dtype=np.float32)
    weight /= np.sqrt(np.float32(weight.shape[1]))
    bias = rng.standard_normal(case.cout, dtype=np.float32)
    shape = case.cost(layout).output_shape
    residual = rng.standard_normal(shape, dtype=np.float32) if case.epilogue.residual else None
    return Operands(x, weight, bias, residual)


def _pointwise(case: Case, layout: str, arrays: Operands, threads: int) -> Call:
    layer = Conv(
        arrays.weight,
        arrays.bias,
        layout=layout,
        stride=case.stride,
        groups=case.groups,
        activation=case.epilogue.activation.argument(),
    )
    # without one as without the argument: its parsing would be part of the smallest layers' time
    return functools.partial(layer, arrays.x, *(() if arrays.residual is None else (arrays.residual,)))


def numpy_baseline(case: Case, layout: str, arrays: Operands, threads: int) -> Call | None:
    """Return what a NumPy user writes: matmul on reshaped views, then bias, residual and activation in place.

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
    callable or None
        Computes the result, a new array for each call. None where `_numpy_activations.lacking` says why.
    """
    activation = case.epilogue.activation
    if activation == RELU:
        return _numpy_calls(case, layout, arrays, None)
    if _numpy_activations.lacking(activation):
        return None
    return _numpy_calls(case, layout, arrays, _numpy_activations.in_place(activation))


def numpy_sum(case: Case, layout: str, arrays: Operands) -> NDArray[Any]:
    """Return the sum before the activation as NumPy computes it, in the dtype of the arrays."""
    return _numpy_calls(case, layout, arrays, lambda y: None)()


def _numpy_calls(case: Case, layout: str, arrays: Operands, activate: Activate | None) -> Call:
    """Return NumPy's computation; None is ReLU, in line: on the smallest layers one more Python call would show."""
    return (_numpy_nchw if layout == "NCHW" else _numpy_nhwc)(case, arrays, activate)


def _numpy_nchw(case: Case, arrays: Operands, activate: Activate | None) -> Call:
    x, weight, bias, residual = arrays
    n, s, g = case.n, case.stride, case.groups
    matrix = weight.reshape(g, case.cout // g, -1) if g > 1 else weight
    channels = (g, case.cin // g) if g > 1 else (case.cin,)
    column = bias[:, None, None]

    def call() -> NDArray[Any]:
        source = x[:, :, ::s, ::s] if s > 1 else x
        h, w = source.shape[2:]
        y: NDArray[Any] = np.matmul(matrix, source.reshape(n, *channels, h * w)).reshape(n, case.cout, h, w)
        y += column
        if residual is not None:
            y += residual
        if activate is None:
            np.maximum(y, 0, out=y)
        else:
            activate(y)
        return y

    return call


def _numpy_nhwc(case: Case, arrays: Operands, activate: Activate | None) -> Call:
    x, weight, bias, residual = arrays
    if residual is not None:
        residual = residual.reshape(-1, case.cout)
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
        if residual is not None:
            y += residual
        if activate is None:
            np.maximum(y, 0, out=y)
        else:
            activate(y)
        result: NDArray[Any] = y.reshape(n, h, w, case.cout)
        return result

    return call


def left_out(name: str, activation: Activation) -> str | None:
    """Return what to add to "`name` has no `activation`", where that is so; None where it has it."""
    if name == "numpy":
        return _numpy_activations.lacking(activation)
    return "" if name == "xnnpack" and _peers.xnnpack_lacking(activation) else None


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
