"""The names and parameters of the activations."""

from __future__ import annotations

import numbers
from typing import TypeAlias

from ._words import shown

Activation: TypeAlias = str | tuple[str | float, ...] | None

# Each name with the defaults of its parameters; None where a parameter must be given.
PARAMETERS: dict[str, tuple[float | None, ...]] = {
    "relu": (),
    "relu6": (),
    "clip": (None, None),
    "leaky_relu": (0.01,),
    "elu": (1.0,),
    "sigmoid": (),
    "tanh": (),
    "silu": (),
    "hardsigmoid": (),
    "hardswish": (),
    "gelu": (),
    "gelu_tanh": (),
    "softplus": (),
    "mish": (),
}
NAMES = tuple(PARAMETERS)
WORDS = {"clip": "bounds lo and hi", "leaky_relu": "a slope", "elu": "alpha"}


def parse(activation: object) -> tuple[str, float, float]:
    """Check an activation that is not None.

    Parameters
    ----------
    activation : object
        A name, or a tuple of name and parameters.

    Returns
    -------
    tuple
        The name and two parameters, 0 where it has none.

    Raises
    ------
    TypeError
        For what is neither, and for parameters that are no real numbers.
    ValueError
        For a name that is none of `NAMES`, and another number of parameters than it has.
    """
    # What a subclass of tuple or str holds, whatever its own methods say.
    given: tuple[object, ...] = tuple(tuple.__iter__(activation)) if isinstance(activation, tuple) else (activation,)
    name = given[0] if given else activation
    if not isinstance(name, str):
        raise TypeError(f"activation must be None, a name, or a tuple of name and parameters, got {shown(activation)}")
    name = str.__str__(name)  # of a subclass, whose __eq__ and __hash__ could say anything, the plain string
    if name not in PARAMETERS:
        raise ValueError(f"activation must be None or one of {', '.join(NAMES)}, got {shown(activation)}")
    defaults, values = PARAMETERS[name], given[1:]
    fewest = sum(default is None for default in defaults)
    if not fewest <= len(values) <= len(defaults):
        takes = f"takes {WORDS[name]}" if defaults else "takes no parameters"
        example = f", as in ({name!r}, 0, 6)" if name == "clip" else ""
        raise ValueError(f"activation {name!r} {takes}{example}, got {shown(activation)}")
    for value in values:
        if not isinstance(value, numbers.Real):
            raise TypeError(f"activation {name!r} takes real numbers as parameters, got {shown(activation)}")
    try:
        floats = [float(value) for value in values]  # type: ignore[arg-type]
    except OverflowError:
        got = shown(activation)
        raise ValueError(f"activation {name!r} takes numbers within the range of float64, got {got}") from None
    floats += [default for default in defaults[len(values) :] if default is not None]
    floats += [0.0] * (2 - len(floats))
    return name, floats[0], floats[1]
