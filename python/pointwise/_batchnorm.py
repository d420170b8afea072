"""Batch normalization, folded into the weight and bias of the convolution before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import _core
from ._arguments import as_parameter, as_weight

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike, NDArray

__all__ = ["fold", "fold_batchnorm"]


def fold_batchnorm(
    weight: ArrayLike,
    bias: ArrayLike | None,
    mean: ArrayLike,
    variance: ArrayLike,
    gamma: ArrayLike | None = None,
    beta: ArrayLike | None = None,
    eps: float = 1e-5,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Fold the batch normalization that follows a convolution into its weight and bias.

    At inference batch normalization is one multiply-add for each channel (Ioffe and Szegedy, "Batch Normalization",
    2015, algorithm 2), so that a convolution and ::

        y = gamma*(conv(x) - mean)/sqrt(variance + eps) + beta

    are one convolution, with these for weight and bias::

        scale = gamma/sqrt(variance + eps)
        weight[o, i]*scale[o], (bias[o] - mean[o])*scale[o] + beta[o]

    That holds for every layout, stride, padding and number of groups. A residual is then added after the
    normalization, before the activation.

    Parameters
    ----------
    weight : array_like, float32 or float64, shape (C_out, C_in / groups)
        The weight of the convolution. Further axes of length 1 are allowed.
    bias : array_like, shape (C_out,), or None
        Its bias; None is 0.
    mean, variance : array_like, shape (C_out,)
        The statistics of training: running_mean and running_var in torch, moving_mean and moving_variance in Keras.
        ``variance + eps`` must be above 0.
    gamma, beta : array_like, shape (C_out,), optional
        The learned scale and shift: weight and bias of torch's batch normalization. None is 1 and 0.
    eps : float
        What was added to the variance in training, finite and at least 0: 1e-5 in torch and ONNX, 1e-3 in Keras.

    Returns
    -------
    weight : ndarray
        Of the shape and dtype of `weight`.
    bias : ndarray, shape (C_out,)
        Of the dtype of `weight`.

    Raises
    ------
    ValueError
        For shapes that do not fit, and for `variance` and `eps` out of range.
    TypeError
        For what is not an array of real numbers, and for masked arrays and foreign byte order.
    NotImplementedError
        For a dtype of `weight` that is not built yet.

    See Also
    --------
    Conv.from_batchnorm : a layer of the folded weight and bias.

    Notes
    -----
    Computed in float64 and rounded once, to the dtype of `weight`. NaN and infinities go where IEEE 754 says: a
    channel whose variance is NaN becomes NaN.

    A multiplier for each channel, as the layer scale that ends ConvNeXt's blocks, folds in the same way:
    ``gamma=scale``, a mean of 0, a variance of 1 and ``eps=0`` give exactly ``weight*scale`` and ``bias*scale``.

    Examples
    --------
    >>> import numpy as np, pointwise as pw
    >>> weight, bias = pw.fold_batchnorm([[1.0, 2.0], [3.0, 4.0]], None, [1, 0], [4, 1], gamma=[1, 10], eps=0)
    >>> weight
    array([[ 0.5,  1. ],
           [30. , 40. ]])
    >>> bias
    array([-0.5,  0. ])

    Layer scale:

    >>> weight, bias = pw.fold_batchnorm([[1.0, 2.0]], [3.0], np.zeros(1), np.ones(1), gamma=[0.1], eps=0)
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
    """Fold as `fold_batchnorm` does, and round to `dtype`, or to the weight's own."""
    # NumPy computes in the caller's floating-point state: a caller that flushes subnormals would lose small weights.
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
    if w.ndim < 2 or any(size != 1 for size in w.shape[2:]):
        raise ValueError(
            "weight must have shape (output channels, input channels / groups), further axes of length 1, "
            f"got {w.shape}"
        )
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
    with np.errstate(all="ignore"):  # infinities and NaN as IEEE has them, whatever the caller has NumPy raise
        total = v + e
        if (total <= 0).any():  # false for NaN, which stays NaN
            o = np.argmax(total <= 0)
            raise ValueError(f"variance + eps must be above 0, got {v[o]} + {e} for output channel {o}")
        scale = g / np.sqrt(total)
        b = (b - m) * scale
        if shift is not None:  # adding 0 would lose the sign of -0.0
            b = b + shift
        w = w * scale.reshape(c_out, *[1] * (w.ndim - 1))
        return w.astype(name, order="C", copy=False), b.astype(name, copy=False)


def _of_channels(obj: ArrayLike, c_out: int, name: str) -> NDArray[Any]:
    """Take one number for each output channel."""
    array = as_parameter(obj, "float64", name)
    if array.shape != (c_out,):
        raise ValueError(f"{name} must have shape ({c_out},), one for each output channel, got {array.shape}")
    return array
