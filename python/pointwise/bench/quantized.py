"""Layers of ``--dtype int8``: `QConv` with x and results of uint8, and weights of int8 with a scale for each output."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._qconv import QConv
from .epilogue import RELU
from .numpy_baseline import numpy_baseline, numpy_sum
from .operands import Operands

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from .layers import Case
    from .operands import Call, Forms

X_SCALE, X_ZERO = np.float32(0.02), np.uint8(128)


def y_zero(case: Case) -> np.uint8:
    """Return the zero point of results. It is 0 after ReLU, so that ONNX needs no operator for ReLU."""
    zero: np.uint8 = np.uint8(0 if case.epilogue.activation == RELU else 120)
    return zero


def y_scale(case: Case) -> np.float32:
    """Return the scale of results. Few results saturate."""
    scale: np.float32 = np.float32(0.0125 * np.sqrt(case.cin // case.groups))
    return scale


def layer(case: Case, layout: str, arrays: Operands) -> QConv:
    """Return the layer of pointwise."""
    return QConv(
        X_SCALE,
        X_ZERO,
        arrays.weight,
        scales_of(arrays),
        0,
        y_scale(case),
        y_zero(case),
        arrays.bias,
        layout=layout,
        stride=case.stride,
        groups=case.groups,
        activation=case.epilogue.activation.argument(),
    )


def unsigned(result: NDArray[Any]) -> NDArray[Any]:
    """Return a result of int8 as uint8. Libraries that lack uint8 compute with numbers that are lower by 128."""
    return result.view(np.uint8) ^ np.uint8(128) if result.dtype == np.int8 else result


def signed(array: NDArray[np.uint8]) -> NDArray[np.int8]:
    """Return an array of uint8, less 128."""
    lower: NDArray[np.int8] = (array ^ np.uint8(128)).view(np.int8)
    return lower


def bounds(case: Case) -> tuple[int, int]:
    """Return the least and the greatest result."""
    name, parameters = case.epilogue.activation.name, case.epilogue.activation.parameters
    low, high = {"relu": (0.0, np.inf), "relu6": (0.0, 6.0)}.get(name, parameters or (-np.inf, np.inf))
    least, most = (np.rint(np.clip(np.float32(bound) / y_scale(case), -512, 512)) for bound in (low, high))
    zero = int(y_zero(case))
    return max(0, int(least) + zero), min(255, int(most) + zero)


def expected(case: Case, layout: str, arrays: Operands) -> NDArray[np.uint8]:
    """Return the exact result. The sums of products are exact in float64."""
    wide = arrays._replace(
        x=arrays.x - np.float64(X_ZERO),
        weight=arrays.weight.astype(np.float64),
        bias=None if arrays.bias is None else arrays.bias.astype(np.float64),
    )
    sums = numpy_sum(case, layout, wide).astype(np.float32)
    return _requantized(case, layout, arrays)(sums)


def numpy_forms(case: Case, layout: str, arrays: Operands) -> Forms:
    """Return functions that compute a layer in NumPy, with float32 sums, by form.

    Results may differ by 1 from the exact ones, because large sums are rounded.
    """
    x = np.empty(arrays.x.shape, np.float32)
    bias = None if arrays.bias is None else arrays.bias.astype(np.float32)
    wide = Operands(x, arrays.weight.astype(np.float32), bias)
    requantized = _requantized(case, layout, arrays)

    def converted(product: Call) -> Call:
        def call() -> NDArray[Any]:
            np.subtract(arrays.x, np.float32(X_ZERO), out=x)
            return requantized(product())

        return call

    return {form: converted(product) for form, product in numpy_baseline(case, layout, wide, 1, sums=True).items()}


def _requantized(case: Case, layout: str, arrays: Operands) -> Callable[[NDArray[np.float32]], NDArray[np.uint8]]:
    """Return a function that turns float32 sums into results. It overwrites the sums."""
    factors = X_SCALE * scales_of(arrays) / y_scale(case)
    factors = factors if layout == "NHWC" else factors[:, None, None]
    zero, (least, most) = np.float32(y_zero(case)), bounds(case)

    def requantized(sums: NDArray[np.float32]) -> NDArray[np.uint8]:
        sums *= factors
        np.rint(sums, out=sums)
        sums += zero
        np.clip(sums, least, most, out=sums)
        return sums.astype(np.uint8)

    return requantized


def scales_of(arrays: Operands) -> NDArray[np.float32]:
    """Return the scales of the weights."""
    if arrays.scales is None:
        raise ValueError("arrays must have scales of the weights, got arrays of another dtype")
    return arrays.scales
