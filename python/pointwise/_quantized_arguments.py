"""Checks and converts the arguments of quantized convolutions."""

from __future__ import annotations

import numbers
from typing import TYPE_CHECKING, Any

import numpy as np

from ._arguments import as_parameter, as_plain, shown

if TYPE_CHECKING:
    from numpy.typing import NDArray

BYTES = ("uint8", "int8")
ACTIVATIONS = ("relu", "relu6", "clip", "linear")


def zero_points(obj: Any, dtype: np.dtype[Any] | None, name: str, scalar: bool = True) -> NDArray[Any]:
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


def scales(obj: Any, name: str, scalar: bool = True) -> NDArray[Any]:
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


def bias_array(obj: Any) -> NDArray[Any] | None:
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


def check_activation(activation: Any) -> None:
    """Check that a quantized convolution has this activation. The extension checks its parameters."""
    name = activation[0] if isinstance(activation, tuple) and activation else activation
    if isinstance(name, str) and name not in ACTIVATIONS:
        allowed = "None, 'relu', 'relu6' or ('clip', low, high)"
        remedy = "apply it to layer.dequantize(y)"
        raise ValueError(f"activation must be {allowed} in a quantized convolution, got {shown(activation)}: {remedy}")
