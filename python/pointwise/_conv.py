"""The convolution: a function, and a class that packs the weights once."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, SupportsIndex

from . import _core
from ._arguments import as_parameter, as_source, as_weight, check_array, check_overlap, parse_activation, shown
from ._batchnorm import fold

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import ArrayLike, DTypeLike, NDArray
    from typing_extensions import Self

    from ._arguments import Activation

__all__ = ["Conv", "conv"]

_core.use_functions(
    {
        function.__name__: function
        for function in (as_parameter, as_source, check_array, check_overlap, parse_activation, shown)
    }
)


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
) -> NDArray[Any]:
    """Convolve with a kernel of size 1.

    Computes, for every image n, output channel o and output pixel p (Lin, Chen and Yan, "Network In Network", 2013)::

        y[n, o, p] = act(sum_i weight[o, i] * x[n, i, p*stride - padding] + bias[o] + residual[n, o, p])

    Outside the image x is zero: the result there is ``act(bias + residual)``.

    Parameters
    ----------
    x : array_like, float32, float64, uint8, int8, uint16 or int16
        The input, its axes as `layout` names them. Any strided view is read in place.
    weight : array_like, shape (C_out, C_in / groups)
        Further axes of length 1 are allowed, so OIHW weights work as they are. Cast to the dtype of `x`
        where ``numpy.can_cast(..., "same_kind")``.
    bias : array_like, shape (C_out,), optional
        Cast likewise.
    layout : str
        One of NCHW, NHWC, NCW, NWC, NCDHW, NDHWC, NC, CHW, HWC, CW, WC, CDHW, DHWC, C.
    stride, padding : int or sequence of int
        One for all spatial axes, or one for each. Stride in pixels, at least 1; padding in pixels on both sides,
        at least 0. The output has ``(size + 2*padding - 1)//stride + 1`` pixels along an axis.
    groups : int
        Output channels of group g see only the input channels of group g.
    activation : None, str or tuple
        What is done to the sum v, with bias and residual: None, a name, or a tuple of name and parameters.
        "relu" is 0 where v < 0 else v; "relu6" is clip(v, 0, 6); ("clip", lo, hi); ("leaky_relu", slope=0.01) is
        slope*v where v < 0 else v; ("elu", alpha=1) is alpha*(exp(v) - 1) where v < 0 else v; "sigmoid" is
        1/(1 + exp(-v)); "tanh"; "silu" is v*sigmoid(v); "hardsigmoid" is clip(v/6 + 1/2, 0, 1); "hardswish" is
        v*hardsigmoid(v); "gelu" is v*Phi(v), Phi the normal distribution function; "gelu_tanh" is
        v/2*(1 + tanh(sqrt(2/pi)*(v + 0.044715*v**3))); "softplus" is log(1 + exp(v)); "mish" is
        v*tanh(softplus(v)). NaN stays NaN.
    residual : ndarray, optional
        Added before the activation; of the result's shape and dtype.
    out : ndarray, optional
        Any writable view of the result's shape and dtype: receives the result and is returned. It may be `residual`,
        but may not share an element with anything else.
    input_scale : array_like, shape (N, C_in), optional
        What the channels of each image are multiplied by, as the gate of a squeeze-and-excitation block: the result is
        that of ``x * input_scale[:, :, None, None]``, bit for bit, without that array. In an unbatched layout of shape
        (C_in,); x's axes with spatial ones of length 1 will do as well. Cast likewise.

    Returns
    -------
    ndarray
        The result, in the layout and dtype of `x` (float32 for integers): `out`, or a new C-contiguous array.

    Raises
    ------
    ValueError
        For shapes, layouts, ranges and overlaps that do not fit.
    TypeError
        For wrong dtypes and kinds.
    NotImplementedError
        For dtypes that are not built yet.
    MemoryError
        Where the result cannot be allocated.

    See Also
    --------
    Conv : the same with the weights packed once; faster from the second call on.

    Examples
    --------
    >>> import numpy as np, pointwise as pw
    >>> x = np.ones((1, 32, 10, 10), np.float32)
    >>> pw.conv(x, np.ones((16, 32), np.float32), activation="relu").shape
    (1, 16, 10, 10)
    """
    return _core.conv(x, weight, bias, layout, stride, padding, groups, activation, residual, out, input_scale)


class Conv(_core.Layer):
    """A convolution with a kernel of size 1, its weights packed once.

    Immutable, picklable, and safe to call from many threads at once. ``layer(x, residual=None, out=None, *,
    input_scale=None)`` computes what :func:`conv` does, with the same meaning of its arguments; `x` must have the
    layer's dtype.

    Parameters
    ----------
    weight : array_like, shape (C_out, C_in / groups)
        Further axes of length 1 are allowed. Copied.
    bias : array_like, shape (C_out,), optional
        Copied.
    layout, stride, padding, groups, activation
        As for :func:`conv`.
    dtype : dtype_like, optional
        float32 or float64; the dtype of `weight` where it is None.
    flush_subnormals : bool
        Take subnormal numbers (below 1.2e-38 in float32, 2.2e-308 in float64) for zeros: some CPUs need a hundred times
        as long for arithmetic on them. See the notes.

    Raises
    ------
    ValueError, TypeError, NotImplementedError, MemoryError
        As for :func:`conv`.

    Notes
    -----
    With `flush_subnormals` the threads that compute a call set the CPU's FTZ and DAZ modes, and put back what was there
    when the call ends: subnormal numbers in x, weight, bias, residual and input_scale count as zeros, and results that
    would be subnormal, those of a partial sum included, become zeros; all keep their signs. (`bias` is stored so.) With
    C input channels a group, an element before the activation is then within
    ``gamma(C + 2)*(sum(abs(w)*abs(x)) + abs(b) + abs(residual)) + (C + 2)*tiny`` of the exact value for the inputs that
    count, where ``gamma(n) = n*u/(1 - n*u)``, u is half of ``numpy.finfo(dtype).eps``, and ``tiny`` is
    ``numpy.finfo(dtype).tiny``, the smallest normal number; without it the last term has the smallest subnormal one in
    place of ``tiny``. The bits depend on threads, batch and layout as little as they do without it. On CPUs other than
    x86 it has no effect.

    Examples
    --------
    >>> import numpy as np, pointwise as pw
    >>> layer = pw.Conv(np.ones((16, 32), np.float32), np.zeros(16, np.float32), layout="NHWC", activation="relu")
    >>> layer(np.ones((1, 10, 10, 32), np.float32)).shape
    (1, 10, 10, 16)
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
        flush_subnormals: bool = False,
    ) -> Conv:
        weight, name = as_weight(weight, dtype)
        return super().__new__(cls, weight, bias, layout, stride, padding, groups, activation, name, flush_subnormals)

    @property
    def weight(self) -> NDArray[Any]:
        """A copy of the weights, of shape (C_out, C_in / groups)."""
        return self._parameters()[0]

    @property
    def bias(self) -> NDArray[Any] | None:
        """A copy of the bias, of shape (C_out,), or None."""
        return self._parameters()[1]

    @property
    def layout(self) -> str:
        """The axes of x and of the result."""
        return self._arguments()[0]

    @property
    def stride(self) -> int | tuple[int, ...]:
        """The stride in pixels, one for all spatial axes or one for each."""
        return self._arguments()[1]

    @property
    def padding(self) -> int | tuple[int, ...]:
        """The padding in pixels, one for all spatial axes or one for each."""
        return self._arguments()[2]

    @property
    def groups(self) -> int:
        """The number of groups of channels."""
        return self._arguments()[3]

    @property
    def activation(self) -> Activation:
        """What is done to the sum: None, a name, or a tuple of name and parameters."""
        return self._arguments()[4]

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of weights, x and result; a float32 layer takes x of uint8, int8, uint16 and int16 as well."""
        import numpy as np

        return np.dtype(self._arguments()[5])

    @property
    def flush_subnormals(self) -> bool:
        """Whether calls take subnormal numbers for zeros."""
        return self._arguments()[6]

    @classmethod
    def from_batchnorm(
        cls,
        weight: ArrayLike,
        bias: ArrayLike | None,
        mean: ArrayLike,
        variance: ArrayLike,
        gamma: ArrayLike | None = None,
        beta: ArrayLike | None = None,
        eps: float = 1e-5,
        *,
        layout: str = "NCHW",
        stride: int | Sequence[int] = 1,
        padding: int | Sequence[int] = 0,
        groups: int = 1,
        activation: Activation = None,
        dtype: DTypeLike | None = None,
        flush_subnormals: bool = False,
    ) -> Self:
        """Make the layer that is a convolution and the batch normalization after it.

        Computes ``act(gamma*(conv(x) - mean)/sqrt(variance + eps) + beta + residual)``, as one convolution (Ioffe and
        Szegedy, "Batch Normalization", 2015). A multiplier for each channel, as ConvNeXt's layer scale, folds in the
        same way: ``gamma=scale``, a mean of 0, a variance of 1 and ``eps=0``.

        Parameters
        ----------
        weight, bias, mean, variance, gamma, beta, eps
            As for :func:`fold_batchnorm`. With `dtype` given, `weight` may have any dtype that can be cast to it.
        layout, stride, padding, groups, activation
            As for :func:`conv`.
        dtype : dtype_like, optional
            float32 or float64; the dtype of `weight` where it is None. What is computed in float64 is rounded once,
            to this dtype.
        flush_subnormals : bool
            As for :class:`Conv`. It has no part in the folding.

        Returns
        -------
        Conv
            A layer of the class that this is called on.

        Raises
        ------
        ValueError, TypeError, NotImplementedError, MemoryError
            As for :func:`fold_batchnorm` and :func:`conv`.

        Examples
        --------
        >>> import numpy as np, pointwise as pw
        >>> mean, variance = np.array([1.0, 0.0]), np.array([4.0, 1.0])
        >>> layer = pw.Conv.from_batchnorm(np.eye(2), None, mean, variance, eps=0, layout="C", activation="relu")
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
            flush_subnormals=flush_subnormals,
        )

    def explain(self, x_shape: Sequence[int]) -> str:
        """Say how a C-contiguous `x` of this shape would be computed.

        Parameters
        ----------
        x_shape : sequence of int
            The shape of x, its axes as the layer's layout names them.

        Returns
        -------
        str
            The kernel chosen, its blocking and threads, and why the others were refused.
        """
        return self._explain(x_shape).rstrip()

    def __getnewargs_ex__(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        weight, bias = self._parameters()
        layout, stride, padding, groups, activation, dtype, flush, *_ = self._arguments()
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
        return (weight, bias), keywords

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        return super().__reduce_ex__(max(operator.index(protocol), 2))  # 0 and 1 know no arguments of __new__

    def __repr__(self) -> str:
        layout, stride, padding, groups, activation, dtype, flush, c_in, c_out = self._arguments()
        text = f"{type(self).__name__}({c_in} -> {c_out}, {dtype}, layout={layout!r}"
        for name, value, default in (
            ("stride", stride, 1),
            ("padding", padding, 0),
            ("groups", groups, 1),
            ("activation", activation, None),
            ("flush_subnormals", flush, False),
        ):
            if value != default:
                text += f", {name}={value!r}"
        return text + ")"


_core.inherit_vectorcall(Conv)
