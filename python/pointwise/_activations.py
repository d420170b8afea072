"""The names of the activations, and what is said of those that cannot be used."""

from __future__ import annotations

from typing import NoReturn, TypeAlias

Activation: TypeAlias = str | tuple[str | float, ...] | None

BUILT = ("relu",)
PLANNED = (
    "relu6",
    "clip",
    "leaky_relu",
    "elu",
    "sigmoid",
    "tanh",
    "silu",
    "hardsigmoid",
    "hardswish",
    "gelu",
    "gelu_tanh",
    "softplus",
    "mish",
)


def refuse(activation: object) -> NoReturn:
    """Raise for an activation that is neither None nor one of `BUILT`."""
    name = activation[0] if isinstance(activation, tuple) and activation else activation
    if not isinstance(name, str):
        raise TypeError(f"activation must be None, a name, or a tuple of name and parameters, got {activation!r}")
    if name in PLANNED:
        raise NotImplementedError(f"activation {name!r} is not built yet; built are None and {', '.join(BUILT)}")
    if name in BUILT:
        raise ValueError(f"activation {name!r} takes no parameters, got {activation!r}")
    raise ValueError(f"activation must be None or one of {', '.join(BUILT + PLANNED)}, got {activation!r}")
