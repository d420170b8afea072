"""The functions `quantize_weight` and `calibrate`, which find scales and zero points."""

from __future__ import annotations

import numbers
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _core
from ._arguments import as_dtype, as_parameter, as_plain, as_source, as_weight, has_int8_weights, shown
from ._quantized_arguments import BYTES, scales

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike, NDArray

__all__ = ["calibrate", "quantize_weight"]


def quantized(x: NDArray[Any], scale: Any, zero_point: Any) -> NDArray[Any]:
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


def as_layer_weight(
    weight: Any, dtype: DTypeLike | None, weight_dtype: DTypeLike | None
) -> tuple[NDArray[Any], str, NDArray[np.float32] | None]:
    """Return the weight of a layer, the dtype of the layer, and the scales of int8 weights or None.

    The weight may be a pair, as `quantize_weight` returns it.
    """
    pair = isinstance(weight, tuple) and len(weight) == 2
    if not pair or not isinstance(weight[0], np.ndarray) or weight[0].ndim < 2:
        array, name = as_weight(weight, dtype)
        if not has_int8_weights(weight_dtype, name):
            return array, name, None
        quantized, scale = _core.in_default_environment(lambda: quantize_weight(array))
        return quantized, name, scale
    numbers, scale = as_plain(weight[0], "weight"), scales(weight[1], "weight scale", scalar=False)
    if numbers.dtype != np.int8:
        raise TypeError(f"weight must be an array, or a pair of int8 weights and scales, got {numbers.dtype}")
    if weight_dtype is None:
        raise TypeError('weight must be an array, got a pair of int8 weights and scales: pass weight_dtype="int8"')
    name = "float32" if dtype is None else as_dtype(dtype).name
    has_int8_weights(weight_dtype, name)
    channels = numbers.shape[:1]
    if scale.shape not in ((), channels):
        raise ValueError(f"weight scale must have shape {channels}, one for each output channel, got {scale.shape}")
    return numbers, name, np.ascontiguousarray(np.broadcast_to(scale, channels))


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
