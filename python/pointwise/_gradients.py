"""Gradients of a pointwise convolution with respect to its input, weight and bias."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from . import _core
from ._arguments import FLOATS, as_source, parse_activation, sum_dtype
from ._mix import mix

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from ._arguments import Activation, Float, Out

__all__ = ["conv_backward", "conv_grad_bias", "conv_grad_input", "conv_grad_weight"]


@overload
def conv_grad_input(
    grad: NDArray[Float],
    weight: ArrayLike,
    x_shape: Sequence[int],
    *,
    layout: str = "NCHW",
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    groups: int = 1,
    out: None = None,
    accumulate: Literal[False] = False,
) -> NDArray[Float]: ...
@overload
def conv_grad_input(
    grad: ArrayLike,
    weight: ArrayLike,
    x_shape: Sequence[int],
    *,
    layout: str = "NCHW",
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    groups: int = 1,
    out: Out,
    accumulate: bool = False,
) -> Out: ...
@overload
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
) -> NDArray[Any]: ...
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
    grad : array_like of float32, float64, float16 or bfloat16
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
    MemoryError
        If memory for the result or for the computation cannot be allocated.

    See Also
    --------
    conv_grad_weight : computes the gradient with respect to the weight.
    conv_grad_bias : computes the gradient with respect to the bias.

    Notes
    -----
    Each element is a sum over the C_out / groups output channels of a group. The order of the sum and the bound of its
    error are those of :class:`Conv`, with output channels in place of input channels.

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


@overload
def conv_grad_weight(
    grad: NDArray[Float],
    x: ArrayLike,
    *,
    layout: str = "NCHW",
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    groups: int = 1,
    out: None = None,
    accumulate: Literal[False] = False,
) -> NDArray[Float]: ...
@overload
def conv_grad_weight(
    grad: ArrayLike,
    x: ArrayLike,
    *,
    layout: str = "NCHW",
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    groups: int = 1,
    out: Out,
    accumulate: bool = False,
) -> Out: ...
@overload
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
) -> NDArray[Any]: ...
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
    grad : array_like of float32, float64, float16 or bfloat16
        Gradient with respect to y, with the shape of y. If the convolution has an activation, pass the gradient with
        respect to the sum before the activation. A strided view is read in place, without a full copy.
    x : array_like of float32, float64, float16, bfloat16, uint8, int8, uint16 or int16
        Input of the convolution. It must have the dtype of `grad`. If `grad` is float32, it may also have an
        integer or 16-bit dtype.
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
        `out`, or a new C-contiguous array of shape (C_out, C_in / groups): float64 if `grad` is float64, else float32.

    Raises
    ------
    ValueError
        If a shape is wrong, `stride`, `padding` or `groups` is out of range, `out` overlaps another argument, two
        indices of `out` refer to one element, or `accumulate` is True and `out` is None.
    TypeError
        If an argument has a wrong type or dtype, is a masked array, or has non-native byte order.
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

    For float16 and bfloat16, the sums and the result are float32. Pixels are in ascending order, and subnormal numbers
    are not treated as zeros.

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


@overload
def conv_grad_bias(
    grad: NDArray[Float],
    *,
    layout: str = "NCHW",
    out: None = None,
    accumulate: Literal[False] = False,
) -> NDArray[Float]: ...
@overload
def conv_grad_bias(
    grad: ArrayLike,
    *,
    layout: str = "NCHW",
    out: Out,
    accumulate: bool = False,
) -> Out: ...
@overload
def conv_grad_bias(
    grad: ArrayLike,
    *,
    layout: str = "NCHW",
    out: NDArray[Any] | None = None,
    accumulate: bool = False,
) -> NDArray[Any]: ...
def conv_grad_bias(
    grad: ArrayLike, *, layout: str = "NCHW", out: NDArray[Any] | None = None, accumulate: bool = False
) -> NDArray[Any]:
    """Compute the gradient of a pointwise convolution with respect to its bias.

    The result is the sum of `grad` over all axes except the channels. It has the same bits as the gradient with respect
    to the weight, if x has one channel of ones and there is no padding. For float16 and bfloat16, the sum is then
    rounded once, to the dtype of `grad`.

    Parameters
    ----------
    grad : array_like of float32, float64, float16 or bfloat16
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


# Activations whose derivative depends on v in a way that y does not show.
FROM_V = ("silu", "hardswish", "gelu", "gelu_tanh", "mish")
GELU_TANH = 0.044715


def _by_result(name: str, a: float, b: float, y: Any) -> Any:
    """Return the derivative of an activation from its result y."""
    one = y.dtype.type(1)
    if name == "none":
        return np.ones_like(y)
    if name == "relu":
        return (y > 0).astype(y.dtype)
    if name in ("relu6", "clip", "hardsigmoid"):
        low, high, slope = {"relu6": (0, 6, 1), "clip": (a, b, 1), "hardsigmoid": (0, 1, 1 / 6)}[name]
        return ((y > y.dtype.type(low)) & (y < y.dtype.type(high))) * y.dtype.type(slope)
    if name == "leaky_relu":
        return np.where(y < 0, y.dtype.type(a), one)
    if name == "elu":
        return np.where(y < 0, y + y.dtype.type(a), one)
    if name == "sigmoid":
        return y * (one - y)
    if name == "tanh":
        return (one - y) * (one + y)
    return -np.expm1(-y)  # softplus


def _by_sum(name: str, a: float, b: float, v: Any) -> Any:
    """Return the derivative of an activation from the sum v before it."""
    one, half = v.dtype.type(1), v.dtype.type(0.5)

    def applied(function: Any) -> Any:
        return mix(v[..., np.newaxis], one.reshape(1, 1), activation=function)[..., 0]

    if name == "hardswish":
        return np.where(v <= -3, v.dtype.type(0), np.where(v >= 3, one, (v + v + 3) / 6))
    if name == "silu":
        sigmoid = applied("sigmoid")
        return sigmoid * (one + v * (one - sigmoid))
    if name == "mish":
        tanh = np.tanh(applied("softplus"))
        return tanh + v * applied("sigmoid") * (one - tanh) * (one + tanh)
    if name == "gelu":
        phi = np.exp(-half * v * v) / v.dtype.type(np.sqrt(2 * np.pi))
        return np.divide(applied("gelu"), v, out=np.full_like(v, half), where=v != 0) + v * phi
    if name == "gelu_tanh":
        factor, cubic = v.dtype.type(np.sqrt(2 / np.pi)), v.dtype.type(GELU_TANH)
        tanh = np.tanh(factor * (v + cubic * v * v * v))
        return half * (one + tanh) + half * v * (one - tanh) * (one + tanh) * factor * (one + 3 * cubic * v * v)
    if name in ("leaky_relu", "elu"):
        below = v.dtype.type(a) if name == "leaky_relu" else v.dtype.type(a) * np.exp(np.minimum(v, 0))
        return np.where(v < 0, below, one)
    functions = {"none": None, "clip": ("clip", a, b)}
    return _by_result(name, a, b, applied(functions.get(name, name)))


def _derivative(
    activation: Activation, y: ArrayLike | None, v: ArrayLike | None, grad: NDArray[Any], layout: str
) -> Any:
    """Return the derivative of the activation at each element of `grad`, which has the axes of `layout`."""
    name, a, b, memory = parse_activation(activation)
    slopes, axis = np.frombuffer(memory), -1
    if name == "prelu":
        axis = layout.upper().find("C") if isinstance(layout, str) else axis
        if not 0 <= axis < grad.ndim:
            conv_grad_bias(grad, layout=layout)  # raises
        if len(slopes) != grad.shape[axis]:
            expected = f"slopes of shape ({grad.shape[axis]},), one for each output channel"
            raise ValueError(f"activation 'prelu' must have {expected}, got ({len(slopes)},)")
    given, value = ("v", v) if v is not None else ("y", y)
    if value is None:
        raise ValueError(f"y must be the result of the convolution for activation {name!r}, got None: pass y=y or v=v")
    if given == "y" and (name in FROM_V or (name in ("leaky_relu", "elu") and a <= 0) or (slopes <= 0).any()):
        raise ValueError(
            f"v must be the sum before activation {activation!r}, because y does not determine the derivative, "
            "got None: pass v=pointwise.conv(x, weight, bias)"
        )
    array = as_source(value, given)
    if array.shape != grad.shape:
        raise ValueError(f"{given} must have the shape of grad, {grad.shape}, got {array.shape}")
    if array.dtype != grad.dtype:
        remedy = f"pass {given}.astype(numpy.{grad.dtype})"
        raise TypeError(f"{given} must have the dtype of grad, {grad.dtype}, got {array.dtype}: {remedy}")
    array = array.astype(sum_dtype(array.dtype), copy=False)
    if name == "prelu":
        shape = [-1 if i == axis else 1 for i in range(grad.ndim)]
        return np.where(array < 0, slopes.astype(array.dtype).reshape(shape), array.dtype.type(1))
    with np.errstate(all="ignore"):
        return (_by_result if given == "y" else _by_sum)(name, a, b, array)


@overload
def conv_backward(
    grad: NDArray[Float],
    x: ArrayLike,
    weight: ArrayLike,
    *,
    y: ArrayLike | None = None,
    v: ArrayLike | None = None,
    activation: Activation = None,
    layout: str = "NCHW",
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    groups: int = 1,
) -> tuple[NDArray[Float], NDArray[Float], NDArray[Float]]: ...
@overload
def conv_backward(
    grad: ArrayLike,
    x: ArrayLike,
    weight: ArrayLike,
    *,
    y: ArrayLike | None = None,
    v: ArrayLike | None = None,
    activation: Activation = None,
    layout: str = "NCHW",
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    groups: int = 1,
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]: ...
def conv_backward(
    grad: ArrayLike,
    x: ArrayLike,
    weight: ArrayLike,
    *,
    y: ArrayLike | None = None,
    v: ArrayLike | None = None,
    activation: Activation = None,
    layout: str = "NCHW",
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    groups: int = 1,
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Compute all gradients of a pointwise convolution with an activation.

    Let ``y = conv(x, weight, bias, activation=activation, ...)``, and let `grad` be the gradient of a loss with respect
    to y. The result is the gradient with respect to x, weight and bias.

    Parameters
    ----------
    grad : array_like of float32, float64, float16 or bfloat16
        Gradient with respect to y, with the shape of y.
    x : array_like of float32, float64, float16, bfloat16, uint8, int8, uint16 or int16
        Input of the convolution. It must have the dtype of `grad`. If `grad` is float32, it may also have an
        integer or 16-bit dtype.
    weight : array_like, shape (C_out, C_in / groups)
        Weights of the convolution, as for :func:`conv_grad_input`.
    y : array_like, optional
        Result of the convolution, in the dtype of `grad`. Required for an activation, unless `v` is given.
    v : array_like, optional
        Sum before the activation, in the dtype of `grad`. Required if y does not determine the derivative: for silu,
        hardswish, gelu, gelu_tanh and mish. Also for leaky_relu, prelu and elu, if a parameter is 0 or negative.
    activation : None, str or tuple
        Activation of the convolution, as for :func:`conv`.
    layout : str
        Names of the axes of x and y, as for :func:`conv`.
    stride, padding : int or sequence of int
        Stride and padding of the convolution.
    groups : int
        Number of groups of the convolution.

    Returns
    -------
    dx, dw, db : ndarray
        New arrays. Their shapes are the shape of x, (C_out, C_in / groups) and (C_out,). They have the dtype of `grad`,
        but dw is float32 if `grad` has a 16-bit dtype.

    Raises
    ------
    ValueError
        If `y` or `v` is required and None, or an argument is wrong as for :func:`conv_grad_weight`.
    TypeError
        If an argument has a wrong type or dtype.
    MemoryError
        If memory for the results or for the computation cannot be allocated.

    See Also
    --------
    conv_grad_input, conv_grad_weight, conv_grad_bias : compute one gradient, from the gradient before the activation.

    Notes
    -----
    With an activation, the function first computes ``grad * derivative`` into a temporary array. At the bounds of relu,
    relu6, clip and hardsigmoid, the derivative is 0. At v = 0, the derivative of leaky_relu, prelu and elu is 1.

    Examples
    --------
    >>> import numpy as np
    >>> import pointwise as pw
    >>> x, weight = np.ones((8, 16, 10, 10), np.float32), np.ones((4, 16), np.float32)
    >>> y = pw.conv(x, weight, activation="relu")
    >>> dx, dw, db = pw.conv_backward(np.ones_like(y), x, weight, y=y, activation="relu")
    >>> dx.shape, dw.shape, db.shape
    ((8, 16, 10, 10), (4, 16), (4,))
    """
    source, inner = as_source(x, "x"), as_source(grad, "grad")
    if activation is not None:
        if inner.dtype.name not in FLOATS:
            expected = f"{', '.join(FLOATS[:-1])} or {FLOATS[-1]}"
            raise TypeError(f"grad must be {expected}, got {inner.dtype}: pass grad.astype(numpy.float32)")
        wide = sum_dtype(inner.dtype)
        inner = (inner.astype(wide, copy=False) * _derivative(activation, y, v, inner, layout)).astype(inner.dtype)
    how: dict[str, Any] = {"layout": layout, "stride": stride, "padding": padding, "groups": groups}
    dw = conv_grad_weight(inner, source, **how)
    return conv_grad_input(inner, weight, source.shape, **how), dw, conv_grad_bias(inner, layout=layout)
