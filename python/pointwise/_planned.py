"""Public functions and classes that are not built yet. Calling any of them raises NotImplementedError."""

from __future__ import annotations

from typing import Any, NoReturn


def _refuse(name: str) -> NoReturn:
    raise NotImplementedError(f"pointwise.{name} is not built yet")


def conv_integer(
    x: Any,
    weight: Any,
    x_zero_point: Any = 0,
    weight_zero_point: Any = 0,
    *,
    layout: str = "NCHW",
    stride: Any = 1,
    padding: Any = 0,
    groups: int = 1,
    out: Any = None,
) -> Any:
    """Convolve 8-bit integers with an int32 result. Not built yet: always raises NotImplementedError."""
    _refuse("conv_integer")


def qconv(
    x: Any,
    x_scale: Any,
    x_zero_point: Any,
    weight: Any,
    weight_scale: Any,
    weight_zero_point: Any,
    y_scale: Any,
    y_zero_point: Any,
    bias: Any = None,
    *,
    layout: str = "NCHW",
    stride: Any = 1,
    padding: Any = 0,
    groups: int = 1,
    activation: Any = None,
    out: Any = None,
) -> Any:
    """Convolve quantized arrays with a quantized result. Not built yet: always raises NotImplementedError."""
    _refuse("qconv")


class QConv:
    """Quantized convolution that packs its weights once. Not built yet: always raises NotImplementedError."""

    def __init__(
        self,
        x_scale: Any,
        x_zero_point: Any,
        weight: Any,
        weight_scale: Any,
        weight_zero_point: Any,
        y_scale: Any,
        y_zero_point: Any,
        bias: Any = None,
        *,
        layout: str = "NCHW",
        stride: Any = 1,
        padding: Any = 0,
        groups: int = 1,
        activation: Any = None,
    ) -> None:
        _refuse("QConv")
