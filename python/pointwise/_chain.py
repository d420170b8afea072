"""Pointwise layers one after the other, in one pass over the pixels."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, SupportsIndex

from . import _core
from ._conv import Conv

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Chain"]


class Chain(_core.Chain):
    """Pointwise layers one after the other, in one pass over the pixels.

    ``chain(x, residual=None, out=None)`` computes what ``layers[-1](...layers[1](layers[0](x)), residual, out)`` does,
    bit for bit. Tiles of pixels go through all layers while they are in cache: what lies between two layers, often the
    widest array of all, is neither allocated nor written to memory. Examples are the mlpconv of Lin, Chen and Yan,
    "Network In Network" (2013), and the C -> 4C -> C of ConvNeXt.

    Immutable, picklable, and safe to call from many threads at once.

    Parameters
    ----------
    layers : iterable of Conv
        At least one. Each reads as many channels as the one before it writes; all have one layout and dtype, and no
        padding. The first may have any stride, the others stride 1. A layer has its own activation.

    Raises
    ------
    ValueError
        For layers that do not follow each other.
    TypeError
        For anything that is not a `Conv`.

    Notes
    -----
    `x`, `residual` and `out` mean what they do in a call of :class:`Conv`; `residual` is added before the last layer's
    activation, and `out` may share no element with `x`.

    Examples
    --------
    >>> import numpy as np, pointwise as pw
    >>> wide = pw.Conv(np.ones((384, 96), np.float32), activation="gelu")
    >>> narrow = pw.Conv(np.ones((96, 384), np.float32))
    >>> x = np.ones((1, 96, 14, 14), np.float32)
    >>> pw.Chain([wide, narrow])(x, residual=x).shape
    (1, 96, 14, 14)
    """

    __slots__ = ("__weakref__",)

    def __new__(cls, layers: Iterable[Conv]) -> Chain:
        try:
            parts = iter(layers)
        except TypeError:
            raise TypeError(f"layers must be an iterable of Conv, got {type(layers).__name__}") from None
        return super().__new__(cls, tuple(parts))  # what a generator raises is its own

    @property
    def layers(self) -> tuple[Conv, ...]:
        """The layers, the first one first."""
        return self._layers

    def __len__(self) -> int:
        return len(self._layers)

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        return super().__reduce_ex__(max(operator.index(protocol), 2))  # 0 and 1 know no arguments of __new__

    def __getnewargs__(self) -> tuple[tuple[Conv, ...]]:
        return (self._layers,)

    def __repr__(self) -> str:
        return f"{type(self).__name__}([{', '.join(map(repr, self._layers))}])"


_core.inherit_vectorcall(Chain)
