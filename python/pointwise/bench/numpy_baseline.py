"""The contender NumPy: a matrix product, then further passes over the result.

Each activation is written in the way that is fastest in NumPy and correct for the values of these layers. Exponentials
are not protected against overflow. In float32 exp(v) overflows only above v = 88, and no value of these layers is as
large.
"""

from __future__ import annotations

import importlib
import math
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from .epilogue import RELU

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from .epilogue import Activation
    from .layers import Case
    from .operands import Call, Operands

    Array = NDArray[Any]
    Activate: TypeAlias = Callable[[NDArray[Any]], Any]


def numpy_baseline(case: Case, layout: str, arrays: Operands, threads: int) -> Call | None:
    """Return a function that computes a layer by `numpy.matmul`, then bias, residual and activation in place.

    Parameters
    ----------
    case : Case
        Layer.
    layout : str
        "NCHW" or "NHWC".
    arrays : Operands
        Arrays of one floating dtype, which is also that of the result.
    threads : int
        Unused, because the number of threads of BLAS is a setting of the process.

    Returns
    -------
    callable or None
        Function that returns the result in a new array. None if NumPy cannot compute the activation: see `lacking`.
    """
    activation = case.epilogue.activation
    if activation == RELU:
        return _numpy_calls(case, layout, arrays, None)
    if lacking(activation):
        return None
    return _numpy_calls(case, layout, arrays, in_place(activation))


def numpy_sum(case: Case, layout: str, arrays: Operands) -> NDArray[Any]:
    """Return the sum before the activation, computed by NumPy in the dtype of the arrays."""
    return _numpy_calls(case, layout, arrays, lambda y: None)()


def _numpy_calls(case: Case, layout: str, arrays: Operands, activate: Activate | None) -> Call:
    """Return the function for a layer. If `activate` is None, it computes ReLU inline, to save a call."""
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


def lacking(activation: Activation) -> str | None:
    """Return why NumPy cannot compute an activation, as the end of a message. Return None if it can.

    NumPy has no erf, so its users call the one of SciPy. A comparison with `math.erf` for each element, which is slow,
    or with a handwritten approximation would not be fair.
    """
    if activation.name != "gelu" or _erf() is not None:
        return None
    return ": it lacks erf, which scipy has: pip install scipy"


def _erf() -> Callable[..., Any] | None:
    try:
        erf: Callable[..., Any] = importlib.import_module("scipy.special").erf
    except ImportError:
        return None
    return erf


def in_place(activation: Activation) -> Callable[[Array], Any]:
    """Return a function that applies an activation to an array in place."""
    function = _ACTIVATIONS[activation.name]
    parameters = (_erf(),) if activation.name == "gelu" else activation.parameters
    return (lambda y: function(y, *parameters)) if parameters else function


def _none(y: Array) -> None:
    pass


def _relu(y: Array) -> None:
    np.maximum(y, 0, out=y)


def _clip(y: Array, low: float, high: float) -> None:
    np.clip(y, low, high, out=y)


def _leaky_relu(y: Array, slope: float) -> None:
    (np.maximum if slope <= 1 else np.minimum)(y, y * slope, out=y)


def _elu(y: Array, alpha: float) -> None:
    negative = np.minimum(y, 0)
    np.expm1(negative, out=negative)
    negative *= alpha
    np.maximum(y, 0, out=y)
    y += negative


def _sigmoid(y: Array) -> None:
    np.negative(y, out=y)
    np.exp(y, out=y)
    y += 1
    np.reciprocal(y, out=y)


def _tanh(y: Array) -> None:
    np.tanh(y, out=y)


def _silu(y: Array) -> None:
    divisor = np.negative(y)
    np.exp(divisor, out=divisor)
    divisor += 1
    y /= divisor


def _hardsigmoid(y: Array) -> None:
    y *= 1 / 6
    y += 0.5
    np.clip(y, 0, 1, out=y)


def _hardswish(y: Array) -> None:
    factor = y * (1 / 6)
    factor += 0.5
    np.clip(factor, 0, 1, out=factor)
    y *= factor


def _gelu(y: Array, erf: Callable[..., Any]) -> None:
    factor = y * math.sqrt(0.5)
    erf(factor, out=factor)
    factor += 1
    factor *= 0.5
    y *= factor


def _gelu_tanh(y: Array) -> None:
    factor = y * y
    factor *= 0.044715 * math.sqrt(2 / math.pi)
    factor += math.sqrt(2 / math.pi)
    factor *= y
    np.tanh(factor, out=factor)
    factor += 1
    factor *= 0.5
    y *= factor


def _softplus(y: Array) -> None:
    np.exp(y, out=y)
    np.log1p(y, out=y)


def _mish(y: Array) -> None:
    factor = np.exp(y)
    np.log1p(factor, out=factor)
    np.tanh(factor, out=factor)
    y *= factor


_ACTIVATIONS: dict[str, Callable[..., Any]] = {
    "none": _none,
    "relu": _relu,
    "relu6": lambda y: _clip(y, 0, 6),
    "clip": _clip,
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "sigmoid": _sigmoid,
    "tanh": _tanh,
    "silu": _silu,
    "hardsigmoid": _hardsigmoid,
    "hardswish": _hardswish,
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "softplus": _softplus,
    "mish": _mish,
}
