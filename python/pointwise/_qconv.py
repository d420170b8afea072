"""The class `QConv`, a quantized convolution that packs its weights once."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, SupportsIndex

import numpy as np

from . import _core
from ._arguments import as_parameter, as_quantized
from ._quantize import calibrate, quantize_weight, quantized
from ._quantized_arguments import bias_array, check_activation, scales, zero_points

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, DTypeLike, NDArray
    from typing_extensions import Self

    from ._arguments import Activation
    from ._conv import Conv

__all__ = ["QConv"]


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
        x_zero = zero_points(x_zero_point, None, "x_zero_point")
        y_zero = zero_points(y_zero_point, None, "y_zero_point")
        weight_zeros = zero_points(weight_zero_point, weights.dtype, "weight_zero_point", scalar=False).copy()
        x_scales, y_scales = scales(x_scale, "x_scale"), scales(y_scale, "y_scale")
        weight_scales = scales(weight_scale, "weight_scale", scalar=False).copy()
        biases = bias_array(bias)
        check_activation(activation)
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

    def explain(self, x_shape: Sequence[int]) -> str:
        """Describe how a call computes a C-contiguous `x` of this shape.

        Parameters
        ----------
        x_shape : sequence of int
            Shape of x, with the axes that the layout of the layer names.

        Returns
        -------
        str
            Lines of text: the kernel, its pieces and threads, and the reasons against the other kernels.

        Raises
        ------
        ValueError
            If `x_shape` does not fit the layer.
        TypeError
            If `x_shape` is not a sequence of integers.

        See Also
        --------
        cost : counts parameters, arithmetic and memory traffic.
        Conv.explain : describes a layer of floats.

        Examples
        --------
        >>> import numpy as np
        >>> import pointwise as pw
        >>> layer = pw.QConv(0.5, np.uint8(0), np.ones((16, 32), np.int8), 0.1, 0, 0.25, np.uint8(0), layout="NHWC")
        >>> print(layer.explain((1, 10, 10, 32)))
        isa ...; L2 cache ...; 1 of ...
        product: 1 group(s) of 100 pixels, 32 -> 16 channels
          kernel gemm_..., source ...
          pieces: ...
        """
        return self._explain(x_shape).rstrip()

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
        return quantized(as_parameter(x, "float32", "x"), self.x_scale, self.x_zero_point)

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
            If the activation of `conv` is another one, `x_sample` is empty or not finite, or the bias leaves the range
            of int32.
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
        check_activation(activation)
        x = as_parameter(x_sample, "float32", "x_sample")
        y = conv(x)
        x_scale, x_zero = calibrate(x, percentile, dtype=dtype)
        y_scale, y_zero = calibrate(y, percentile, dtype=dtype)
        weight, bias = conv._parameters()
        weights, weight_scale = quantize_weight(weight, per_channel)
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
            weights,
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
            ``10*log10(sum((y_quantized - y)**2) / sum(y**2))``, in decibels (dB). Here y is the result of the layer of
            float32. Less is better: -20 means that errors are typically 10% of the numbers.

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
