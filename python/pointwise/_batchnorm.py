"""Folds a batch normalization into the weight and the bias of the preceding convolution."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import numpy as np

from . import _core
from ._arguments import as_parameter, as_weight, sum_dtype

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import ArrayLike, DTypeLike, NDArray

__all__ = ["fold", "fold_batchnorm", "statistics_by_name"]

P = ParamSpec("P")
R = TypeVar("R")
STATISTICS = ("mean", "variance", "gamma", "beta", "eps")


def statistics_by_name(function: Callable[P, R], positions: int = 2) -> Callable[P, R]:
    """Return the function with an error message for statistics that are passed by position.

    Frameworks disagree about the order of the statistics, so a call by position would often give wrong results.

    Parameters
    ----------
    function : callable
        Function whose arguments `STATISTICS` are keyword-only.
    positions : int
        Number of arguments before the statistics, which may be passed by position.

    Returns
    -------
    callable
        Function with the same signature and documentation.
    """

    @functools.wraps(function)
    def checked(*args: P.args, **keywords: P.kwargs) -> R:
        if len(args) > positions:
            names = [name for name in STATISTICS[: len(args) - positions] if name not in keywords]
            remedy = ", ".join(f"{name}={name}" for name in names)
            raise TypeError(
                f"{function.__qualname__} takes only weight and bias by position, got {len(args) - positions} more"
                + (f": pass {remedy}" if remedy else "")
            )
        return function(*args, **keywords)

    return checked


@statistics_by_name
def fold_batchnorm(
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    mean: ArrayLike,
    variance: ArrayLike,
    gamma: ArrayLike | None = None,
    beta: ArrayLike | None = None,
    eps: float = 1e-5,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Fold a batch normalization into the weight and bias of the preceding convolution.

    The convolution with the folded weight and bias also computes the normalization::

        y = gamma*(conv(x) - mean)/sqrt(variance + eps) + beta

    Folding works for kernels of any size, and for all layouts, strides, paddings and numbers of groups. A residual is
    added after the normalization and before the activation.

    Parameters
    ----------
    weight : array_like of float32, float64, float16 or bfloat16, shape (C_out, C_in / groups, ...)
        Weight of the convolution. The axes of the kernel follow, such as (kh, kw). The weight of a depthwise
        convolution has shape (C_out, 1, ...).
    bias : array_like, shape (C_out,), optional
        Bias of the convolution. None means 0.
    mean, variance : array_like, shape (C_out,)
        Statistics of the training. PyTorch calls them running_mean and running_var. Keras calls them moving_mean and
        moving_variance.
        ``variance + eps`` must be above 0.
    gamma, beta : array_like, shape (C_out,), optional
        Learned scale and shift. PyTorch calls them weight and bias of the batch normalization. If `gamma` is None, the
        scale is 1. If `beta` is None, the shift is 0.
    eps : float
        Number that is added to the variance, finite and at least 0: 1e-5 in PyTorch and ONNX, 1e-3 in Keras.

    Returns
    -------
    weight : ndarray
        Folded weight, with the shape and dtype of `weight`.
    bias : ndarray, shape (C_out,)
        Folded bias, with the dtype of `weight`, or float32 if `weight` is float16 or bfloat16.

    Raises
    ------
    ValueError
        If a shape does not fit `weight`, or if `variance` or `eps` is out of range.
    TypeError
        If an argument is not an array of real numbers, is a masked array, or has non-native byte order. If statistics
        are passed by position.

    See Also
    --------
    Conv.from_batchnorm : creates a layer from the folded weight and bias.

    Notes
    -----
    At inference, batch normalization multiplies each channel by a factor and adds a number (Ioffe and Szegedy, "Batch
    Normalization", 2015, algorithm 2). So the folded arrays are::

        scale = gamma/sqrt(variance + eps)
        weight[o]*scale[o]
        (bias[o] - mean[o])*scale[o] + beta[o]

    The folded arrays are computed in float64 and rounded once, to the dtypes of the results. NaN and infinities follow
    IEEE 754: a NaN variance makes its channel NaN.

    A scale for each output channel can be folded, too, such as the layer scale of ConvNeXt. Pass ``gamma=scale``, a
    mean of 0, a variance of 1 and ``eps=0``. Then the results are exactly ``weight*scale`` and ``bias*scale``.

    Examples
    --------
    >>> import numpy as np
    >>> import pointwise as pw
    >>> statistics = {"mean": [1, 0], "variance": [4, 1], "gamma": [1, 10], "eps": 0}
    >>> weight, bias = pw.fold_batchnorm([[1.0, 2.0], [3.0, 4.0]], **statistics)
    >>> weight
    array([[ 0.5,  1. ],
           [30. , 40. ]])
    >>> bias
    array([-0.5,  0. ])

    A depthwise 3x3 convolution:

    >>> weight, bias = pw.fold_batchnorm(np.ones((2, 1, 3, 3), np.float32), **statistics)
    >>> weight.shape, weight[:, 0, 0, 0]
    ((2, 1, 3, 3), array([ 0.5, 10. ], dtype=float32))

    Layer scale:

    >>> weight, bias = pw.fold_batchnorm([[1.0, 2.0]], [3.0], mean=[0], variance=[1], gamma=[0.1], eps=0)
    >>> weight, bias
    (array([[0.1, 0.2]]), array([0.3]))
    """
    return fold(weight, bias, mean, variance, gamma, beta, eps, None)


def fold(
    weight: ArrayLike,
    bias: ArrayLike | None,
    mean: ArrayLike,
    variance: ArrayLike,
    gamma: ArrayLike | None,
    beta: ArrayLike | None,
    eps: float,
    dtype: DTypeLike | None,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Fold as `fold_batchnorm` does. Round to `dtype`, or to the dtype of the weight if `dtype` is None."""
    # NumPy computes in the floating-point state of the caller. If that state flushes subnormals, small weights would be
    # lost.
    return _core.in_default_environment(lambda: _fold(weight, bias, mean, variance, gamma, beta, eps, dtype))


def _fold(
    weight: ArrayLike,
    bias: ArrayLike | None,
    mean: ArrayLike,
    variance: ArrayLike,
    gamma: ArrayLike | None,
    beta: ArrayLike | None,
    eps: float,
    dtype: DTypeLike | None,
) -> tuple[NDArray[Any], NDArray[Any]]:
    given, name = as_weight(weight, dtype)
    w = as_parameter(given, "float64", "weight")
    if w.ndim < 2:
        raise ValueError(f"weight must have shape (output channels, input channels / groups, ...), got {w.shape}")
    c_out = w.shape[0]
    b = np.zeros(c_out) if bias is None else _of_channels(bias, c_out, "bias")
    m = _of_channels(mean, c_out, "mean")
    v = _of_channels(variance, c_out, "variance")
    g = np.ones(c_out) if gamma is None else _of_channels(gamma, c_out, "gamma")
    shift = None if beta is None else _of_channels(beta, c_out, "beta")
    e = as_parameter(eps, "float64", "eps")
    if e.ndim != 0:
        raise ValueError(f"eps must be one number, got shape {e.shape}")
    if not 0 <= e < np.inf:
        raise ValueError(f"eps must be finite and at least 0, got {e}")
    with np.errstate(all="ignore"):  # no errors for infinities and NaN in any numpy.errstate
        total = v + e
        if (total <= 0).any():  # false for NaN, which is allowed
            o = np.argmax(total <= 0)
            raise ValueError(f"variance + eps must be above 0, got {v[o]} + {e} for output channel {o}")
        scale = g / np.sqrt(total)
        b = (b - m) * scale
        if shift is not None:  # adding a beta of 0 would turn -0.0 into 0.0
            b = b + shift
        w = w * scale.reshape(c_out, *[1] * (w.ndim - 1))
        return w.astype(name, order="C", copy=False), b.astype(sum_dtype(np.dtype(name)), copy=False)


def _of_channels(obj: ArrayLike, c_out: int, name: str) -> NDArray[Any]:
    """Return the argument as a float64 array with one number per output channel."""
    array = as_parameter(obj, "float64", name)
    if array.shape != (c_out,):
        raise ValueError(f"{name} must have shape ({c_out},), one for each output channel, got {array.shape}")
    return array
