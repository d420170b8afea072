"""The function `conv` and the class `Conv`, which packs its weights once."""

from __future__ import annotations

import numbers
import operator
from functools import partial
from typing import TYPE_CHECKING, Any, SupportsIndex, overload

from . import _core
from ._arguments import (
    as_out_dtype,
    as_parameter,
    as_quantized,
    as_source,
    as_source_dtype,
    bfloat16_number,
    check_array,
    check_overlap,
    parse_activation,
    shown,
)
from ._batchnorm import fold, statistics_by_name
from ._quantize import as_layer_weight
from ._runtime import cpu_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import ArrayLike, DTypeLike, NDArray
    from typing_extensions import Self

    from ._arguments import Activation, Float, Integer, Out, Result

__all__ = ["Conv", "conv"]

_core.use_functions(
    {
        function.__name__: function
        for function in (
            as_out_dtype,
            as_parameter,
            as_quantized,
            as_source,
            bfloat16_number,
            check_array,
            check_overlap,
            parse_activation,
            shown,
        )
    }
)


@overload
def conv(
    x: NDArray[Float],
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    layout: str = "NCHW",
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    groups: int = 1,
    activation: Activation = None,
    residual: NDArray[Any] | None = None,
    out: None = None,
    input_scale: ArrayLike | None = None,
    out_dtype: None = None,
) -> NDArray[Float]: ...
@overload
def conv(
    x: NDArray[Integer],
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    layout: str = "NCHW",
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    groups: int = 1,
    activation: Activation = None,
    residual: NDArray[Any] | None = None,
    out: None = None,
    input_scale: ArrayLike | None = None,
    out_dtype: None = None,
) -> NDArray[np.float32]: ...
@overload
def conv(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    layout: str = "NCHW",
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    groups: int = 1,
    activation: Activation = None,
    residual: NDArray[Any] | None = None,
    out: None = None,
    input_scale: ArrayLike | None = None,
    out_dtype: type[Result] | np.dtype[Result],
) -> NDArray[Result]: ...
@overload
def conv(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    layout: str = "NCHW",
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    groups: int = 1,
    activation: Activation = None,
    residual: NDArray[Any] | None = None,
    out: Out,
    input_scale: ArrayLike | None = None,
    out_dtype: DTypeLike | None = None,
) -> Out: ...
@overload
def conv(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    layout: str = "NCHW",
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    groups: int = 1,
    activation: Activation = None,
    residual: NDArray[Any] | None = None,
    out: NDArray[Any] | None = None,
    input_scale: ArrayLike | None = None,
    out_dtype: DTypeLike | None = None,
) -> NDArray[Any]: ...
def conv(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    layout: str = "NCHW",
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    groups: int = 1,
    activation: Activation = None,
    residual: NDArray[Any] | None = None,
    out: NDArray[Any] | None = None,
    input_scale: ArrayLike | None = None,
    out_dtype: DTypeLike | None = None,
) -> NDArray[Any]:
    """Compute a pointwise (1x1) convolution.

    Computes, for every image n, output channel o and output pixel p::

        y[n, o, p] = act(sum_i weight[o, i] * x[n, i, p*stride - padding] + bias[o] + residual[n, o, p])

    If an output pixel reads padding instead of a pixel of x, the sum is empty. The result of this pixel is ``act(bias +
    residual)``.

    Parameters
    ----------
    x : array_like of float32, float64, float16, bfloat16, uint8, int8, uint16 or int16
        Input, with the axes that `layout` names, such as (N, C_in, H, W). A strided view is read in place, without a
        full copy.
    weight : array_like, shape (C_out, C_in / groups)
        Weights. Trailing axes of length 1 are allowed, so OIHW weights need no reshape. The weights are cast to the
        dtype of `x`, or to float32 for integer `x`, by the rule "same_kind" of ``numpy.can_cast``.
    bias : array_like, shape (C_out,), optional
        One number for each output channel, which is added to the sum. The bias is cast like `weight`, but for float16
        and bfloat16 `x` to float32.
    layout : str
        Names of the axes of `x`: NCHW, NHWC, NCW, NWC, NCDHW, NDHWC, NC, CHW, HWC, CW, WC, CDHW, DHWC or C. Lower case
        is accepted, and L (length) in place of W.
    stride : int or sequence of int
        Distance between neighbouring output pixels, in pixels of `x`, at least 1. An integer applies to all spatial
        axes. A sequence has one integer for each spatial axis.
    padding : int or sequence of int
        Pixels added at both ends of each spatial axis, at least 0. An integer or a sequence, as for `stride`.
    groups : int
        Number of groups of channels, which must divide C_in and C_out. Output channels of a group read only the input
        channels of the same group.
    activation : None, str or tuple
        Function that is applied to the sum after bias and residual are added. None, a name, or a tuple of a name and
        its parameters. The notes list the names.
    residual : ndarray, optional
        Array that is added before the activation. It must have the shape and the dtype of the result. It must be None
        if the result has an integer dtype.
    out : ndarray, optional
        Array that receives the result and is returned. It must be writable and have the shape of the result. It must
        have the dtype of the result or, if `out_dtype` is None, any dtype that `out_dtype` may be. Any strides are
        allowed. `out` may be `residual` itself. Otherwise `out` must not share any element with another argument.
    input_scale : array_like, shape (N, C_in), optional
        Factors for the channels of each image, such as the gate of a squeeze-and-excitation block. In NCHW, the result
        has the same bits as for ``x * input_scale[:, :, None, None]``, but this product is not stored. In layouts
        without a batch axis, the shape is (C_in,). The shape of `x` with spatial axes of length 1 is accepted, too. The
        factors are cast like `weight`. Each product of a number of `x` and its factor is rounded to the dtype of `x`,
        or to float32 for integer `x`.
    out_dtype : dtype_like, optional
        Dtype of the result. If None, the dtype of `x`, or float32 for integer `x`. It may be float32, float16 or
        bfloat16, unless `x` is float64. Each number is rounded once, after the activation. For integer `x`, it may also
        be uint8, int8, uint16 or int16. Then each number is rounded to the nearest integer, half to even. A number
        outside the range of the dtype becomes the smallest or largest number of the dtype, and NaN becomes 0.

    Returns
    -------
    ndarray
        `out`, or a new C-contiguous array. The layout is the layout of `x`.

    Raises
    ------
    ValueError
        If a shape or the layout is wrong, an argument is out of range, `out` overlaps another argument, or two indices
        of `out` refer to one element.
    TypeError
        If an argument has a wrong type or dtype, is a masked array, or has non-native byte order.
    MemoryError
        If memory for the result or for the computation cannot be allocated.

    See Also
    --------
    Conv : packs the weights once, which makes repeated calls faster.
    cost : counts parameters, arithmetic and memory traffic.

    Notes
    -----
    A spatial axis of ``size`` pixels gives ``(size + 2*padding - 1)//stride + 1`` output pixels.

    Sums are float64 for float64 `x`, and float32 for any other `x`. The dtype bfloat16 needs the package ml_dtypes. The
    notes of :class:`Conv` have the bound of the error.

    Pointwise convolutions: Lin, Chen and Yan, "Network In Network", 2013. Squeeze-and-excitation: Hu, Shen and Sun,
    "Squeeze-and-Excitation Networks", 2018.

    Activations of a sum v, with the default values of parameters. The result for NaN is NaN::

        "relu"                       0 if v < 0, else v
        "relu6"                      clip(v, 0, 6)
        ("clip", lo, hi)             clip(v, lo, hi)
        ("leaky_relu", slope=0.01)   slope*v if v < 0, else v
        ("prelu", slopes)            slopes[o]*v if v < 0, else v
        ("elu", alpha=1)             alpha*(exp(v) - 1) if v < 0, else v
        "sigmoid"                    1/(1 + exp(-v))
        "tanh"                       tanh(v)
        "silu"                       v*sigmoid(v)
        "hardsigmoid"                clip(v/6 + 1/2, 0, 1)
        "hardswish"                  v*hardsigmoid(v)
        "gelu"                       v*Phi(v), Phi the normal distribution function
        "gelu_tanh"                  v/2*(1 + tanh(sqrt(2/pi)*(v + 0.044715*v**3)))
        "softplus"                   log(1 + exp(v))
        "mish"                       v*tanh(softplus(v))

    The slopes of "prelu" are an array of shape (C_out,), which is copied and rounded to the dtype of the sums.

    Aliases: "swish" is "silu", "hard_swish" is "hardswish", "hard_sigmoid" is "hardsigmoid", and "linear" is None.

    Sources of the activations:

    - leaky_relu: Maas, Hannun and Ng, "Rectifier Nonlinearities Improve Neural Network Acoustic Models", 2013.
    - prelu: He, Zhang, Ren and Sun, "Delving Deep into Rectifiers", 2015.
    - elu: Clevert, Unterthiner and Hochreiter, "Fast and Accurate Deep Network Learning by Exponential Linear Units",
      2015.
    - silu: Elfwing, Uchibe and Doya, "Sigmoid-Weighted Linear Units for Neural Network Function Approximation in
      Reinforcement Learning", 2017.
    - hardsigmoid, hardswish: Howard et al., "Searching for MobileNetV3", 2019.
    - gelu, gelu_tanh: Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016.
    - mish: Misra, "Mish: A Self Regularized Non-Monotonic Activation Function", 2019.

    Examples
    --------
    >>> import numpy as np
    >>> import pointwise as pw
    >>> pw.conv([1.0, 3.0], [[1.0, 1.0], [1.0, -1.0]], layout="C", activation="relu")
    array([4., 0.])
    >>> x = np.ones((1, 32, 10, 10), np.float32)
    >>> pw.conv(x, np.ones((16, 32), np.float32), stride=2, activation=("clip", 0, 1)).shape
    (1, 16, 5, 5)
    """
    return _core.conv(
        x, weight, bias, layout, stride, padding, groups, activation, residual, out, input_scale, out_dtype
    )


class Conv(_core.Layer):
    """Pointwise (1x1) convolution that packs its weights once.

    A call ``layer(x, residual=None, out=None, *, input_scale=None)`` computes the same as :func:`conv` with the same
    arguments. `x` must have the dtype of the layer, but a float32 layer also takes uint8, int8, uint16 and int16.

    Layers are immutable and picklable. Several threads may call a layer at the same time. Only :meth:`tune` changes how
    later calls run, but no bit of their results.

    Parameters
    ----------
    weight : array_like, shape (C_out, C_in / groups)
        Weights, which are copied. Trailing axes of length 1 are allowed.
    bias : array_like, shape (C_out,), optional
        One number for each output channel, which is added to the sum. The bias is copied. It is float32 in layers of
        float16 and bfloat16.
    layout, stride, padding, groups, activation
        As for :func:`conv`.
    dtype : dtype_like, optional
        float32, float64, float16 or bfloat16. If None, the dtype of `weight`.
    out_dtype : dtype_like, optional
        Dtype of the results, as for :func:`conv`. A layer with an integer `out_dtype` takes only integer `x`.
    flush_subnormals : bool
        If True, subnormal numbers are treated as zeros. Subnormal numbers have a magnitude below 1.2e-38 in float32,
        and below 2.2e-308 in float64. Some CPUs compute slowly with subnormal numbers. See the notes. In layers of
        bfloat16, subnormal numbers are always treated as zeros. Subnormal numbers of float16 are normal in float32, so
        they are never treated as zeros.
    weight_dtype : dtype_like, optional
        If int8, the layer stores its weights as int8, with one scale for each output channel. This takes a quarter of
        the memory. It makes layers faster whose time goes into reading weights. The layer must be float32. The weights
        are quantized by :func:`quantize_weight`. `weight` may also be a pair that this function returned. See the
        notes.

    Raises
    ------
    ValueError, TypeError, MemoryError
        As for :func:`conv`. ValueError if `weight_dtype` is int8 and a weight is not finite.

    See Also
    --------
    conv : computes a convolution without a layer.
    Conv.from_batchnorm : folds a batch normalization into the layer.
    Chain : computes several layers in one pass.

    Notes
    -----
    With `flush_subnormals`, each thread of a call sets the CPU modes FTZ (flush to zero) and DAZ (denormals are zero).
    The thread restores the previous modes at the end of the call. Subnormal numbers in x, weight, bias, residual and
    input_scale are treated as zeros. Subnormal partial sums and subnormal results become zeros. Each zero has the sign
    of the number that it replaces. In the attribute `bias`, subnormal numbers are replaced by zeros. On CPUs other than
    x86 `flush_subnormals` has no effect.

    Let C be the number of input channels of a group and K = ceil(C/256). Before the activation, an element differs from
    the exact value by at most::

        gamma(min(C, 256) + K + 2)*(sum(abs(w)*abs(x)) + abs(b) + abs(residual)) + (C + K + 1)*tiny

    Here ``gamma(n) = n*u/(1 - n*u)`` and u is half of ``numpy.finfo(dtype).eps`` for the dtype of the sums (Higham,
    "Accuracy and Stability of Numerical Algorithms", 2002, section 3.1). Results of float16 and bfloat16 are then
    rounded once. Without `flush_subnormals`, ``tiny`` is the smallest subnormal number. With `flush_subnormals` and for
    bfloat16, ``tiny`` is the smallest normal number, ``numpy.finfo(dtype).tiny``, and the exact value is computed from
    the flushed inputs. With and without `flush_subnormals`, the bits of a result do not depend on threads, batch size
    or layout.

    With ``weight_dtype="int8"``, x, bias, sums and results are float32. For int8 weights q and scales s, the layer
    computes::

        acc = sum_i q[o, i]*x[i]               in the usual order, from +0
        v   = acc*s[o] + bias[o]               rounded once

    Then it adds the residual and applies the activation. The weights of the layer are ``q*s``. The bound of the error
    above holds for these weights, with ``gamma(min(C, 256) + K + 3)``, and with ``(C + K)*max(s[o], 1) + 2`` in place
    of ``C + K + 1``. Quantization moves a weight by at most half a scale, which is 1/254 of the greatest magnitude of
    its output channel. Pixels in the padding have the result ``act(bias + residual)``.

    Examples
    --------
    >>> import numpy as np
    >>> import pointwise as pw
    >>> layer = pw.Conv(np.ones((16, 32), np.float32), np.zeros(16, np.float32), layout="NHWC", activation="relu")
    >>> layer(np.ones((1, 10, 10, 32), np.float32)).shape
    (1, 10, 10, 16)
    >>> layer
    Conv(32 -> 16, float32, layout='NHWC', activation='relu')

    Int8 weights:

    >>> layer = pw.Conv([[127.0, 50.3]], layout="C", dtype="float32", weight_dtype="int8")
    >>> layer.weight
    array([[127.,  50.]], dtype=float32)
    >>> layer(np.ones(2, np.float32))
    array([177.], dtype=float32)
    """

    __slots__ = ("__weakref__",)

    def __new__(
        cls,
        weight: ArrayLike,
        bias: ArrayLike | None = None,
        *,
        layout: str = "NCHW",
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        groups: int = 1,
        activation: Activation = None,
        dtype: DTypeLike | None = None,
        out_dtype: DTypeLike | None = None,
        flush_subnormals: bool = False,
        weight_dtype: DTypeLike | None = None,
    ) -> Conv:
        weight, name, scales = as_layer_weight(weight, dtype, weight_dtype)
        return super().__new__(
            cls, weight, bias, layout, stride, padding, groups, activation, name, flush_subnormals, out_dtype, scales
        )

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if cls.__call__ is Conv.__call__:
            _core.inherit_vectorcall(cls, False)

    # Calls of a layer reach the extension directly, by vectorcall. This method serves help() and subclasses.
    def __call__(
        self,
        x: ArrayLike,
        residual: NDArray[Any] | None = None,
        out: NDArray[Any] | None = None,
        *,
        input_scale: ArrayLike | None = None,
    ) -> NDArray[Any]:
        """Compute the convolution of `x`.

        Parameters
        ----------
        x : array_like
            Input, with the axes that the layout of the layer names. Its dtype is the dtype of the layer. A float32
            layer also takes uint8, int8, uint16 and int16.
        residual : ndarray, optional
            Array that is added before the activation. It must have the shape and the dtype of the result. It must be
            None if the result has an integer dtype.
        out : ndarray, optional
            Array that receives the result and is returned, as for :func:`conv`. It may be `residual` itself.
        input_scale : array_like, shape (N, C_in), optional
            Factors for the channels of each image, as for :func:`conv`.

        Returns
        -------
        ndarray
            `out`, or a new C-contiguous array. Its dtype is `out_dtype` or, if that is None, the dtype of the layer.

        Raises
        ------
        ValueError
            If a shape is wrong, `out` overlaps another argument, or two indices of `out` refer to one element.
        TypeError
            If an argument has a wrong type or dtype, is a masked array, or has non-native byte order.
        MemoryError
            If memory for the result or for the computation cannot be allocated.

        See Also
        --------
        conv : computes a convolution without a layer.

        Examples
        --------
        >>> import numpy as np
        >>> import pointwise as pw
        >>> layer = pw.Conv([[1.0, 1.0], [1.0, -1.0]], layout="C")
        >>> layer(np.array([1.0, 3.0]), residual=np.array([10.0, 20.0]))
        array([14., 18.])
        """
        return super().__call__(x, residual, out, input_scale=input_scale)

    @property
    def weight(self) -> NDArray[Any]:
        """Weights, of shape (C_out, C_in / groups), as a read-only array. Each access makes a copy.

        If the layer stores int8 weights, the array has these weights times their scales, as float32.
        """
        weight, scales = self._parameters()[0], self._weight_scales()
        if scales is not None:
            numbers = weight
            weight = _core.in_default_environment(lambda: numbers * scales[:, None])
        weight.flags.writeable = False
        return weight

    @property
    def bias(self) -> NDArray[Any] | None:
        """Bias, of shape (C_out,), as a read-only array, or None. Each access makes a copy."""
        bias = self._parameters()[1]
        if bias is not None:
            bias.flags.writeable = False
        return bias

    # Dask names tasks after functions. Without a name, it would take the text of `repr`, and fail because of its "-".
    @property
    def __name__(self) -> str:
        """Name of the class, such as "Conv"."""
        return type(self).__name__  # type: ignore[return-value]  # the name of the class, not this property

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
        """Activation: None, a name, or a tuple of a name and its parameters. The slopes of "prelu" are a tuple."""
        return self._arguments()[4]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the weights and of x. A float32 layer also takes uint8, int8, uint16 and int16 x."""
        import numpy as np

        return np.dtype(self._arguments()[5])

    @property
    def flush_subnormals(self) -> bool:
        """True if the layer was created with ``flush_subnormals=True``."""
        return self._arguments()[6]

    @property
    def out_dtype(self) -> np.dtype[Any] | None:
        """Dtype of the results, or None if it is the dtype of the layer."""
        import numpy as np

        name = self._arguments()[7]
        return None if name is None else np.dtype(name)

    @property
    def weight_dtype(self) -> np.dtype[Any] | None:
        """int8 if the layer stores int8 weights, otherwise None."""
        import numpy as np

        return None if self._weight_scales() is None else np.dtype(np.int8)

    @classmethod
    @partial(statistics_by_name, positions=3)  # cls is the first
    def from_batchnorm(
        cls,
        weight: ArrayLike,
        bias: ArrayLike | None = None,
        *,
        mean: ArrayLike,
        variance: ArrayLike,
        gamma: ArrayLike | None = None,
        beta: ArrayLike | None = None,
        eps: float = 1e-5,
        layout: str = "NCHW",
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        groups: int = 1,
        activation: Activation = None,
        dtype: DTypeLike | None = None,
        out_dtype: DTypeLike | None = None,
        flush_subnormals: bool = False,
        weight_dtype: DTypeLike | None = None,
    ) -> Self:
        """Create a layer from a convolution and the batch normalization that follows it.

        The layer computes ``act(gamma*(conv(x) - mean)/sqrt(variance + eps) + beta + residual)`` as one convolution.

        Parameters
        ----------
        weight : array_like, shape (C_out, C_in / groups)
            Weight of the convolution. Trailing axes of length 1 are allowed. If `dtype` is given, `weight` may have any
            dtype that can be cast to it.
        bias, mean, variance, gamma, beta, eps
            As for :func:`fold_batchnorm`.
        layout, stride, padding, groups, activation
            As for :func:`conv`.
        dtype : dtype_like, optional
            float32, float64, float16 or bfloat16. If None, the dtype of `weight`. Folding computes in float64 and
            rounds once: the weight to this dtype, and the bias to the dtype of the sums.
        out_dtype : dtype_like, optional
            As for :func:`conv`.
        flush_subnormals : bool
            As for :class:`Conv`. Folding does not flush numbers.
        weight_dtype : dtype_like, optional
            As for :class:`Conv`. The folded weights are quantized.

        Returns
        -------
        Conv
            New layer. If the method is called on a subclass, the layer is an instance of that subclass.

        Raises
        ------
        ValueError, TypeError, MemoryError
            As for :func:`fold_batchnorm` and :func:`conv`.

        See Also
        --------
        fold_batchnorm : returns the folded weight and bias. Its notes give the formula and its source.

        Examples
        --------
        >>> import numpy as np
        >>> import pointwise as pw
        >>> statistics = {"mean": [1, 0], "variance": [4, 1], "eps": 0}
        >>> layer = pw.Conv.from_batchnorm(np.eye(2), **statistics, layout="C", activation="relu")
        >>> layer(np.array([5.0, -1.0]))
        array([2., 0.])
        """
        weight, bias = fold(weight, bias, mean, variance, gamma, beta, eps, dtype)
        return cls(
            weight,
            bias,
            layout=layout,
            stride=stride,
            padding=padding,
            groups=groups,
            activation=activation,
            dtype=dtype,
            out_dtype=out_dtype,
            flush_subnormals=flush_subnormals,
            weight_dtype=weight_dtype,
        )

    def explain(self, x_shape: Sequence[int], *, dtype: DTypeLike | None = None) -> str:
        """Describe how a call computes a C-contiguous `x` of this shape.

        Parameters
        ----------
        x_shape : sequence of int
            Shape of x, with the axes that the layout of the layer names.
        dtype : dtype_like, optional
            Dtype of x. If None, the dtype of the layer, or uint8 for a layer with an integer `out_dtype`.

        Returns
        -------
        str
            Lines of text: the chosen kernel, its blocking and threads, and the reasons why the other kernels were not
            chosen. If :meth:`tune` has measured this shape, the first line begins with "tuned".

        Raises
        ------
        ValueError
            If `x_shape` does not fit the layer.
        TypeError
            If `x_shape` is not a sequence of integers, or x of a call cannot have this `dtype`.

        See Also
        --------
        cost : counts parameters, arithmetic and memory traffic.
        Conv.tune : chooses the kernel by a measurement.

        Examples
        --------
        >>> import numpy as np
        >>> import pointwise as pw
        >>> text = pw.Conv(np.ones((16, 32), np.float32)).explain((1, 32, 10, 10))
        >>> pw.isa() in text
        True
        """
        return self._explain(x_shape, self._source_dtype(dtype)).rstrip()

    def tune(self, x_shape: Sequence[int], *, dtype: DTypeLike | None = None, seconds: float = 0.5) -> float:
        """Measure which kernel computes a C-contiguous `x` of this shape fastest, and use it in later calls.

        Without tuning, a cost model predicts the fastest kernel and blocking. This method measures the kernels and
        blockings with the number of threads in force. The layer keeps the fastest choice for this shape, dtype of x and
        number of threads. It keeps the prediction unless another choice is clearly faster. No bit of a result changes.

        Parameters
        ----------
        x_shape : sequence of int
            Shape of x, with the axes that the layout of the layer names.
        dtype : dtype_like, optional
            Dtype of x. If None, the dtype of the layer, or uint8 for a layer with an integer `out_dtype`.
        seconds : float
            Maximum duration in seconds, which may be exceeded by the duration of one call. In a short time, only the
            kernels with the best predictions are measured.

        Returns
        -------
        float
            Speedup: the time of the prediction divided by the time of the choice. It is 1.0 if the prediction is kept,
            otherwise more.

        Raises
        ------
        ValueError
            If `x_shape` does not fit the layer, or `seconds` is not positive and finite.
        TypeError
            If `x_shape` is not a sequence of integers, `seconds` is not a real number, or x of a call cannot have this
            `dtype`.
        MemoryError
            If memory for x and the result cannot be allocated.

        See Also
        --------
        Conv.explain : names the kernel that is used.

        Notes
        -----
        During the measurement, x and weights are in the caches if they fit. Other work on the CPUs disturbs the
        measurement.

        Calls use the choice if x, residual and the result are C-contiguous. Calls with `input_scale`, and calls with
        `out` of another dtype than the measured result, use the prediction. A `Chain` predicts for itself.

        Other threads may call the layer at the same time. Pickles and copies of the layer keep the choices. If a pickle
        is loaded on another CPU model, or with another instruction set, the new layer ignores the choices.

        Examples
        --------
        >>> import numpy as np
        >>> import pointwise as pw
        >>> layer = pw.Conv(np.ones((16, 32), np.float32), activation="relu")
        >>> layer.tune((1, 32, 10, 10), seconds=0.1) >= 1
        True
        >>> print(layer.explain((1, 32, 10, 10)))
        tuned: ...
        """
        if not isinstance(seconds, numbers.Real):
            raise TypeError(f"seconds must be a real number, got {type(seconds).__name__}")
        if not 0 < seconds < float("inf"):
            raise ValueError(f"seconds must be positive and finite, got {shown(seconds)}: pass seconds=0.5")
        return self._tune(x_shape, self._source_dtype(dtype), float(min(seconds, 1e9)))

    def _source_dtype(self, dtype: DTypeLike | None) -> str | None:
        arguments = self._arguments()
        return as_source_dtype(dtype, arguments[5], arguments[7])

    def __getnewargs_ex__(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        weight, bias = self._parameters()
        layout, stride, padding, groups, activation, dtype, flush, out_dtype, *_ = self._arguments()
        keywords = {
            "layout": layout,
            "stride": stride,
            "padding": padding,
            "groups": groups,
            "activation": activation,
            "dtype": dtype,
        }
        if flush:
            keywords["flush_subnormals"] = True
        if out_dtype is not None:
            keywords["out_dtype"] = out_dtype
        scales = self._weight_scales()
        if scales is None:
            return (weight, bias), keywords
        keywords["weight_dtype"] = "int8"
        return ((weight, scales), bias), keywords

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        reduced = super().__reduce_ex__(max(operator.index(protocol), 2))  # 0 and 1 pass no arguments to __new__
        choices = self._choices()
        if not choices or isinstance(reduced, str):
            return reduced
        create, arguments, *rest = reduced
        return _tuned, (create, arguments, cpu_name(), _core.isa, choices), *rest

    def __repr__(self) -> str:
        layout, stride, padding, groups, activation, dtype, flush, out_dtype, c_in, c_out = self._arguments()
        text = f"{type(self).__name__}({c_in} -> {c_out}, {dtype}, layout={layout!r}"
        for name, value, default in (
            ("stride", stride, 1),
            ("padding", padding, 0),
            ("groups", groups, 1),
            ("activation", activation, None),
            ("flush_subnormals", flush, False),
            ("out_dtype", out_dtype, None),
            ("weight_dtype", None if self._weight_scales() is None else "int8", None),
        ):
            if value != default:
                text += f", {name}={_short(value)}"
        return text + ")"


def _tuned(create: Callable[..., Conv], arguments: tuple[Any, ...], cpu: str, isa: str, choices: list[Any]) -> Conv:
    """Create a layer from a pickle. Give it the choices of `tune` if they were made for this CPU."""
    layer = create(*arguments)
    if isa == _core.isa and cpu == cpu_name():
        layer._adopt(choices)
    return layer


def _short(value: object) -> str:
    """Return the text of an argument for `repr`. The slopes of "prelu" are only counted."""
    if isinstance(value, tuple) and value[0] == "prelu":
        return f"('prelu', <{len(value[1])} slopes>)"
    return repr(value)


_core.inherit_vectorcall(Conv, True)
