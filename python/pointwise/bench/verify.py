"""Checks the results of contenders before they are timed."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from .definitions import APPROXIMATION, define
from .epilogue import NO_ACTIVATION, RELU
from .layers import Case
from .numpy_baseline import numpy_sum
from .operands import Operands, operands

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from .epilogue import Epilogue
    from .operands import Builder, Call

C = TypeVar("C", bound="Callable[[], Any]")


class WrongResult(Exception):
    """Error for a contender with a wrong result, which is not timed."""


def check(case: Case, layout: str, arrays: Operands, calls: dict[str, Call]) -> None:
    """Compare the result of each contender with NumPy's sum, followed by the activation in float64.

    A sum of C products, a bias and a residual, added in any order, differs from the exact value by at most
    gamma_(C+3) * (|w| |x| + |b| + |residual|). Here gamma_n = n*u/(1 - n*u) and u = 2**-24. n is smaller by 1 if there
    is no residual, and by 1 if there is no bias. Two such sums differ by at most twice the bound.

    The activation multiplies the bound by at most its Lipschitz constant. It adds its own roundings (see
    `definitions`). ReLU has the constant 1 and rounds nothing.

    With many channels the bound is larger than the difference between some activations. `check_few_channels` covers
    that case.

    Parameters
    ----------
    case, layout, arrays
        Layer, layout and operands.
    calls : dict of callable
        Contenders by name.

    Raises
    ------
    WrongResult
        If the bound does not hold for a result, or its shape or dtype is wrong.
    """
    total = numpy_sum(case, layout, arrays)
    kind = total.dtype
    total = total.astype(np.float64, copy=False)
    rounding = (case.cin // case.groups + 1 + case.epilogue.bias + case.epilogue.residual) * 2.0**-24
    bound = numpy_sum(case, layout, arrays.magnitudes())
    bound *= 2 * rounding / (1 - rounding)
    definition = define(case.epilogue.activation, arrays.slopes_of(layout))
    expected = definition.function(total)
    rounded = definition.size(np.abs(total) + bound, expected)
    bound = definition.lipschitz * bound + APPROXIMATION * rounded
    for name, call in calls.items():
        result = call()
        what = f"wrong result of {name} on {case.network} {case.layer} in {layout}: "
        if (result.shape, result.dtype) != (expected.shape, kind):
            raise WrongResult(f"{what}shape {result.shape}, dtype {result.dtype}, not {expected.shape}, {kind}")
        wrong = _beyond(result, expected, bound)
        if wrong.any():
            index = tuple(int(i) for i in np.unravel_index(np.argmax(wrong), wrong.shape))
            raise WrongResult(
                f"{what}{np.count_nonzero(wrong)} of {wrong.size} elements; "
                f"at {index} {result[index]:.9g}, not {expected[index]:.9g} within {bound[index]:.2g}"
            )


@functools.cache
def check_few_channels(name: str, builder: Builder, layout: str, epilogue: Epilogue, threads: int) -> None:
    """Check a contender on a layer with two input channels. The cache avoids repeated checks.

    The bound of `check` grows with C**1.5. Above 300 channels it exceeds 4.7e-4, the difference between gelu and
    gelu_tanh. For two channels the bound is a few 1e-6.

    Raises
    ------
    WrongResult
        If the contender computes another activation or a coarse approximation.
    """
    if epilogue.activation in (NO_ACTIVATION, RELU):
        return  # for these activations, the bound of `check` is small enough
    case = Case("a layer of", "two channels", 1, 2, 64, 16, 16, 1, 1, epilogue=epilogue)
    arrays = operands(case, layout)
    check(case, layout, arrays, dict(named_forms(name, builder(case, layout, arrays, threads))))


def named_forms(name: str, forms: Mapping[str, C]) -> list[tuple[str, C]]:
    """Return the forms of a contender with their names in messages, such as "numpy (x @ m)"."""
    return [(f"{name} ({form})" if form else name, call) for form, call in forms.items()]


def _beyond(result: NDArray[Any], expected: NDArray[Any], bound: NDArray[Any]) -> NDArray[np.bool_]:
    """Return a mask of the elements for which the bound does not hold. It does not hold for NaN."""
    with np.errstate(invalid="ignore"):
        within: NDArray[np.bool_] = np.abs(np.subtract(result, expected, dtype=np.float64)) <= bound
    return ~within
