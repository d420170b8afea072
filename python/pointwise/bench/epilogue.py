"""Epilogues of the layers of the benchmark: an optional bias, an optional residual, then an optional activation."""

from __future__ import annotations

import argparse
import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import _arguments
from ..cli.parser import activation

if TYPE_CHECKING:
    from numpy.typing import NDArray

NONE = "none"
ACTIVATIONS = tuple(_arguments.ACTIVATION_PARAMETERS)
PRELU = "prelu"  # the slopes of a layer are one of its arrays, see `Operands`


@dataclasses.dataclass(frozen=True)
class Activation:
    """Activation of a layer.

    Attributes
    ----------
    name : str
        Name of an activation of `pointwise.conv`, or `NONE`.
    parameters : tuple of float
        All parameters, rounded to float32, so that all contenders compute with the same numbers.
    """

    name: str
    parameters: tuple[float, ...] = ()

    def __str__(self) -> str:
        """Return the activation in the format of the command line. Default parameters are included."""
        numbers = ",".join(np.format_float_positional(np.float32(value), trim="-") for value in self.parameters)
        return f"{self.name},{numbers}" if numbers else self.name

    def argument(self, slopes: NDArray[Any] | None = None) -> Any:
        """Return the activation as an argument of `pointwise.Conv`. "prelu" needs `slopes`."""
        if self.name == NONE:
            return None
        if self.name == PRELU:
            return (self.name, slopes)
        return (self.name, *self.parameters) if self.parameters else self.name


NO_ACTIVATION, RELU = Activation(NONE), Activation("relu")


@dataclasses.dataclass(frozen=True)
class Epilogue:
    """Epilogue of a layer: the steps after the sum of products.

    Attributes
    ----------
    activation : Activation
        Last step.
    residual : bool
        True if an array with the shape of the result is added before the activation.
    bias : bool
        True if a bias is added: one number for each output channel.
    """

    activation: Activation = RELU
    residual: bool = False
    bias: bool = True

    def words(self) -> str:
        """Return a text for headings, such as "bias, residual and ReLU" or "no bias, ReLU"."""
        parts = ["bias" if self.bias else "no bias"]
        if self.residual:
            parts.append("residual")
        if self.activation.name != NONE:
            parts.append("ReLU" if self.activation == RELU else str(self.activation))
        if not self.bias:
            return ", ".join(parts)
        return " and ".join(part for part in (", ".join(parts[:-1]), parts[-1]) if part)


BIAS_RELU = Epilogue()


def parse_activation(text: str) -> Activation:
    """Parse an activation in the format of `pointwise run`, or "none", for argparse."""
    if text == NONE:
        return NO_ACTIVATION
    if text == PRELU:
        return Activation(PRELU)
    try:
        name, *parameters = _arguments.parse_activation(activation(text))[:3]
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if name == "prelu":
        raise argparse.ArgumentTypeError("prelu has random slopes, one for each output channel: omit the numbers")
    if name == NONE:  # "linear"
        return NO_ACTIVATION
    with np.errstate(over="ignore"):  # infinity is a valid bound of clip; Conv refuses other infinite parameters
        count = len(_arguments.ACTIVATION_PARAMETERS[name])
        return Activation(name, tuple(float(np.float32(value)) for value in parameters[:count]))
