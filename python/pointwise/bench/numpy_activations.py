"""Computes activations in NumPy. Each function is the fastest one that is correct for the values of the benchmark.

Exponentials are not protected against overflow. In float32 exp(v) overflows only above v = 88, and no value of these
layers is as large.
"""

from __future__ import annotations

import importlib
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from .epilogue import PRELU

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from .epilogue import Activation

    Array = NDArray[Any]


def lacking(activation: Activation) -> str | None:
    """Return the reason why NumPy cannot compute an activation, as the end of a message. Return None if it can.

    NumPy has no erf, so users of NumPy call `scipy.special.erf`. A comparison with `math.erf` for each
    element, or with a handwritten approximation, would not be fair.
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


def in_place(activation: Activation, slopes: Array | None = None) -> Callable[[Array], Any]:
    """Return a function that applies an activation to an array in place. "prelu" needs `slopes`, which are below 1."""
    if activation.name == PRELU:
        return lambda y: np.maximum(y, y * slopes, out=y)
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
