"""The arrays of a layer, and the types of contenders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from .dtypes import QUANTIZED, as_array
from .epilogue import PRELU

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from .layers import Case

    Call: TypeAlias = Callable[[], NDArray[Any]]
    # the ways in which a contender can compute a layer, by name; empty if it cannot compute the layer
    Forms: TypeAlias = dict[str, Call]
    Builder: TypeAlias = Callable[[Case, str, "Operands", int], Forms]


class Operands(NamedTuple):
    """Arrays of a case. The bias is None if there is no bias, and likewise the residual and the slopes of "prelu"."""

    x: NDArray[Any]
    weight: NDArray[Any]
    bias: NDArray[Any] | None
    residual: NDArray[Any] | None = None
    slopes: NDArray[Any] | None = None
    scales: NDArray[Any] | None = None  # of weights of int8

    def slopes_of(self, layout: str) -> NDArray[Any] | None:
        """Return the slopes as an array that broadcasts to the result."""
        return self.slopes if self.slopes is None or layout == "NHWC" else self.slopes[:, None, None]

    def copy(self) -> Operands:
        """Return copies of all arrays."""
        return self.each(lambda array: array.copy())

    def in_float64(self) -> Operands:
        """Return the arrays in float64."""
        return self.each(lambda array: array.astype(np.float64))

    def magnitudes(self) -> Operands:
        """Return the absolute values in float64. A layer of these arrays gives a bound of the rounding errors."""
        return self.each(lambda array: np.abs(array.astype(np.float64)))

    def each(self, function: Callable[[NDArray[Any]], NDArray[Any]]) -> Operands:
        """Apply a function to all arrays."""
        return Operands(*(None if array is None else function(array) for array in self))  # type: ignore[arg-type]


def operands(case: Case, layout: str) -> Operands:
    """Return random arrays for a case, the same in each call."""
    rng = np.random.default_rng(0)
    if case.dtype == QUANTIZED:
        return _quantized(case, layout, rng)
    dtypes = case.dtypes
    x: NDArray[Any]
    if dtypes.x == "uint8":
        x = rng.integers(0, 256, case.shape(layout)).astype(np.uint8)
    else:
        x = as_array(rng.standard_normal(case.shape(layout), dtype=np.float32), dtypes.x)
    weight = rng.standard_normal((case.cout, case.cin // case.groups), dtype=np.float32)
    weight /= np.sqrt(np.float32(weight.shape[1]))
    bias = rng.standard_normal(case.cout, dtype=np.float32) if case.epilogue.bias else None
    shape = case.cost(layout).output_shape
    residual = rng.standard_normal(shape, dtype=np.float32) if case.epilogue.residual else None
    prelu = case.epilogue.activation.name == PRELU
    slopes = rng.uniform(0, 0.5, case.cout).astype(np.float32) if prelu else None
    return Operands(
        x,
        as_array(weight, dtypes.weight),
        None if bias is None else as_array(bias, dtypes.bias),
        None if residual is None else as_array(residual, dtypes.result),
        None if slopes is None else as_array(slopes, dtypes.sums),
    )


def _quantized(case: Case, layout: str, rng: np.random.Generator) -> Operands:
    x = rng.integers(0, 256, case.shape(layout)).astype(np.uint8)
    weight = rng.integers(-127, 128, (case.cout, case.cin // case.groups)).astype(np.int8)
    bias = rng.integers(-1000, 1000, case.cout).astype(np.int32) if case.epilogue.bias else None
    return Operands(x, weight, bias, scales=rng.uniform(0.001, 0.01, case.cout).astype(np.float32))
