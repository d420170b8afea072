"""What follows the sum in the benchmark's layers: a residual or none, then an activation or none."""

from __future__ import annotations

import argparse
import dataclasses
import math
from typing import NoReturn

import numpy as np

NONE = "none"
# The parameters of an activation: their names, and their defaults where they have some.
PARAMETERS: dict[str, dict[str, float | None]] = {
    NONE: {},
    "relu": {},
    "relu6": {},
    "clip": {"LO": None, "HI": None},
    "leaky_relu": {"SLOPE": 0.01},
    "elu": {"ALPHA": 1.0},
    "sigmoid": {},
    "tanh": {},
    "silu": {},
    "hardsigmoid": {},
    "hardswish": {},
    "gelu": {},
    "gelu_tanh": {},
    "softplus": {},
    "mish": {},
}


def _form(name: str) -> str:
    """Return how the activation is written on the command line."""
    names = PARAMETERS[name]
    if not names:
        return name
    return f"{name}[:{','.join(names)}]" if None not in names.values() else f"{name}:{','.join(names)}"


FORMS = ", ".join(map(_form, PARAMETERS))


@dataclasses.dataclass(frozen=True)
class Activation:
    """An activation of the benchmark.

    Attributes
    ----------
    name : str
        A key of `PARAMETERS`.
    parameters : tuple of float
        All that it has, each a float32: then the contenders compute with the very same numbers, however they hold them.
    """

    name: str
    parameters: tuple[float, ...] = ()

    def __str__(self) -> str:
        """Return the activation as the command line takes it, default parameters included."""
        numbers = ",".join(np.format_float_positional(np.float32(value), trim="-") for value in self.parameters)
        return f"{self.name}:{numbers}" if numbers else self.name

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
    """Return an activation written as NAME, or NAME:A,B with its parameters; a type for argparse."""

    def refuse(message: str) -> NoReturn:
        raise argparse.ArgumentTypeError(f"{message}, got {text!r}")

    name, colon, rest = text.partition(":")
    if name not in PARAMETERS:
        refuse(f"expected one of {FORMS}")
    defaults = PARAMETERS[name]
    if not colon:
        parameters = [value for value in defaults.values() if value is not None]
        if len(parameters) < len(defaults):
            refuse(f"expected {_form(name)}")
    elif not defaults:
        refuse(f"{name} takes no parameters")
    else:
        try:
            parameters = [float(word) for word in rest.split(",")]
        except ValueError:
            refuse(f"expected {_form(name)} with numbers")
        if len(parameters) != len(defaults):
            refuse(f"expected {_form(name)}")
    if any(map(math.isnan, parameters)):
        refuse(f"the parameters of {name} must not be NaN")
    # infinite bounds are no bounds; an infinite factor has no result for 0
    most = float(np.finfo(np.float32).max)
    if any(abs(value) > most and not (name == "clip" and math.isinf(value)) for value in parameters):
        refuse(f"the parameters of {name} must be within the range of float32")
    if name == "clip" and parameters[0] > parameters[1]:
        refuse("LO must be at most HI in clip:LO,HI")
    return Activation(name, tuple(float(np.float32(value)) for value in parameters))
