"""The function `cost`, which counts the arithmetic and memory traffic of a convolution from shapes alone."""

from __future__ import annotations

import dataclasses
import math
import operator
from typing import TYPE_CHECKING

import numpy as np

from . import _core
from ._arguments import INTEGERS, ITEM_SIZES, counted_dtype, shown

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
    out_dtype: DTypeLike | None = None,
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
        Dtype of the weights, int8 or uint8, if they are quantized. Each output channel then has a scale of 4 bytes, and
        the bias has 4 bytes for each output channel, too.
    out_dtype : dtype_like, optional
        Dtype of the result, if it is another one.

    Returns
    -------
    Cost
        Counts, and the shape of the result. No array is allocated.

    Raises
    ------
    ValueError
        If a shape or the layout is wrong, an argument is out of range, or a count is beyond int64.
    TypeError
        If an argument has a wrong type, or a dtype is not listed above.

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

    A call of a `QConv` with a result of uint8:

    >>> pw.cost((1, 32, 10, 10), 16, bias=True, dtype="uint8", weight_dtype="int8", out_dtype="uint8").bytes
    5440
    """
    name = counted_dtype(dtype)
    of_weight = None if weight_dtype is None else counted_dtype(weight_dtype, "weight_dtype", ("int8", "uint8"))
    of_result = None if out_dtype is None else counted_dtype(out_dtype, "out_dtype")
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
    floats = 4 if name in INTEGERS else ITEM_SIZES[name]  # bytes of an element of the weights and of the result
    if of_weight is not None:
        biases = c_out if bias else 0
        nbytes += (1 - floats) * (params - biases) + (4 - max(floats, 4)) * biases + 4 * c_out
    if of_result is not None:
        nbytes += (ITEM_SIZES[of_result] - floats) * math.prod(output_shape)
    return Cost(params, macs, 2 * macs, nbytes, 2 * macs / nbytes if nbytes else 0.0, output_shape)
