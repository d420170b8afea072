"""Checks of a contender's result, made before it is timed."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from .definitions import APPROXIMATION, define
from .epilogue import NO_ACTIVATION, RELU
from .layers import Case
from .numpy_baseline import numpy_sum
from .operands import Operands, operands

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .epilogue import Epilogue
    from .operands import Builder, Call


class WrongResult(Exception):
    """A contender whose result is not the baseline's: there is nothing to time."""


def check(case: Case, layout: str, arrays: Operands, calls: dict[str, Call]) -> None:
    """Check every contender's result against NumPy's sum and the activation of it in float64.

    Sums of C products, a bias and a residual are each within gamma_(C+3) * (|w| |x| + |b| + |residual|) of the exact
    value, in whatever order they are added (gamma_n = n*u/(1 - n*u), u = 2**-24; without a residual it is
    gamma_(C+2)): two of them differ by no more than twice that. An activation brings no two values further apart than
    by its Lipschitz constant, to which comes what computing it in float32 rounds: `definitions` has both.
    ReLU's constant is 1, and it rounds nothing.

    With many channels this is more than what tells some activations apart: `check_few_channels` sees it.

    Parameters
    ----------
    case, layout, arrays
        What is computed.
    calls : dict of callable
        The contenders, by name.

    Raises
    ------
    WrongResult
        For the first that differs by more, or in shape or dtype.
    """
    total = numpy_sum(case, layout, arrays)
    kind = total.dtype
    total = total.astype(np.float64, copy=False)
    rounding = (case.cin // case.groups + 2 + case.epilogue.residual) * 2.0**-24
    bound = numpy_sum(case, layout, arrays.magnitudes())
    bound *= 2 * rounding / (1 - rounding)
    definition = define(case.epilogue.activation)
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
    """Check a contender on a layer of two channels, whose sums hardly round; once for each epilogue and layout.

    The bound of a layer grows with C**1.5, and above 300 channels it exceeds the 4.7e-4 between gelu and gelu_tanh.
    Here it is a few 1e-6.

    Raises
    ------
    WrongResult
        Where an activation is another one, or a coarse approximation of it.
    """
    if epilogue.activation in (NO_ACTIVATION, RELU):
        return  # the bound of any layer tells them apart
    case = Case("a layer of", "two channels", 1, 2, 64, 16, 16, 1, 1, epilogue=epilogue)
    arrays = operands(case, layout)
    call = builder(case, layout, arrays, threads)
    if call is not None:
        check(case, layout, arrays, {name: call})


def _beyond(result: NDArray[Any], expected: NDArray[Any], bound: NDArray[Any]) -> NDArray[np.bool_]:
    """Return where the bound does not hold; NaN holds no bound."""
    with np.errstate(invalid="ignore"):
        within: NDArray[np.bool_] = np.abs(np.subtract(result, expected, dtype=np.float64)) <= bound
    return ~within
