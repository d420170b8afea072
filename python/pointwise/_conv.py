"""The function `conv` and the class `Conv`, which packs its weights once."""

from __future__ import annotations

import operator
from functools import partial
from typing import TYPE_CHECKING, Any, SupportsIndex, overload

from . import _core
from ._arguments import (
    as_out_dtype,
    as_parameter,
    as_source,
    as_weight,
    check_array,
    check_overlap,
    parse_activation,
    shown,
)
from ._batchnorm import fold, statistics_by_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import ArrayLike, DTypeLike, NDArray
    from typing_extensions import Self

    from ._arguments import Activation, Float, Integer, Out, Result

__all__ = ["Conv", "conv"]

_core.use_functions(
    {
        function.__name__: function
        for function in (as_out_dtype, as_parameter, as_source, check_array, check_overlap, parse_activation, shown)
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
    x : array_like of float32, float64, uint8, int8, uint16 or int16
        Input, with the axes that `layout` names, such as (N, C_in, H, W). A strided view is read in place, without a
        full copy.
    weight : array_like, shape (C_out, C_in / groups)
        Weights. Trailing axes of length 1 are allowed, so OIHW weights need no reshape. The weights are cast to the
        dtype of `x`, or to float32 for integer `x`, by the rule "same_kind" of ``numpy.can_cast``.
    bias : array_like, shape (C_out,), optional
        One number for each output channel, which is added to the sum. The bias is cast like `weight`.
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
        factors are cast like `weight`.
    out_dtype : dtype_like, optional
        Dtype of the result. If None, the dtype of `x`, or float32 for integer `x`. For integer `x`, it may be uint8,
        int8, uint16 or int16. Then each number is rounded to the nearest integer after the activation, half to even.
        Numbers outside of the range of the dtype become the end of the range, and NaN becomes 0.

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
    NotImplementedError
        If `x` is float16 or bfloat16.
    MemoryError
        If memory for the result or for the computation cannot be allocated.

    See Also
    --------
    Conv : packs the weights once, which makes repeated calls faster.
    cost : counts parameters, arithmetic and memory traffic.

    Notes
    -----
    A spatial axis of ``size`` pixels gives ``(size + 2*padding - 1)//stride + 1`` output pixels.

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

    Layers are immutable and picklable. Several threads may call a layer at the same time.

    Parameters
    ----------
    weight : array_like, shape (C_out, C_in / groups)
        Weights, which are copied. Trailing axes of length 1 are allowed.
    bias : array_like, shape (C_out,), optional
        One number for each output channel, which is added to the sum. The bias is copied.
    layout, stride, padding, groups, activation
        As for :func:`conv`.
    dtype : dtype_like, optional
        float32 or float64. If None, the dtype of `weight`.
    out_dtype : dtype_like, optional
        Dtype of the results, as for :func:`conv`. A layer with an integer `out_dtype` takes only integer `x`.
    flush_subnormals : bool
        If True, subnormal numbers count as zeros. Subnormal numbers have a magnitude below 1.2e-38 in float32, and
        below 2.2e-308 in float64. Some CPUs compute slowly with subnormal numbers. See the notes.

    Raises
    ------
    ValueError, TypeError, NotImplementedError, MemoryError
        As for :func:`conv`. NotImplementedError if the dtype of the layer would be float16 or bfloat16.

    See Also
    --------
    conv : computes a convolution without a layer.
    Conv.from_batchnorm : folds a batch normalization into the layer.
    Chain : computes several layers in one pass.

    Notes
    -----
    With `flush_subnormals`, each thread of a call sets the CPU modes FTZ (flush to zero) and DAZ (denormals are zero).
    The thread restores the previous modes at the end of the call. Subnormal numbers in x, weight, bias, residual and
    input_scale count as zeros. Subnormal partial sums and subnormal results become zeros. Each zero has the sign of the
    number that it replaces. The attribute `bias` holds the flushed numbers. On CPUs other than x86 `flush_subnormals`
    has no effect.

    Let C be the number of input channels of a group and K = ceil(C/256). Before the activation, an element differs from
    the exact value by at most::

        gamma(min(C, 256) + K + 2)*(sum(abs(w)*abs(x)) + abs(b) + abs(residual)) + (C + K + 1)*tiny

    Here ``gamma(n) = n*u/(1 - n*u)`` and u is half of ``numpy.finfo(dtype).eps`` (Higham, "Accuracy and Stability of
    Numerical Algorithms", 2002, section 3.1). Without `flush_subnormals`, ``tiny`` is the smallest subnormal number.
    With `flush_subnormals`, ``tiny`` is the smallest normal number, ``numpy.finfo(dtype).tiny``, and the exact value is
    computed from the flushed inputs. With and without `flush_subnormals`, the bits of a result do not depend on
    threads, batch size or layout.

    Examples
    --------
    >>> import numpy as np
    >>> import pointwise as pw
    >>> layer = pw.Conv(np.ones((16, 32), np.float32), np.zeros(16, np.float32), layout="NHWC", activation="relu")
    >>> layer(np.ones((1, 10, 10, 32), np.float32)).shape
    (1, 10, 10, 16)
    >>> layer
    Conv(32 -> 16, float32, layout='NHWC', activation='relu')
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
    ) -> Conv:
        weight, name = as_weight(weight, dtype)
        return super().__new__(
            cls, weight, bias, layout, stride, padding, groups, activation, name, flush_subnormals, out_dtype
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
        NotImplementedError
            If `x` is float16 or bfloat16.
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
        """Weights, of shape (C_out, C_in / groups), as a read-only array. Each access makes a copy."""
        weight = self._parameters()[0]
        weight.flags.writeable = False
        return weight

    @property
    def bias(self) -> NDArray[Any] | None:
        """Bias, of shape (C_out,), as a read-only array, or None. Each access makes a copy."""
        bias = self._parameters()[1]
        if bias is not None:
            bias.flags.writeable = False
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
        """Activation: None, a name, or a tuple of a name and its parameters. The slopes of "prelu" are a tuple."""
        return self._arguments()[4]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the weights, of the sums and of x. A float32 layer also takes uint8, int8, uint16 and int16 x."""
        import numpy as np

        return np.dtype(self._arguments()[5])

    @property
    def flush_subnormals(self) -> bool:
        """True if subnormal numbers count as zeros in calls."""
        return self._arguments()[6]

    @property
    def out_dtype(self) -> np.dtype[Any] | None:
        """Dtype of the results, or None if it is the dtype of the layer."""
        import numpy as np

        name = self._arguments()[7]
        return None if name is None else np.dtype(name)

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
            float32 or float64. If None, the dtype of `weight`. Folding computes in float64 and rounds once, to this
            dtype.
        out_dtype : dtype_like, optional
            As for :func:`conv`.
        flush_subnormals : bool
            As for :class:`Conv`. Folding does not flush numbers.

        Returns
        -------
        Conv
            New layer. If the method is called on a subclass, the layer is an instance of that subclass.

        Raises
        ------
        ValueError, TypeError, NotImplementedError, MemoryError
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
        )

    def explain(self, x_shape: Sequence[int]) -> str:
        """Describe how a call computes a C-contiguous `x` of this shape.

        Parameters
        ----------
        x_shape : sequence of int
            Shape of x, with the axes that the layout of the layer names.

        Returns
        -------
        str
            Lines of text: the chosen kernel, its blocking and threads, and the reasons against the other kernels.

        Raises
        ------
        ValueError
            If `x_shape` does not fit the layer.
        TypeError
            If `x_shape` is not a sequence of integers.

        See Also
        --------
        cost : counts parameters, arithmetic and memory traffic.

        Examples
        --------
        >>> import numpy as np
        >>> import pointwise as pw
        >>> text = pw.Conv(np.ones((16, 32), np.float32)).explain((1, 32, 10, 10))
        >>> pw.isa() in text
        True
        """
        return self._explain(x_shape).rstrip()

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
        return (weight, bias), keywords

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        return super().__reduce_ex__(max(operator.index(protocol), 2))  # protocols 0 and 1 pass no arguments to __new__

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
        ):
            if value != default:
                text += f", {name}={_short(value)}"
        return text + ")"


def _short(value: object) -> str:
    """Return the text of an argument for `repr`. The slopes of "prelu" are only counted."""
    if isinstance(value, tuple) and value[0] == "prelu":
        return f"('prelu', <{len(value[1])} slopes>)"
    return repr(value)


_core.inherit_vectorcall(Conv, True)
