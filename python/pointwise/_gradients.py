"""Gradients of a pointwise convolution with respect to its input, weight and bias."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import _core

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = ["conv_grad_bias", "conv_grad_input", "conv_grad_weight"]


def conv_grad_input(
    grad: ArrayLike,
    weight: ArrayLike,
    x_shape: Sequence[int],
    *,
    layout: str = "NCHW",
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    groups: int = 1,
    out: NDArray[Any] | None = None,
    accumulate: bool = False,
) -> NDArray[Any]:
    """Compute the gradient of a pointwise convolution with respect to its input.

    Let ``y = conv(x, weight, ...)``, and let `grad` be the gradient of a loss with respect to y. The result is the
    gradient of the loss with respect to x::

        dx[n, i, p*stride - padding] = sum_o weight[o, i] * grad[n, o, p]

    Pixels of x that no output pixel reads have the gradient 0.

    Parameters
    ----------
    grad : array_like of float32 or float64
        Gradient with respect to y, with the shape of y. If the convolution has an activation, pass the gradient with
        respect to the sum before the activation. A strided view is read in place, without a full copy.
    weight : array_like, shape (C_out, C_in / groups)
        Weights of the convolution. Trailing axes of length 1 are allowed. The weights are cast to the dtype of `grad`
        by the rule "same_kind" of ``numpy.can_cast``.
    x_shape : sequence of int
        Shape of x, with the axes that `layout` names. With a stride, several shapes of x give the same shape of y.
    layout : str
        Names of the axes of x and y, as for :func:`conv`.
    stride, padding : int or sequence of int
        Stride and padding of the convolution.
    groups : int
        Number of groups of the convolution.
    out : ndarray, optional
        Array that receives the result and is returned. It must be writable and have shape `x_shape` and the dtype of
        `grad`. Any strides are allowed. `out` must not share any element with another argument.
    accumulate : bool
        If True, the gradient is added to `out`, which must be given.

    Returns
    -------
    ndarray
        `out`, or a new C-contiguous array of shape `x_shape` and the dtype of `grad`.

    Raises
    ------
    ValueError
        If a shape is wrong, `stride`, `padding` or `groups` is out of range, `out` overlaps another argument, two
        indices of `out` refer to one element, or `accumulate` is True and `out` is None.
    TypeError
        If an argument has a wrong type or dtype, is a masked array, or has non-native byte order.
    NotImplementedError
        If `grad` is float16 or bfloat16.
    MemoryError
        If memory for the result or for the computation cannot be allocated.

    See Also
    --------
    conv_grad_weight : computes the gradient with respect to the weight.
    conv_grad_bias : computes the gradient with respect to the bias.

    Notes
    -----
    Each element is a sum over the C_out / groups output channels of a group, in the order and with the bound that
    :class:`Conv` documents, with output channels in place of input channels.

    Examples
    --------
    >>> import numpy as np
    >>> import pointwise as pw
    >>> x, weight = np.ones((8, 16, 10, 10), np.float32), np.ones((4, 16), np.float32)
    >>> y = pw.conv(x, weight, stride=2)
    >>> pw.conv_grad_input(np.ones_like(y), weight, x.shape, stride=2)[0, 0, 0, :4]
    array([4., 0., 4., 0.], dtype=float32)
    """
    return _core.conv_grad_input(grad, weight, x_shape, layout, stride, padding, groups, out, accumulate)


def conv_grad_weight(
    grad: ArrayLike,
    x: ArrayLike,
    *,
    layout: str = "NCHW",
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    groups: int = 1,
    out: NDArray[Any] | None = None,
    accumulate: bool = False,
) -> NDArray[Any]:
    """Compute the gradient of a pointwise convolution with respect to its weight.

    Let ``y = conv(x, weight, ...)``, and let `grad` be the gradient of a loss with respect to y. The result is the
    gradient of the loss with respect to the weight::

        dw[o, i] = sum_{n, p} grad[n, o, p] * x[n, i, p*stride - padding]

    Output pixels that read padding do not take part in the sum.

    Parameters
    ----------
    grad : array_like of float32 or float64
        Gradient with respect to y, with the shape of y. If the convolution has an activation, pass the gradient with
        respect to the sum before the activation. A strided view is read in place, without a full copy.
    x : array_like of float32, float64, uint8, int8, uint16 or int16
        Input of the convolution. It must have the dtype of `grad`, or an integer dtype if `grad` is float32.
    layout : str
        Names of the axes of x and y, as for :func:`conv`.
    stride, padding : int or sequence of int
        Stride and padding of the convolution.
    groups : int
        Number of groups of the convolution.
    out : ndarray, optional
        Array that receives the result and is returned. It must be writable and have the shape and the dtype of the
        result. Any strides are allowed. `out` must not share any element with another argument.
    accumulate : bool
        If True, the gradient is added to `out`, which must be given. Each element is added once, after its sum is
        complete.

    Returns
    -------
    ndarray
        `out`, or a new C-contiguous array of shape (C_out, C_in / groups) and the dtype of `grad`.

    Raises
    ------
    ValueError
        If a shape is wrong, `stride`, `padding` or `groups` is out of range, `out` overlaps another argument, two
        indices of `out` refer to one element, or `accumulate` is True and `out` is None.
    TypeError
        If an argument has a wrong type or dtype, is a masked array, or has non-native byte order.
    NotImplementedError
        If `grad` or `x` is float16 or bfloat16.
    MemoryError
        If memory for the result or for the computation cannot be allocated.

    See Also
    --------
    conv_grad_input : computes the gradient with respect to the input.
    conv_grad_bias : computes the gradient with respect to the bias.

    Notes
    -----
    Pixels are counted image by image, and within an image along the spatial axes in their order in `layout`. Chunks of
    256 pixels have separate sums, computed by fused multiply-adds in ascending order. The sums of chunks are added in
    ascending order. So the number of threads, the strides, the order of the axes in memory and the instruction set
    (AVX2 or AVX-512) do not change the bits. Let P be the number of pixels in the sum, c = ceil(P / 256), u = 2**-24
    (float64: 2**-53) and nu = (min(P, 256) + c + 2) u. The error of an element is at most ``nu / (1 - nu) * sum |grad *
    x|``, and (P + c + 1) times the smallest subnormal number. With `accumulate`, the addition is one more rounding.

    Examples
    --------
    >>> import numpy as np
    >>> import pointwise as pw
    >>> x, weight = np.ones((8, 16, 10, 10), np.float32), np.ones((4, 16), np.float32)
    >>> y = pw.conv(x, weight)
    >>> dw = pw.conv_grad_weight(np.ones_like(y), x)
    >>> dw.shape, float(dw[0, 0])  # 8 images of 100 pixels
    ((4, 16), 800.0)
    """
    return _core.conv_grad_weight(grad, x, layout, stride, padding, groups, out, accumulate)


def conv_grad_bias(
    grad: ArrayLike, *, layout: str = "NCHW", out: NDArray[Any] | None = None, accumulate: bool = False
) -> NDArray[Any]:
    """Compute the gradient of a pointwise convolution with respect to its bias.

    The result is the sum of `grad` over all axes except the channels. It has the bits of the gradient with respect to
    the weight for an `x` of one channel of ones.

    Parameters
    ----------
    grad : array_like of float32 or float64
        Gradient of a loss with respect to the result of the convolution. If the convolution has an activation, pass the
        gradient with respect to the sum before the activation.
    layout : str
        Names of the axes of `grad`, as for :func:`conv`.
    out : ndarray, optional
        Array that receives the result and is returned. It must be writable and have shape (C_out,) and the dtype of
        `grad`. Any stride is allowed. `out` must not share any element with `grad`.
    accumulate : bool
        If True, the gradient is added to `out`, which must be given.

    Returns
    -------
    ndarray
        `out`, or a new array of shape (C_out,) and the dtype of `grad`.

    Raises
    ------
    ValueError
        If a shape is wrong, `out` overlaps `grad`, two indices of `out` refer to one element, or `accumulate` is True
        and `out` is None.
    TypeError
        If an argument has a wrong type or dtype, is a masked array, or has non-native byte order.
    NotImplementedError
        If `grad` is float16 or bfloat16.
    MemoryError
        If memory for the result or for the computation cannot be allocated.

    See Also
    --------
    conv_grad_weight : defines the order of the sum and the bound of its error.
    conv_grad_input : computes the gradient with respect to the input.

    Examples
    --------
    >>> import numpy as np
    >>> import pointwise as pw
    >>> pw.conv_grad_bias(np.ones((8, 4, 10, 10), np.float32))
    array([800., 800., 800., 800.], dtype=float32)
    """
    return _core.conv_grad_bias(grad, layout, out, accumulate)
