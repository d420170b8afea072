"""The function `cost`, which counts the arithmetic and memory traffic of a convolution from shapes alone."""

from __future__ import annotations

import dataclasses
import operator
from typing import TYPE_CHECKING

import numpy as np

from . import _core
from ._arguments import INTEGERS, counted_dtype, has_int8_weights, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import DTypeLike


@dataclasses.dataclass(frozen=True)
class Cost:
    """Parameters, arithmetic and memory traffic of a convolution.

    Attributes
    ----------
    params : int
        Number of parameters: ``C_out*C_in/groups``. With a bias, ``C_out`` more.
    macs : int
        Number of multiply-adds: output elements times ``C_in/groups``.
    flops : int
        Number of floating-point operations: ``2*macs``.
    bytes : int
        Bytes of weight, bias, result and the pixels of x that are read, each counted once.
    intensity : float
        Arithmetic intensity ``flops/bytes`` in FLOP/byte, or 0 if `bytes` is 0.
    output_shape : tuple of int
        Shape of the result, with the axes that the layout names.

    See Also
    --------
    cost : computes a `Cost`.

    Notes
    -----
    Arithmetic intensity: Williams, Waterman and Patterson, "Roofline: An Insightful Visual Performance Model for
    Multicore Architectures", 2009.

    Examples
    --------
    >>> import pointwise as pw
    >>> pw.cost((32,), 16, layout="C")
    Cost(params=512, macs=512, flops=1024, bytes=2240, intensity=0.45714285714285713, output_shape=(16,))
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
    weight_dtype: DTypeLike | None = None,
) -> Cost:
    """Count the parameters, arithmetic and memory traffic of a convolution.

    Parameters
    ----------
    x_shape : sequence of int
        Shape of x, with the axes that `layout` names.
    c_out : int
        Number of output channels.
    layout, stride, padding, groups
        As for :func:`pointwise.conv`.
    bias : bool
        True if the convolution has a bias.
    dtype : dtype_like
        Dtype of x: float32, float64, float16, bfloat16, uint8, int8, uint16 or int16. For floats, it is the dtype of
        all arrays, but the bias of 16-bit floats is float32. For integers, the other arrays are float32.
    weight_dtype : dtype_like, optional
        int8 for a layer with int8 weights, as for :class:`Conv`. Then each weight has one byte, and each output channel
        has a float32 scale. `dtype` must be float32 or an integer dtype.

    Returns
    -------
    Cost
        Counts, and the shape of the result. No array is allocated.

    Raises
    ------
    ValueError
        If a shape or the layout is wrong, an argument is out of range, or a count is beyond int64.
    TypeError
        If an argument has a wrong type, or `dtype` is not listed above.

    See Also
    --------
    Cost : defines the counts.
    Conv.explain : describes how a layer is computed.

    Examples
    --------
    >>> import pointwise as pw
    >>> pw.cost((1, 32, 10, 10), 16).macs
    51200
    >>> pw.cost((1, 32, 10, 10), 16, stride=2, bias=True).output_shape
    (1, 16, 5, 5)
    >>> pw.cost((2048,), 1000, layout="C").bytes, pw.cost((2048,), 1000, layout="C", weight_dtype="int8").bytes
    (8204192, 2064192)
    """
    name = counted_dtype(dtype)
    int8_weights = has_int8_weights(weight_dtype, "float32" if name in INTEGERS else name)
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
    params, macs, nbytes, output_shape = _core.cost(
        shape, c_out, layout, stride, padding, groups, bool(bias), name, int8_weights
    )
    return Cost(params, macs, 2 * macs, nbytes, 2 * macs / nbytes if nbytes else 0.0, output_shape)
