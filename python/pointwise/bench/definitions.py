"""Defines activations in float64 for the checks of the benchmark, and the tolerance of each."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from .epilogue import Activation

    Array: TypeAlias = NDArray[np.float64]

# Relative error that a float32 implementation of an activation may add: 16 roundings. Two different activations differ
# by much more. For example, gelu and gelu_tanh differ by up to 4.7e-4, which is 180 times the tolerance there.
APPROXIMATION = 2.0**-20
DEFINITION = 2.0**-36  # relative error that the definitions may have, because of `erf`

_ERF_STEP, _ERF_END = 2.0**-6, 6.0


@functools.cache
def _erf_table() -> tuple[Array, Array]:
    """Return nodes, and the coefficients of the Taylor polynomial of erf at each node, lowest order first."""
    nodes = np.arange(-_ERF_END, _ERF_END + _ERF_STEP, _ERF_STEP)
    values = np.array([math.erf(node) for node in nodes])
    slope = 2 / math.sqrt(math.pi) * np.exp(-(nodes**2))
    # erf^(k+1) = (-1)^k H_k * slope, with the Hermite polynomials H_k = 1, 2t, 4t^2 - 2, 8t^3 - 12t
    third = slope * (4 * nodes**2 - 2) / 6
    fourth = -slope * (8 * nodes**3 - 12 * nodes) / 24
    return nodes, np.stack([values, slope, -slope * nodes, third, fourth])


def erf(t: Array) -> Array:
    """Return the error function, which NumPy lacks, with an error below 1e-11.

    The nearest node is at most d = 2**-7 away. So the remainder of the Taylor polynomial of degree 4 is at most
    max|erf^(5)| d**5 / 5!. This bound is below 6e-12, because |H_4(t)| exp(-t**2) <= 1.09 * 2**2 * sqrt(4!) (Cramér).
    Beyond the last node, erf differs from 1 by less than 3e-17.
    """
    nodes, table = _erf_table()
    t = np.clip(t, -_ERF_END, _ERF_END)
    nearest = np.rint((t + _ERF_END) / _ERF_STEP)
    index = np.where(np.isnan(t), 0, nearest).astype(np.intp)
    distance = t - nodes[index]
    result: Array = np.zeros_like(t)
    for coefficients in table[::-1]:
        result *= distance
        result += coefficients[index]
    return result


def _sigmoid(v: Array) -> Array:
    # the argument of exp is never positive, so exp does not overflow
    small = np.exp(-np.abs(v))
    result: Array = np.where(v < 0, small, 1.0) / (1 + small)
    return result


def _softplus(v: Array) -> Array:
    result: Array = np.maximum(v, 0) + np.log1p(np.exp(-np.abs(v)))
    return result


def _hardsigmoid(v: Array) -> Array:
    return np.clip(v / 6 + 0.5, 0, 1)


def _gelu_tanh(v: Array) -> Array:
    result: Array = v / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3)))
    return result


class Definition(NamedTuple):
    """Activation with given parameters.

    Attributes
    ----------
    function : callable
        Computes the activation in float64.
    lipschitz : float
        Lipschitz constant: a bound of the absolute value of the derivative.
    size : callable
        Takes two arguments: an upper bound of |v|, and the result. Returns the magnitude of the numbers that a float32
        implementation rounds, or 0 if it rounds no number.
    """

    function: Callable[[Array], Array]
    lipschitz: float
    size: Callable[[Array, Array], Any]


def _exact(most: Array, result: Array) -> float:
    return 0.0


def _one(most: Array, result: Array) -> float:
    return 1.0


def _product(most: Array, result: Array) -> Array:
    """Return the magnitude for v * factor. The factor is at most 1, and is rounded like a number near 1."""
    return most


def define(activation: Activation, slopes: NDArray[Any] | None = None) -> Definition:
    """Return the definition of an activation. "prelu" needs `slopes` that broadcast to v."""
    if slopes is not None:
        numbers = slopes.astype(np.float64)
        most = max(1.0, float(np.max(np.abs(numbers), initial=0)))
        return Definition(lambda v: np.where(v < 0, numbers * v, v), most, lambda most, result: abs(result))
    return _DEFINITIONS[activation.name](*activation.parameters)


def _clip(low: float, high: float) -> Definition:
    return Definition(lambda v: np.clip(v, low, high), 1, _exact)


def _leaky_relu(slope: float) -> Definition:
    return Definition(lambda v: np.where(v < 0, slope * v, v), max(1.0, abs(slope)), lambda most, result: abs(result))


def _elu(alpha: float) -> Definition:
    # expm1(v) keeps the digits of small results, which exp(v) - 1 loses
    return Definition(
        lambda v: np.where(v < 0, alpha * np.expm1(np.minimum(v, 0)), v),
        max(1.0, abs(alpha)),
        lambda most, result: abs(alpha),
    )


# Maxima of derivatives: silu 1.0998 at 2.40, gelu 1.1290 at sqrt(2), gelu_tanh 1.1290 at 1.42, mish 1.0885 at 1.49,
# hardswish 1.5 at 3.
_DEFINITIONS: dict[str, Callable[..., Definition]] = {
    "none": lambda: Definition(lambda v: v, 1, _exact),
    "relu": lambda: Definition(lambda v: np.maximum(v, 0), 1, _exact),
    "relu6": lambda: _clip(0, 6),
    "clip": _clip,
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "sigmoid": lambda: Definition(_sigmoid, 1 / 4, _one),
    "tanh": lambda: Definition(np.tanh, 1, _one),
    "silu": lambda: Definition(lambda v: v * _sigmoid(v), 1.1, _product),
    "hardsigmoid": lambda: Definition(_hardsigmoid, 1 / 6, _one),
    "hardswish": lambda: Definition(lambda v: v * _hardsigmoid(v), 1.5, _product),
    "gelu": lambda: Definition(lambda v: v / 2 * (1 + erf(v / math.sqrt(2))), 1.13, _product),
    "gelu_tanh": lambda: Definition(_gelu_tanh, 1.13, _product),
    # log(1 + exp(v)) rounds 1 + exp(v), which is at least 1
    "softplus": lambda: Definition(_softplus, 1, lambda most, result: np.maximum(result, 1)),
    "mish": lambda: Definition(lambda v: v * np.tanh(_softplus(v)), 1.09, _product),
}
