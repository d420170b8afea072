"""The functions `conv_integer` and `qconv`: quantized convolutions without a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import _core
from ._arguments import as_quantized, check_overlap
from ._qconv import QConv
from ._quantized_arguments import zero_points

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from ._arguments import Activation

__all__ = ["conv_integer", "qconv"]


def conv_integer(
    x: ArrayLike,
    weight: ArrayLike,
    x_zero_point: ArrayLike = 0,
    weight_zero_point: ArrayLike = 0,
    *,
    layout: str = "NCHW",
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    groups: int = 1,
    out: NDArray[Any] | None = None,
) -> NDArray[np.int32]:
    """Compute a pointwise convolution of 8-bit integers, with exact sums of int32.

    Computes, for every image n, output channel o and output pixel p::

        y[n, o, p] = sum_i (weight[o, i] - weight_zero_point[o]) * (x[n, i, p*stride - padding] - x_zero_point)

    This is the operator ConvInteger of ONNX with a kernel of size 1. Padding counts as `x_zero_point`, so its pixels
    give 0.

    Parameters
    ----------
    x : array_like of uint8 or int8
        Input, with the axes that `layout` names. A strided view is read in place, without a full copy.
    weight : array_like of uint8 or int8, shape (C_out, C_in / groups)
        Weights. Trailing axes of length 1 are allowed.
    x_zero_point : int or scalar of the dtype of `x`
        Number of `x` that stands for 0.
    weight_zero_point : int or array_like of the dtype of `weight`
        Number of `weight` that stands for 0: one number, or one for each output channel.
    layout, stride, padding, groups
        As for :func:`conv`.
    out : ndarray of int32, optional
        Array that receives the result and is returned, as for :func:`conv`.

    Returns
    -------
    ndarray of int32
        `out`, or a new C-contiguous array.

    Raises
    ------
    ValueError
        If a shape or a range is wrong, if `out` overlaps another argument, or if a sum could leave the range of int32
        for some `x`.
    TypeError
        If an argument has a wrong type or dtype.
    MemoryError
        If memory for the result or for the computation cannot be allocated.

    See Also
    --------
    qconv : also converts the sums to 8 bits.

    Examples
    --------
    >>> import numpy as np
    >>> import pointwise as pw
    >>> x, weight = np.array([255, 1], np.uint8), np.array([[127, -128]], np.int8)
    >>> pw.conv_integer(x, weight, layout="C")
    array([32257], dtype=int32)
    """
    x_array = as_quantized(x, None, "x")
    weight_array = as_quantized(weight, None, "weight")
    x_zero = zero_points(x_zero_point, x_array.dtype, "x_zero_point")
    weight_zeros = zero_points(weight_zero_point, weight_array.dtype, "weight_zero_point", scalar=False)
    layer = _core.QLayer(
        weight_array,
        None,
        layout,
        stride,
        padding,
        groups,
        None,
        x_array.dtype.name,
        "int32",
        1.0,
        int(x_zero),
        np.ones(1, np.float32),
        np.atleast_1d(weight_zeros).astype(np.int32),
        1.0,
        0,
    )
    if out is not None:
        _check_overlap(out, weight_array, None)
    return layer(x_array, out)


def _check_overlap(out: Any, weight: NDArray[Any], bias: Any) -> None:
    """Check that `out` shares no element with weight and bias."""
    if not isinstance(out, np.ndarray):
        return  # the call of the layer raises
    arrays = [a for a in (weight, bias) if isinstance(a, np.ndarray)]
    if any(np.may_share_memory(out, a) for a in arrays):
        check_overlap(out, None, None, weight, bias if isinstance(bias, np.ndarray) else None, None, "weight")


def qconv(
    x: ArrayLike,
    x_scale: ArrayLike,
    x_zero_point: ArrayLike,
    weight: ArrayLike,
    weight_scale: ArrayLike,
    weight_zero_point: ArrayLike,
    y_scale: ArrayLike,
    y_zero_point: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    layout: str = "NCHW",
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    groups: int = 1,
    activation: Activation = None,
    out: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """Compute a quantized pointwise convolution.

    A number q of a quantized array stands for ``scale * (q - zero_point)``. Computes, for every image n, output channel
    o and output pixel p::

        s = sum_i (weight[o, i] - weight_zero_point[o]) * (x[n, i, p*stride - padding] - x_zero_point) + bias[o]
        y[n, o, p] = saturate(rint(float32(s) * m[o]) + y_zero_point)

    Here ``m = x_scale * weight_scale / y_scale``. This is the operator QLinearConv of ONNX with a kernel of size 1. The
    sum s is exact.

    Parameters
    ----------
    x : array_like of uint8 or int8
        Input, with the axes that `layout` names. A strided view is read in place, without a full copy.
    x_scale, y_scale : float
        Scales of x and of the result, positive and finite.
    x_zero_point : int or scalar of the dtype of `x`
        Number of `x` that stands for 0. Padding counts as this number.
    weight : array_like of uint8 or int8, shape (C_out, C_in / groups)
        Weights. Trailing axes of length 1 are allowed.
    weight_scale : float or array_like, shape (C_out,)
        Scale of the weights, positive and finite: one number, or one for each output channel.
    weight_zero_point : int or array_like of the dtype of `weight`
        Number of `weight` that stands for 0: one number, or one for each output channel.
    y_zero_point : scalar of uint8 or int8
        Number of the result that stands for 0. Its dtype is the dtype of the result.
    bias : array_like of int32, shape (C_out,), optional
        One number for each output channel, which is added to the sum. Its scale is ``x_scale * weight_scale``.
    layout, stride, padding, groups
        As for :func:`conv`.
    activation : None, "relu", "relu6" or ("clip", low, high)
        Bounds of the result. Each bound is a real number and becomes ``rint(bound / y_scale) + y_zero_point``.
    out : ndarray, optional
        Array that receives the result and is returned, as for :func:`conv`.

    Returns
    -------
    ndarray
        `out`, or a new C-contiguous array of the dtype of `y_zero_point`.

    Raises
    ------
    ValueError
        If a shape or a range is wrong, if `out` overlaps another argument, or if a sum could leave the range of int32
        for some `x`.
    TypeError
        If an argument has a wrong type or dtype.
    MemoryError
        If memory for the result or for the computation cannot be allocated.

    See Also
    --------
    QConv : packs the weights once, which makes repeated calls faster.
    conv_integer : returns the sums.

    Notes
    -----
    The scales, their quotient m and the product with the sum are rounded to float32. ``rint`` rounds half to even. So
    all instruction sets give the same bits.

    Source: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
    Inference", 2018.

    Examples
    --------
    >>> import numpy as np
    >>> import pointwise as pw
    >>> x, weight = np.array([10, 20], np.uint8), np.array([[1, 2]], np.int8)
    >>> pw.qconv(x, 0.5, 0, weight, 0.1, 0, 0.25, np.uint8(3), layout="C")
    array([13], dtype=uint8)
    """
    x_array = as_quantized(x, None, "x")
    weight_array = as_quantized(weight, None, "weight")
    layer = QConv(
        x_scale,
        zero_points(x_zero_point, x_array.dtype, "x_zero_point"),
        weight_array,
        weight_scale,
        weight_zero_point,
        y_scale,
        y_zero_point,
        bias,
        layout=layout,
        stride=stride,
        padding=padding,
        groups=groups,
        activation=activation,
    )
    if out is not None:
        _check_overlap(out, weight_array, bias)
    return layer(x_array, out)
