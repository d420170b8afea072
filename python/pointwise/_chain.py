"""The class `Chain`: several layers in one pass over the pixels."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, SupportsIndex

from . import _core
from ._conv import Conv
from ._qconv import QConv

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import ArrayLike, NDArray

__all__ = ["Chain"]


class Chain(_core.Chain):
    """Chain of pointwise layers, computed in one pass over the pixels.

    A call ``chain(x, residual=None, out=None)`` gives the same bits as
    ``layers[-1](...layers[1](layers[0](x)), residual, out)``. The arguments mean the same as in a call of
    :class:`Conv`.

    Chains are immutable and picklable. Several threads may call a chain at the same time.

    Parameters
    ----------
    layers : iterable of Conv, or iterable of QConv
        At least one layer. The output channels of a layer are the input channels of the next layer. All layers have
        the same layout, and no padding. The first layer may have any stride. All other layers have stride 1. Each layer
        reads the dtype of the results of the previous layer. A float32 layer may also read integers.

    Raises
    ------
    ValueError
        If there are no layers, or if a layer does not fit the others.
    TypeError
        If `layers` is neither an iterable of `Conv` nor an iterable of `QConv`.

    See Also
    --------
    Conv : computes a single layer.

    Notes
    -----
    A chain computes all layers for a small strip of pixels, which stays in the cache. So a chain does not write the
    arrays between layers to memory. These arrays often have the most channels.

    Each layer has its own activation. `residual` is added before the activation of the last layer.

    Between two layers, numbers have the dtype of the results of the first of the two layers: its `out_dtype`, or its
    dtype. So a chain of 16-bit layers rounds these numbers to 16 bits. A layer with an integer `out_dtype` must read
    integers.

    Two examples of chains: the mlpconv layer of Lin, Chen and Yan, "Network In Network", 2013, and the layers
    C -> 4C -> C of ConvNeXt (Liu et al., "A ConvNet for the 2020s", 2022).

    Examples
    --------
    >>> import numpy as np
    >>> import pointwise as pw
    >>> wide = pw.Conv(np.ones((384, 96), np.float32), activation="gelu")
    >>> narrow = pw.Conv(np.ones((96, 384), np.float32))
    >>> x = np.ones((1, 96, 14, 14), np.float32)
    >>> pw.Chain([wide, narrow])(x, residual=x).shape
    (1, 96, 14, 14)
    """

    __slots__ = ("__weakref__",)

    def __new__(cls, layers: Iterable[Conv] | Iterable[QConv]) -> Chain:
        try:
            parts = iter(layers)
        except TypeError:
            raise TypeError(f"layers must be an iterable of Conv or QConv, got {type(layers).__name__}") from None
        return super().__new__(cls, tuple(parts))  # outside of try: exceptions of a generator stay unchanged

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if cls.__call__ is Chain.__call__:
            _core.inherit_vectorcall(cls, False)

    # Calls of a chain reach the extension directly, by vectorcall. This method serves help() and subclasses.
    def __call__(
        self, x: ArrayLike, residual: NDArray[Any] | None = None, out: NDArray[Any] | None = None
    ) -> NDArray[Any]:
        """Compute all layers.

        Parameters
        ----------
        x : array_like
            Input of the first layer, as in a call of :class:`Conv`.
        residual : ndarray, optional
            Array that is added before the activation of the last layer. It must have the shape and the dtype of the
            result. It must be None for a chain of `QConv`.
        out : ndarray, optional
            Array that receives the result and is returned, as for :func:`conv`. It may be `residual` itself.

        Returns
        -------
        ndarray
            `out`, or a new C-contiguous array: the result of the last layer.

        Raises
        ------
        ValueError, TypeError, MemoryError
            As for a call of :class:`Conv`.

        See Also
        --------
        Conv.__call__ : computes a single layer.

        Examples
        --------
        >>> import numpy as np
        >>> import pointwise as pw
        >>> layer = pw.Conv([[1.0, 1.0], [1.0, -1.0]], layout="C")
        >>> pw.Chain([layer, layer])(np.array([1.0, 3.0]))
        array([2., 6.])
        """
        return super().__call__(x, residual, out)

    @property
    def __name__(self) -> str:  # see Conv
        """Name of the class, such as "Chain"."""
        return type(self).__name__  # type: ignore[return-value]  # the name of the class, not this property

    @property
    def layers(self) -> tuple[Any, ...]:
        """Layers, in the order in which they are computed."""
        return self._layers

    def explain(self, x_shape: Sequence[int]) -> str:
        """Describe how a call computes a C-contiguous `x` of this shape.

        Parameters
        ----------
        x_shape : sequence of int
            Shape of x, with the axes that the layout of the layers names.

        Returns
        -------
        str
            Lines of text: the strips and the threads. Then, for each layer, the text of :meth:`Conv.explain` or
            :meth:`QConv.explain` for one strip.

        Raises
        ------
        ValueError
            If `x_shape` does not fit the first layer.
        TypeError
            If `x_shape` is not a sequence of integers.

        Examples
        --------
        >>> import numpy as np
        >>> import pointwise as pw
        >>> chain = pw.Chain([pw.Conv(np.ones((64, 16), np.float32)), pw.Conv(np.ones((8, 64), np.float32))])
        >>> print(chain.explain((1, 16, 112, 112)))
        1 image(s) of ... strip(s), at most ... pixels each; ...
        """
        return self._explain(x_shape).rstrip()

    def __len__(self) -> int:
        return len(self._layers)

    def __reduce_ex__(self, protocol: SupportsIndex) -> str | tuple[Any, ...]:
        return super().__reduce_ex__(max(operator.index(protocol), 2))  # protocols 0 and 1 pass no arguments to __new__

    def __getnewargs__(self) -> tuple[tuple[Any, ...]]:
        return (self._layers,)

    def __repr__(self) -> str:
        return f"{type(self).__name__}([{', '.join(map(repr, self._layers))}])"


_core.inherit_vectorcall(Chain, True)
