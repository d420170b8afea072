"""What a convolution costs, without any array."""

from __future__ import annotations

import dataclasses
import operator
from typing import TYPE_CHECKING

import numpy as np

from . import _core
from ._arguments import as_dtype, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import DTypeLike


@dataclasses.dataclass(frozen=True)
class Cost:
    """Parameters, arithmetic and memory traffic of one convolution.

    Attributes
    ----------
    params : int
        ``C_out*C_in/groups``, and ``C_out`` more with a bias.
    macs : int
        Multiply-adds: output elements times ``C_in/groups``.
    flops : int
        ``2*macs``.
    bytes : int
        The x that is read, weight, bias and result, each counted once.
    intensity : float
        ``flops/bytes``; 0 where there are no bytes.
    output_shape : tuple of int
        The shape of the result, in the layout's order of axes.
    """

    params: int
    macs: int
    flops: int
    bytes: int
    intensity: float
    output_shape: tuple[int, ...]


def cost(
    x_shape: Sequence[int],
    c_out: int,
    *,
    layout: str = "NCHW",
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    groups: int = 1,
    bias: bool = False,
    dtype: DTypeLike = "float32",
) -> Cost:
    """Count what a convolution costs.

    Parameters
    ----------
    x_shape : sequence of int
        The shape of x, its axes as `layout` names them.
    c_out : int
        Output channels.
    layout, stride, padding, groups
        As for :func:`pointwise.conv`.
    bias : bool
        Whether there is a bias.
    dtype : dtype_like
        float32 or float64.

    Returns
    -------
    Cost

    Raises
    ------
    ValueError, TypeError, NotImplementedError
        As for :func:`pointwise.conv`.

    Examples
    --------
    >>> import pointwise as pw
    >>> pw.cost((1, 32, 10, 10), 16).params
    512
    """
    name = as_dtype(dtype).name
    if not isinstance(bias, bool | np.bool_):
        raise TypeError(f"bias must be True or False, got {type(bias).__name__}")
    try:
        shape = [operator.index(size) for size in x_shape]
    except TypeError:
        raise TypeError(f"x_shape must be a sequence of integers, got {shown(x_shape)}") from None
    try:
        c_out = operator.index(c_out)
    except TypeError:
        raise TypeError(f"c_out must be an integer, got {type(c_out).__name__}") from None
    for argument, values in (("x_shape", shape), ("c_out", [c_out])):
        if any(not 0 <= value < 2**63 for value in values):
            raise ValueError(f"{argument} must be at least 0 and within the range of int64, got {shown(values)}")
    params, macs, nbytes, output_shape = _core.cost(shape, c_out, layout, stride, padding, groups, bool(bias), name)
    return Cost(params, macs, 2 * macs, nbytes, 2 * macs / nbytes if nbytes else 0.0, output_shape)
