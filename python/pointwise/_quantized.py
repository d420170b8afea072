"""Quantized convolutions: `conv_integer`, `qconv`, `QConv`, and functions that find scales and zero points."""

from __future__ import annotations

import numbers
import operator
from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np

from . import _core
from ._arguments import as_parameter, as_plain, as_quantized, as_source, check_overlap, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, DTypeLike, NDArray
    from typing_extensions import Self

    from ._arguments import Activation
    from ._conv import Conv

__all__ = ["QConv", "calibrate", "conv_integer", "qconv", "quantize_weight"]

BYTES = ("uint8", "int8")
ACTIVATIONS = ("relu", "relu6", "clip", "linear")


def _zero_points(obj: Any, dtype: np.dtype[Any] | None, name: str, scalar: bool = True) -> NDArray[Any]:
    """Return a zero point, or several, as an array of `dtype`. A zero point without a dtype must be an integer array.

    The array has no axis, or one axis if `scalar` is False.
    """
    array = as_plain(obj, name)
    if dtype is None:
        if array.dtype.name not in BYTES:
            remedy = f"pass numpy.uint8({name}) or numpy.int8({name})"
            raise TypeError(
                f"{name} must be uint8 or int8, which is the dtype of the array, got {shown(obj)}: {remedy}"
            )
        dtype = array.dtype
    if array.dtype != dtype:
        plain = isinstance(obj, numbers.Integral) and not isinstance(obj, (bool, np.generic))
        if not plain and not (isinstance(obj, (list, tuple)) and array.dtype.kind in "iu"):
            raise TypeError(f"{name} must have the dtype of its array, {dtype}, got {shown(obj)}")
        limits = np.iinfo(dtype)
        if array.size and (array.min() < limits.min or array.max() > limits.max):
            raise ValueError(f"{name} must be within the range of {dtype}, got {shown(obj)}")
        array = array.astype(dtype)
    if array.size == 1 and array.ndim <= 1:
        return array.reshape(())
    if scalar or array.ndim != 1:
        expected = "one number" if scalar else "one number, or one for each output channel"
        raise ValueError(f"{name} must be {expected}, got shape {array.shape}")
    return array


def _scales(obj: Any, name: str, scalar: bool = True) -> NDArray[Any]:
    """Return a scale, or several, as a float32 array without axes, or with one axis if `scalar` is False."""
    array = as_parameter(obj, "float32", name)
    if array.size == 1 and array.ndim <= 1:
        array = array.reshape(())
    elif scalar or array.ndim != 1:
        expected = "one number" if scalar else "one number, or one for each output channel"
        raise ValueError(f"{name} must be {expected}, got shape {array.shape}")
    if not (np.isfinite(array) & (array > 0)).all():
        raise ValueError(f"{name} must be positive and finite in float32, got {shown(obj)}")
    return array


def _bias(obj: Any) -> NDArray[Any] | None:
    """Return the bias as an int32 array."""
    if obj is None:
        return None
    array = as_plain(obj, "bias")
    if array.dtype.kind not in "iu":
        remedy = "pass numpy.rint(bias / (x_scale * weight_scale)).astype(numpy.int32)"
        raise TypeError(f"bias must have dtype int32, got {array.dtype}: {remedy}")
    limits = np.iinfo(np.int32)
    if array.size and (array.min() < limits.min or array.max() > limits.max):
        raise ValueError(f"bias must be within the range of int32, got {shown(obj)}")
    return array.astype(np.int32)


def _check_activation(activation: Any) -> None:
    """Check that a quantized convolution has this activation. The extension checks its parameters."""
    name = activation[0] if isinstance(activation, tuple) and activation else activation
    if isinstance(name, str) and name not in ACTIVATIONS:
        allowed = "None, 'relu', 'relu6' or ('clip', low, high)"
        remedy = "apply it to layer.dequantize(y)"
        raise ValueError(f"activation must be {allowed} in a quantized convolution, got {shown(activation)}: {remedy}")


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
) -> NDArray[Any]:
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
    x_zero = _zero_points(x_zero_point, x_array.dtype, "x_zero_point")
    weight_zeros = _zero_points(weight_zero_point, weight_array.dtype, "weight_zero_point", scalar=False)
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
        _zero_points(x_zero_point, x_array.dtype, "x_zero_point"),
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


class QConv(_core.QLayer):
    """Quantized pointwise convolution that packs its weights once.

    A call ``layer(x, out=None)`` computes the same as :func:`qconv` with the same arguments.

    Layers are immutable and picklable. Several threads may call a layer at the same time.

    Parameters
    ----------
    x_scale, y_scale : float
        Scales of x and of the result, positive and finite.
    x_zero_point, y_zero_point : scalar of uint8 or int8
        Numbers of x and of the result that stand for 0. Their dtypes are the dtypes of x and of the result.
    weight : array_like of uint8 or int8, shape (C_out, C_in / groups)
        Weights, which are copied. Trailing axes of length 1 are allowed.
    weight_scale, weight_zero_point, bias
        As for :func:`qconv`. They are copied.
    layout, stride, padding, groups, activation
        As for :func:`qconv`.

    Raises
    ------
    ValueError, TypeError, MemoryError
        As for :func:`qconv`.

    See Also
    --------
    qconv : computes a convolution without a layer.
    QConv.from_float : quantizes a layer of float32.

    Examples
    --------
    >>> import numpy as np
    >>> import pointwise as pw
    >>> weight = np.ones((16, 32), np.int8)
    >>> layer = pw.QConv(0.5, np.uint8(0), weight, 0.1, 0, 0.25, np.uint8(0), layout="NHWC", activation="relu")
    >>> layer(np.ones((1, 10, 10, 32), np.uint8)).shape
    (1, 10, 10, 16)
    >>> layer
    QConv(32 -> 16, uint8 -> uint8, layout='NHWC', activation='relu')
    """

    __slots__ = ("__weakref__", "_float", "_given")

    _given: Any
    _float: Conv | None

    def __new__(
        cls,
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
    ) -> Self:
        weights = as_quantized(weight, None, "weight").copy()
        x_zero = _zero_points(x_zero_point, None, "x_zero_point")
        y_zero = _zero_points(y_zero_point, None, "y_zero_point")
        weight_zeros = _zero_points(weight_zero_point, weights.dtype, "weight_zero_point", scalar=False).copy()
        x_scales, y_scales = _scales(x_scale, "x_scale"), _scales(y_scale, "y_scale")
        weight_scales = _scales(weight_scale, "weight_scale", scalar=False).copy()
        biases = _bias(bias)
        _check_activation(activation)
        self = super().__new__(
            cls,
            weights,
            biases,
            layout,
            stride,
            padding,
            groups,
            activation,
            x_zero.dtype.name,
            y_zero.dtype.name,
            float(x_scales),
            int(x_zero),
            np.atleast_1d(weight_scales),
            np.atleast_1d(weight_zeros).astype(np.int32),
            float(y_scales),
            int(y_zero),
        )
        for array in (weights, weight_scales, weight_zeros, biases):
            if array is not None:
                array.flags.writeable = False
        self._given = (
            x_scales[()],
            x_zero[()],
            weights.reshape(weights.shape[:2]),
            weight_scales[()],
            weight_zeros[()],
            y_scales[()],
            y_zero[()],
            biases,
        )
        self._float = None
        return self

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if cls.__call__ is QConv.__call__:
            _core.inherit_vectorcall(cls, False)

    # Calls of a layer reach the extension directly, by vectorcall. This method serves help() and subclasses.
    def __call__(self, x: ArrayLike, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Compute the convolution of `x`.

        Parameters
        ----------
        x : array_like
            Input of the dtype of `x_zero_point`, with the axes that the layout of the layer names.
        out : ndarray, optional
            Array that receives the result and is returned, as for :func:`qconv`.

        Returns
        -------
        ndarray
            `out`, or a new C-contiguous array of the dtype of `y_zero_point`.

        Raises
        ------
        ValueError
            If a shape is wrong, `out` overlaps `x`, or two indices of `out` refer to one element.
        TypeError
            If an argument has a wrong type or dtype, is a masked array, or has non-native byte order.
        MemoryError
            If memory for the result or for the computation cannot be allocated.

        See Also
        --------
        qconv : computes a convolution without a layer.

        Examples
        --------
        >>> import numpy as np
        >>> import pointwise as pw
        >>> layer = pw.QConv(0.5, np.uint8(0), np.array([[1, 2]], np.int8), 0.1, 0, 0.25, np.uint8(3), layout="C")
        >>> layer(np.array([10, 20], np.uint8))
        array([13], dtype=uint8)
        """
        return super().__call__(x, out)

    @property
    def x_scale(self) -> Any:
        """Scale of x."""
        return self._given[0]

    @property
    def x_zero_point(self) -> Any:
        """Number of x that stands for 0. Its dtype is the dtype of x."""
        return self._given[1]

    @property
    def weight(self) -> NDArray[Any]:
        """Weights, of shape (C_out, C_in / groups), as a read-only array."""
        weight: NDArray[Any] = self._given[2]
        return weight

    @property
    def weight_scale(self) -> Any:
        """Scale of the weights: a number, or a read-only array of shape (C_out,)."""
        return self._given[3]

    @property
    def weight_zero_point(self) -> Any:
        """Number of the weights that stands for 0: a number, or a read-only array of shape (C_out,)."""
        return self._given[4]

    @property
    def y_scale(self) -> Any:
        """Scale of the result."""
        return self._given[5]

    @property
    def y_zero_point(self) -> Any:
        """Number of the result that stands for 0. Its dtype is the dtype of the result."""
        return self._given[6]

    @property
    def bias(self) -> NDArray[np.int32] | None:
        """Bias, of shape (C_out,), as a read-only array, or None."""
        bias: NDArray[np.int32] | None = self._given[7]
        return bias

    @property
    def layout(self) -> str:
        """Names of the axes of x and of the result, such as "NCHW"."""
        return self._arguments()[0]

    @property
    def stride(self) -> int | tuple[int, ...]:
        """Stride in pixels: an integer for all spatial axes, or a tuple with one for each."""
        return self._arguments()[1]

    @property
    def padding(self) -> int | tuple[int, ...]:
        """Padding in pixels: an integer for all spatial axes, or a tuple with one for each."""
        return self._arguments()[2]

    @property
    def groups(self) -> int:
        """Number of groups of channels."""
        return self._arguments()[3]

    @property
    def activation(self) -> Activation:
        """Activation: None, "relu", "relu6" or ("clip", low, high)."""
        return self._arguments()[4]

    def quantize(self, x: ArrayLike) -> NDArray[Any]:
        """Quantize real numbers with the scale and zero point of x.

        Parameters
        ----------
        x : array_like
            Real numbers.

        Returns
        -------
        ndarray
            ``saturate(rint(x / x_scale) + x_zero_point)``, of the dtype of `x_zero_point`.

        Raises
        ------
        TypeError
            If `x` is not an array of numbers.

        See Also
        --------
        QConv.dequantize : computes the real numbers of a result.

        Examples
        --------
        >>> import numpy as np
        >>> import pointwise as pw
        >>> layer = pw.QConv(0.5, np.uint8(10), np.array([[1]], np.int8), 1, 0, 1, np.uint8(0), layout="C")
        >>> layer.quantize([-6.0, 0.0, 1.0])
        array([ 0, 10, 12], dtype=uint8)
        """
        return _quantized(as_parameter(x, "float32", "x"), self.x_scale, self.x_zero_point)

    def dequantize(self, y: ArrayLike) -> NDArray[np.float32]:
        """Compute the real numbers of a result.

        Parameters
        ----------
        y : array_like
            Result of the layer.

        Returns
        -------
        ndarray of float32
            ``y_scale * (y - y_zero_point)``.

        Raises
        ------
        TypeError
            If `y` does not have the dtype of the results.

        See Also
        --------
        QConv.quantize : quantizes an input.

        Examples
        --------
        >>> import numpy as np
        >>> import pointwise as pw
        >>> layer = pw.QConv(1, np.uint8(0), np.array([[1]], np.int8), 1, 0, 0.5, np.uint8(10), layout="C")
        >>> layer.dequantize(np.array([0, 10, 12], np.uint8))
        array([-5.,  0.,  1.], dtype=float32)
        """
        array = as_quantized(y, self.y_zero_point.dtype.name, "y")
        numbers: NDArray[np.float32] = (array.astype(np.float32) - np.float32(self.y_zero_point)) * self.y_scale
        return numbers

    @classmethod
    def from_float(
        cls,
        conv: Conv,
        x_sample: ArrayLike,
        *,
        percentile: float | None = None,
        dtype: DTypeLike = "uint8",
        per_channel: bool = True,
    ) -> Self:
        """Quantize a layer of float32.

        Scales and zero points of x and of the result come from `x_sample`, by :func:`calibrate`. Weights are quantized
        by :func:`quantize_weight`, and the bias is rounded to int32.

        Parameters
        ----------
        conv : Conv
            Layer of float32, with the activation None, "relu", "relu6" or "clip".
        x_sample : array_like of float32
            Inputs that are typical for the layer, with the axes that its layout names.
        percentile : float, optional
            As for :func:`calibrate`.
        dtype : dtype_like
            Dtype of x and of the result: uint8 or int8.
        per_channel : bool
            As for :func:`quantize_weight`.

        Returns
        -------
        QConv
            New layer. It keeps `conv` for :meth:`error`. A pickle of the layer does not contain `conv`.

        Raises
        ------
        ValueError
            If a quantized convolution has no such activation, `x_sample` is empty or not finite, or the bias leaves the
            range of int32.
        TypeError
            If `conv` is not a layer of float32.

        See Also
        --------
        QConv.error : measures the error of the quantized layer.

        Examples
        --------
        >>> import numpy as np
        >>> import pointwise as pw
        >>> rng = np.random.default_rng(0)
        >>> conv = pw.Conv(rng.normal(size=(16, 32)).astype(np.float32), activation="relu")
        >>> x = rng.normal(size=(4, 32, 10, 10)).astype(np.float32)
        >>> layer = pw.QConv.from_float(conv, x)
        >>> layer
        QConv(32 -> 16, uint8 -> uint8, layout='NCHW', activation='relu')
        >>> layer.error(x) < -30
        True
        """
        if not isinstance(conv, _core.Layer) or conv._arguments()[5] != "float32":
            got = repr(conv) if isinstance(conv, _core.Layer) else type(conv).__name__
            raise TypeError(f"conv must be a Conv of dtype float32, got {got}")
        layout, stride, padding, groups, activation, _, _, out_dtype, *_ = conv._arguments()
        if out_dtype not in (None, "float32"):
            raise TypeError(f"conv must have float32 results, got out_dtype {out_dtype}")
        _check_activation(activation)
        x = as_parameter(x_sample, "float32", "x_sample")
        y = conv(x)
        x_scale, x_zero = calibrate(x, percentile, dtype=dtype)
        y_scale, y_zero = calibrate(y, percentile, dtype=dtype)
        weight, bias = conv._parameters()
        quantized, weight_scale = quantize_weight(weight, per_channel)
        biases = None
        if bias is not None:
            biases = np.rint(bias.astype(np.float64) / (np.float64(x_scale) * weight_scale))
            if (np.abs(biases) > np.iinfo(np.int32).max).any():
                got = f"{bias[np.argmax(np.abs(biases))]} for x_scale {x_scale}"
                raise ValueError(f"conv must have a bias within the range of int32 after quantization, got {got}")
            biases = biases.astype(np.int32)
        layer = cls(
            x_scale,
            x_zero,
            quantized,
            weight_scale,
            0,
            y_scale,
            y_zero,
            biases,
            layout=layout,
            stride=stride,
            padding=padding,
            groups=groups,
            activation=activation,
        )
        layer._float = conv
        return layer

    def error(self, x: ArrayLike) -> float:
        """Return the error of the layer against the layer of float32 from which it was made.

        Parameters
        ----------
        x : array_like of float32
            Inputs, as for the layer of float32.

        Returns
        -------
        float
            Energy of the error, relative to the energy of the result of the layer of float32, in dB:
            ``10*log10(sum((y_quantized - y)**2) / sum(y**2))``. Less is better, and -20 means 10% of the amplitude.

        Raises
        ------
        ValueError
            If the layer was not made by :meth:`from_float`, or was unpickled, or if the shape of `x` is wrong.
        TypeError
            If `x` is not an array of float32.

        See Also
        --------
        QConv.from_float : quantizes a layer of float32.

        Examples
        --------
        >>> import numpy as np
        >>> import pointwise as pw
        >>> x = np.linspace(0, 1, 64, dtype=np.float32).reshape(1, 4, 4, 4)
        >>> layer = pw.QConv.from_float(pw.Conv(np.eye(4, dtype=np.float32)), x)
        >>> layer.error(x) < -40
        True
        """
        if self._float is None:
            raise ValueError("error needs a layer made by QConv.from_float in this process, got another layer")
        array = as_parameter(x, "float32", "x")
        y = self._float(array).astype(np.float64)
        difference = self.dequantize(self(self.quantize(array))) - y
        noise, signal = float(np.sum(difference**2)), float(np.sum(y**2))
        if noise == 0:
            return -np.inf
        return float(10 * np.log10(noise / signal)) if signal > 0 else np.inf

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        operator.index(protocol)
        layout, stride, padding, groups, activation, *_ = self._arguments()
        keywords = {
            "layout": layout,
            "stride": stride,
            "padding": padding,
            "groups": groups,
            "activation": activation,
        }
        state = getattr(self, "__dict__", None) or None  # attributes of an instance of a subclass
        return _made, (type(self), self._given, keywords), state

    def __repr__(self) -> str:
        layout, stride, padding, groups, activation, c_in = self._arguments()
        types = f"{self.x_zero_point.dtype} -> {self.y_zero_point.dtype}"
        text = f"{type(self).__name__}({c_in} -> {self.weight.shape[0]}, {types}, layout={layout!r}"
        for name, value, default in (
            ("stride", stride, 1),
            ("padding", padding, 0),
            ("groups", groups, 1),
            ("activation", activation, None),
        ):
            if value != default:
                text += f", {name}={value!r}"
        return text + ")"


_core.inherit_vectorcall(QConv, True)


def _made(kind: type[QConv], given: tuple[Any, ...], keywords: dict[str, Any]) -> QConv:
    """Return an unpickled layer."""
    return kind.__new__(kind, *given, **keywords)


def _quantized(x: NDArray[Any], scale: Any, zero_point: Any) -> NDArray[Any]:
    """Return the quantized numbers of an array of float32."""
    limits = np.iinfo(zero_point.dtype)
    with np.errstate(all="ignore"):
        numbers = np.nan_to_num(np.rint(x / scale), nan=0.0) + np.float32(zero_point)
    quantized: NDArray[Any] = np.clip(numbers, limits.min, limits.max).astype(zero_point.dtype)
    return quantized


def quantize_weight(weight: ArrayLike, per_channel: bool = True) -> tuple[NDArray[np.int8], Any]:
    """Quantize weights to int8, with the zero point 0.

    Parameters
    ----------
    weight : array_like, shape (C_out, C_in / groups)
        Real weights. Trailing axes of length 1 are allowed.
    per_channel : bool
        If True, each output channel has its own scale. If False, all weights have the same scale.

    Returns
    -------
    quantized : ndarray of int8
        Weights of the shape of `weight`, from -127 to 127.
    scale : ndarray of float32, shape (C_out,), or float32
        Scales: the greatest magnitude divided by 127, or 1 if all weights of the channel are 0.

    Raises
    ------
    ValueError
        If a weight is not finite, or `weight` has fewer than two axes.
    TypeError
        If `weight` is not an array of numbers, or `per_channel` is not a bool.

    See Also
    --------
    calibrate : finds the scale and zero point of x.

    Examples
    --------
    >>> import numpy as np
    >>> import pointwise as pw
    >>> quantized, scale = pw.quantize_weight([[1.27, -0.5], [0.0, 0.0]])
    >>> quantized
    array([[127, -50],
           [  0,   0]], dtype=int8)
    >>> scale
    array([0.01, 1.  ], dtype=float32)
    """
    if not isinstance(per_channel, (bool, np.bool_)):
        raise TypeError(f"per_channel must be a bool, got {type(per_channel).__name__}")
    array = as_parameter(weight, "float32", "weight")
    if array.ndim < 2:
        raise ValueError(f"weight must have shape (output channels, input channels / groups), got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError("weight must be finite, got NaN or infinity")
    axes = tuple(range(1, array.ndim)) if per_channel else None
    most = np.max(np.abs(array), axis=axes, initial=0)
    scale = np.where(most > 0, most / np.float32(127), np.float32(1)).astype(np.float32)
    scale = np.where(scale > 0, scale, np.finfo(np.float32).tiny).astype(np.float32)  # subnormal weights
    by_channel = scale.reshape(-1, *[1] * (array.ndim - 1)) if per_channel else scale
    quantized = np.clip(np.rint(array / by_channel), -127, 127).astype(np.int8)
    return quantized, scale if per_channel else scale[()]


def calibrate(x: ArrayLike, percentile: float | None = None, *, dtype: DTypeLike = "uint8") -> tuple[Any, Any]:
    """Find a scale and a zero point for typical numbers of an array.

    The range of the quantized numbers includes 0, and 0 is represented exactly.

    Parameters
    ----------
    x : array_like
        Typical real numbers, at least one.
    percentile : float, optional
        If given, the range covers the numbers between the percentiles ``100 - percentile`` and `percentile`, such as
        99.9. Numbers outside saturate. If None, the range covers all numbers.
    dtype : dtype_like
        uint8 or int8.

    Returns
    -------
    scale : float32
        Distance of neighbouring quantized numbers.
    zero_point : uint8 or int8
        Quantized number that stands for 0.

    Raises
    ------
    ValueError
        If `x` is empty or not finite, or `percentile` is not between 50 and 100.
    TypeError
        If `x` is not an array of numbers, or `dtype` is neither uint8 nor int8.

    See Also
    --------
    quantize_weight : quantizes weights.
    QConv.from_float : quantizes a layer.

    Examples
    --------
    >>> import numpy as np
    >>> import pointwise as pw
    >>> scale, zero_point = pw.calibrate(np.array([-1.0, 1.55]))
    >>> round(float(scale), 6), int(zero_point)
    (0.01, 100)
    """
    array = as_source(x, "x")
    try:
        kind: np.dtype[Any] = np.dtype(dtype)
    except (TypeError, ValueError, SyntaxError, OverflowError, RecursionError) as error:
        raise TypeError(f"dtype must be uint8 or int8, got {shown(dtype)}") from error
    if kind.name not in BYTES:
        raise TypeError(f"dtype must be uint8 or int8, got {kind}")
    if array.size == 0:
        raise ValueError(f"x must have at least one number, got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError("x must be finite, got NaN or infinity")
    if percentile is None:
        low, high = float(array.min()), float(array.max())
    else:
        if not isinstance(percentile, numbers.Real) or isinstance(percentile, bool):
            raise TypeError(f"percentile must be a number, got {type(percentile).__name__}")
        if not 50 < percentile <= 100:
            raise ValueError(f"percentile must be above 50 and at most 100, got {percentile}")
        ends = np.percentile(array, [100 - float(percentile), float(percentile)])
        low, high = float(ends[0]), float(ends[1])
    low, high = min(low, 0.0), max(high, 0.0)
    scale = np.float32((high - low) / 255)
    if not scale > 0:
        scale = np.float32(1) if high == low else np.finfo(np.float32).tiny
    limits = np.iinfo(kind)
    zero = np.clip(np.rint(limits.min - low / float(scale)), limits.min, limits.max)
    return scale, kind.type(zero)
