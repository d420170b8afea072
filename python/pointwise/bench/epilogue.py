"""What follows the sum in the benchmark's layers: a residual or none, then an activation or none."""

from __future__ import annotations

import argparse
import dataclasses

import numpy as np

from .. import _arguments
from ..cli.parser import activation

NONE = "none"
ACTIVATIONS = _arguments.ACTIVATION_NAMES


@dataclasses.dataclass(frozen=True)
class Activation:
    """An activation of the benchmark.

    Attributes
    ----------
    name : str
        One of the package's, or `NONE`.
    parameters : tuple of float
        All that it has, each a float32: then the contenders compute with the very same numbers, however they hold them.
    """

    name: str
    parameters: tuple[float, ...] = ()

    def __str__(self) -> str:
        """Return the activation as the command line takes it, default parameters included."""
        numbers = ",".join(np.format_float_positional(np.float32(value), trim="-") for value in self.parameters)
        return f"{self.name},{numbers}" if numbers else self.name

    def argument(self) -> str | tuple[str | float, ...] | None:
        """Return the activation as `pointwise.Conv` takes it."""
        if self.name == NONE:
            return None
        return (self.name, *self.parameters) if self.parameters else self.name


NO_ACTIVATION, RELU = Activation(NONE), Activation("relu")


@dataclasses.dataclass(frozen=True)
class Epilogue:
    """What follows the sum of products and bias.

    Attributes
    ----------
    activation : Activation
        Comes last.
    residual : bool
        Whether an array of the result's shape is added before the activation.
    """

    activation: Activation = RELU
    residual: bool = False

    def words(self) -> str:
        """Return what headlines say, such as "bias, residual and ReLU"."""
        parts = ["bias"]
        if self.residual:
            parts.append("residual")
        if self.activation.name != NONE:
            parts.append("ReLU" if self.activation == RELU else str(self.activation))
        return " and ".join(part for part in (", ".join(parts[:-1]), parts[-1]) if part)


BIAS_RELU = Epilogue()


def parse_activation(text: str) -> Activation:
    """Return an activation written as `pointwise run` takes it, or none; a type for argparse."""
    if text == NONE:
        return NO_ACTIVATION
    try:
        name, *parameters = _arguments.parse_activation(activation(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    with np.errstate(over="ignore"):  # what is infinite then is refused by Conv, or no bound of clip
        count = len(_arguments.ACTIVATION_PARAMETERS[name])
        return Activation(name, tuple(float(np.float32(value)) for value in parameters[:count]))
