"""Checks the results of contenders before they are timed."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from . import quantized
from .contenders import OWN
from .definitions import APPROXIMATION, DEFINITION, define
from .dtypes import BITS, FLOAT32, QUANTIZED, TINY
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


PEER_ROUNDINGS = 4  # of intermediate results to 16 bits: sum, sum with bias, sum with residual, and bias itself


class WrongResult(Exception):
    """Error for a contender with a wrong result, which is not timed."""


def check(case: Case, layout: str, arrays: Operands, calls: dict[str, Call]) -> None:
    """Compare the result of each contender with NumPy's sum, followed by the activation in float64.

    A sum of C products, a bias and a residual, added in any order, differs from the exact value by at most
    gamma_(C+3) * (|w| |x| + |b| + |residual|). Here gamma_n = n*u/(1 - n*u) and u = 2**-24. n is smaller by 1 if there
    is no residual, and by 1 if there is no bias. Two such sums differ by at most twice the bound.

    The activation multiplies the bound by at most its Lipschitz constant. It adds its own roundings (see
    `definitions`). ReLU has the constant 1 and rounds nothing.

    If results have fewer digits than sums, rounding the result adds to the bound. Frameworks may also round the sum,
    and the sum with bias, before they add a residual. So their bound is larger. Layers of int8 are compared with the
    exact result: pointwise must give the same numbers, and others may differ by 1.

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
    if case.dtype == QUANTIZED:
        exact = quantized.expected(case, layout, arrays)
        for name, call in calls.items():
            # Other libraries compute the conversion to 8 bits in another way.
            most = np.full(exact.shape, 0 if name.startswith(OWN) else 1)
            _compare(name, case, layout, quantized.unsigned(call()), exact, most)
        return
    dtypes = case.dtypes
    plain = dtypes.x == dtypes.sums  # if not, the sum is exact in float64
    total = numpy_sum(case, layout, arrays if plain else arrays.in_float64()).astype(np.float64, copy=False)
    rounding = (case.cin // case.groups + 1 + case.epilogue.bias + case.epilogue.residual) * 2.0 ** -BITS[dtypes.sums]
    size = numpy_sum(case, layout, arrays.magnitudes())
    bound = size * ((2 if plain else 1) * rounding / (1 - rounding))
    definition = define(case.epilogue.activation, arrays.slopes_of(layout))
    expected = definition.function(total)
    rounded = definition.size(np.abs(total) + bound, expected)
    approximation = max(APPROXIMATION * 2.0 ** (24 - BITS[dtypes.sums]), DEFINITION)
    bound = definition.lipschitz * bound + approximation * rounded
    theirs = bound
    if dtypes.result != dtypes.sums:
        last = 2.0 ** -BITS[dtypes.result]
        bound = bound + last * (np.abs(expected) + bound) + TINY[dtypes.result]
        theirs = bound + PEER_ROUNDINGS * last * definition.lipschitz * size
    for name, call in calls.items():
        _compare(name, case, layout, call(), expected, bound if name.startswith(OWN) else theirs, dtypes.result)


def _compare(
    name: str,
    case: Case,
    layout: str,
    result: NDArray[Any],
    expected: NDArray[Any],
    bound: NDArray[Any],
    dtype: str = "uint8",
) -> None:
    """Raise WrongResult if a result has another shape or dtype, or is not within the bound."""
    what = f"wrong result of {name} on {case.network} {case.layer} in {layout}: "
    if (result.shape, result.dtype.name) != (expected.shape, dtype):
        raise WrongResult(f"{what}shape {result.shape}, dtype {result.dtype}, not {expected.shape}, {dtype}")
    wrong = _beyond(result, expected, bound)
    if wrong.any():
        index = tuple(int(i) for i in np.unravel_index(np.argmax(wrong), wrong.shape))
        raise WrongResult(
            f"{what}{np.count_nonzero(wrong)} of {wrong.size} elements; "
            f"at {index} {float(result[index]):.9g}, not {expected[index]:.9g} within {bound[index]:.2g}"
        )


@functools.cache
def check_few_channels(
    name: str, builder: Builder, layout: str, epilogue: Epilogue, threads: int, dtype: str = FLOAT32
) -> None:
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
    case = Case("a layer of", "two channels", 1, 2, 64, 16, 16, 1, 1, epilogue=epilogue, dtype=dtype)
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
