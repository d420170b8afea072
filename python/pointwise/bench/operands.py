"""The arrays of a layer, and the types of contenders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

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

    def slopes_of(self, layout: str) -> NDArray[Any] | None:
        """Return the slopes as an array that broadcasts to the result."""
        return self.slopes if self.slopes is None or layout == "NHWC" else self.slopes[:, None, None]

    def copy(self) -> Operands:
        """Return copies of all arrays."""
        return Operands(*(None if array is None else array.copy() for array in self))  # type: ignore[arg-type]

    def magnitudes(self) -> Operands:
        """Return the absolute values in float64. A layer of these arrays gives a bound of the rounding errors."""
        x, weight = (np.abs(array, dtype=np.float64) for array in (self.x, self.weight))
        others = (
            None if array is None else np.abs(array, dtype=np.float64)
            for array in (self.bias, self.residual, self.slopes)
        )
        return Operands(x, weight, *others)


def operands(case: Case, layout: str) -> Operands:
    """Return random arrays for a case, the same in each call."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(case.shape(layout), dtype=np.float32)
    weight = rng.standard_normal((case.cout, case.cin // case.groups), dtype=np.float32)
    weight /= np.sqrt(np.float32(weight.shape[1]))
    bias = rng.standard_normal(case.cout, dtype=np.float32) if case.epilogue.bias else None
    shape = case.cost(layout).output_shape
    residual = rng.standard_normal(shape, dtype=np.float32) if case.epilogue.residual else None
    prelu = case.epilogue.activation.name == PRELU
    slopes = rng.uniform(0, 0.5, case.cout).astype(np.float32) if prelu else None
    return Operands(x, weight, bias, residual, slopes)
