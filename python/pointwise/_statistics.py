"""Gram matrices and covariances of channels, summed over all pixels."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _core
from ._arguments import as_dtype, as_source, shown, sum_dtype

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, DTypeLike, NDArray
    from typing_extensions import Self

__all__ = ["Covariance", "covariance", "gram"]

# Elements of a block of pixels that is converted or centred. With smaller blocks, the C x C sums take longer.
BLOCK = 1 << 20
SUMS = ("float32", "float64")
# Maximum share of the sum of squares that the correction for the mean may take away.
MOST_CANCELLED = 0.75
MAX_AXES = 5  # of an array that the core takes
LAYOUTS = ["NCHW", "NHWC", "NCW", "NWC", "NCDHW", "NDHWC", "NC", "CHW", "HWC", "CW", "WC", "CDHW", "DHWC", "C"]


def _given_axis(axis: int, layout: str | None) -> tuple[int, str | None]:
    """Return the axis of channels that `axis` or `layout` names, and the checked layout in upper case."""
    if layout is None:
        try:
            return operator.index(axis), None
        except TypeError:
            raise TypeError(f"axis must be an integer, got {type(axis).__name__}") from None
    if not isinstance(layout, str):
        raise TypeError(f"layout must be a string, got {type(layout).__name__}")
    name = layout.upper()
    if name not in LAYOUTS:
        raise ValueError(f"layout must be one of {', '.join(LAYOUTS)}, got {layout!r}")
    if axis != -1:
        raise TypeError(f"layout names the axis of channels, so axis must be left out, got {shown(axis)}")
    return name.index("C"), name


def _axis_of(axis: int, layout: str | None, x: NDArray[Any]) -> int:
    """Return the axis of channels, counted from the front."""
    axis, name = _given_axis(axis, layout)
    if name is not None and len(name) != x.ndim:
        raise ValueError(f"x must have the {len(name)} axes of layout {name}, got shape {x.shape}")
    if x.ndim == 0:
        raise ValueError("x must have at least one axis, got shape ()")
    if not -x.ndim <= axis < x.ndim:
        limits = f"at least {-x.ndim} and less than {x.ndim}"
        raise ValueError(f"axis must be {limits} for x of shape {x.shape}, got {shown(axis)}")
    return axis % x.ndim


def _gram(x: NDArray[Any], y: NDArray[Any] | None, axis: int) -> NDArray[Any]:
    """Call the core. Merges the axes of pixels if there are too many for the core, which may copy the arrays."""

    def merged(a: NDArray[Any]) -> NDArray[Any]:
        return np.moveaxis(a, axis, 0).reshape(a.shape[axis], a.size // max(a.shape[axis], 1))

    if x.ndim > MAX_AXES:
        return _core.gram(merged(x), None if y is None else merged(y), 0)
    return _core.gram(x, y, axis)


def _blocks(shape: tuple[int, ...], axis: int) -> Iterator[tuple[slice, ...]]:
    """Yield indices of blocks of pixels in C order. A block has at most BLOCK elements, or a single pixel."""
    others = [i for i in range(len(shape)) if i != axis]
    size, whole = shape[axis], len(others)  # size of a block, and the first axis of pixels that is not cut
    while whole > 0 and size * shape[others[whole - 1]] <= BLOCK:
        whole -= 1
        size *= shape[others[whole]]
    index = [slice(None)] * len(shape)
    if whole == 0:
        yield tuple(index)
        return
    cut = others[whole - 1]
    parts = -(-shape[cut] // max(1, BLOCK // max(size, 1)))
    for outer in np.ndindex(*(shape[i] for i in others[: whole - 1])):
        for i, at in zip(others, outer, strict=False):
            index[i] = slice(at, at + 1)
        for part in range(parts):
            index[cut] = slice(part * shape[cut] // parts, (part + 1) * shape[cut] // parts)
            yield tuple(index)


def gram(
    x: ArrayLike,
    y: ArrayLike | None = None,
    *,
    axis: int = -1,
    layout: str | None = None,
    dtype: DTypeLike | None = None,
) -> NDArray[Any]:
    """Sum the products of channels over all pixels.

    Computes, for the vectors v of `x` and w of `y` along `axis`, at all positions p of the other axes::

        result[i, j] = sum_p v[p, i] * w[p, j]

    The result equals ``np.tensordot(x, y, (others, others))``. Here `others` are all axes except `axis`. The function
    takes one pass and reads the arrays in place. If `y` is None, `x` takes the place of `y`.

    Parameters
    ----------
    x : array_like of float32, float64, float16, bfloat16, uint8, int8, uint16 or int16
        Array with at least one axis. Any strides are allowed.
    y : array_like, optional
        Array with the shape of `x`, except for the length of `axis`. If `x` is float64, `y` is float64. Otherwise `y`
        may have any dtype of x except float64.
    axis : int
        Axis of the channels. Negative numbers count from the last axis.
    layout : str, optional
        Names of the axes of `x`, as for :func:`conv`. Names the axis of channels in place of `axis`.
    dtype : dtype_like, optional
        Dtype of the sums and of the result: float32 or float64. If None, float64 for float64 `x`, else float32.
        With float64, blocks of `x` and `y` are converted to float64.

    Returns
    -------
    ndarray
        New array of shape (C_x, C_y): the lengths of `x` and `y` along `axis`.

    Raises
    ------
    ValueError
        If the shapes of `x` and `y` do not fit each other, `axis` is out of range, or `layout` does not fit `x`.
    TypeError
        If an argument has a wrong type or dtype, or both `axis` and `layout` are given.
    MemoryError
        If memory for the result or for the computation cannot be allocated.

    See Also
    --------
    covariance : subtracts the mean of each channel.
    conv_grad_weight : documents the order of the sum and the bound of its error.

    Notes
    -----
    Pixels are counted in C order. The number of threads and the strides change no bits. If an array has more than five
    axes, its pixels may be copied.

    Examples
    --------
    >>> import numpy as np
    >>> import pointwise as pw
    >>> image = np.arange(12, dtype=np.float32).reshape(2, 3, 2)  # two channels, last
    >>> pw.gram(image)
    array([[220., 250.],
           [250., 286.]], dtype=float32)
    """
    xs = as_source(x, "x")
    ys = None if y is None else as_source(y, "y")
    at = _axis_of(axis, layout, xs)
    if ys is not None and (ys.ndim != xs.ndim or any(a != b for i, (a, b) in enumerate(_pairs(xs, ys)) if i != at)):
        message = "y must have the shape of x, except for the length of the axis of channels"
        raise ValueError(f"{message}, got shape {ys.shape} for x of shape {xs.shape}")
    wanted = None if dtype is None else as_dtype(dtype, SUMS)
    own = sum_dtype(xs.dtype)
    if wanted is None or wanted == own:
        return _gram(xs, ys, at)
    if wanted == np.float32:
        raise TypeError("dtype must be float64 or None for float64 x, got float32: pass x.astype(numpy.float32)")
    total = np.zeros((xs.shape[at], xs.shape[at] if ys is None else ys.shape[at]))
    for index in _blocks(xs.shape, at):
        total += _gram(xs[index].astype(np.float64), None if ys is None else ys[index].astype(np.float64), at)
    return total


def _pairs(x: NDArray[Any], y: NDArray[Any]) -> Iterator[tuple[int, int]]:
    return zip(x.shape, y.shape, strict=True)


class _Centred:
    """Sums of differences from a centre near the mean, and of their products, over blocks of pixels.

    All blocks have the same centre, so that a block costs one addition of a matrix. The differences have one more
    channel, of ones, so that the sums of differences are a row of the products.
    """

    def __init__(self, axis: int, dtype: np.dtype[Any], channels: int, centre: NDArray[np.float64] | None) -> None:
        self._axis, self._dtype, self._channels, self._centre = axis, dtype, channels, centre
        self._memory = np.empty(0, dtype)  # of the differences, because new memory is slow for each block
        self._checked = True
        self._clear()

    def _clear(self) -> None:
        self._count, self._products = 0, np.zeros((self._channels + 1, self._channels + 1))

    def add(self, block: NDArray[Any]) -> bool:
        """Add a block of pixels.

        If the centre is too far from the mean of the block, the correction for the mean would cancel digits. Then the
        function returns False and adds nothing. The next centre is the mean of this block.
        """
        axis, channels = self._axis, self._channels
        count = block.size // channels
        if self._centre is None:
            one = np.broadcast_to(self._dtype.type(1), [1 if i == axis else n for i, n in enumerate(block.shape)])
            self._centre = _gram(block.astype(self._dtype, copy=False), one, axis)[:, 0].astype(np.float64) / count
        if block.size + count > self._memory.size:  # blocks of one update differ by a pixel of the axis that is cut
            self._memory = np.empty(block.size + count, self._dtype)
        shape = [channels + 1 if i == axis else n for i, n in enumerate(block.shape)]
        apart = self._memory[: block.size + count].reshape(shape)
        by_channel = np.moveaxis(apart, axis, -1)
        self._used = self._centre.astype(self._dtype)
        np.subtract(np.moveaxis(block, axis, -1), self._used, out=by_channel[..., :channels], dtype=self._dtype)
        by_channel[..., channels] = 1
        products = _gram(apart, None, axis)
        sums = products[channels, :channels].astype(np.float64)
        squares = products.diagonal()[:channels].astype(np.float64)
        if self._checked and not (sums * sums <= MOST_CANCELLED * count * squares).all():
            self._next = self._used + sums / count
            return False
        self._checked = True
        self._count += count
        self._products += products
        return True

    def restart(self) -> None:
        """Forget all blocks, and take the mean of the block that was not added as centre."""
        self._clear()
        self._centre, self._checked = self._next, False

    def totals(self) -> tuple[int, NDArray[np.float64], NDArray[np.float64]]:
        """Return the number of pixels, their mean, and the sums of products of differences from the mean."""
        products = self._products[:-1, :-1]
        if self._count == 0:
            return 0, np.zeros(len(products)), products
        rest = self._products[-1, :-1] / self._count
        return self._count, self._used + rest, products - np.outer(rest, rest) * self._count


class Covariance:
    """Covariance of channels that is updated in pieces.

    Keeps the number of pixels, the mean of each channel and the sums of products of differences from the mean, in
    float64. :meth:`update` adds the pixels of an array, so an array that is larger than memory can be added piece by
    piece. :meth:`merge` adds the sums of another object, for example of another process. Objects can be pickled.

    Parameters
    ----------
    axis : int
        Axis of the channels in the arrays that :meth:`update` takes. Negative numbers count from the last axis.
    layout : str, optional
        Names of the axes of these arrays, as for :func:`conv`. Names the axis of channels in place of `axis`.
    dtype : dtype_like, optional
        Dtype of the products within a block of pixels: float32 or float64. If None, the dtype of each array, or float32
        for integer arrays. The sums over blocks are float64.

    Attributes
    ----------
    count : int
        Number of pixels so far.
    mean : ndarray of float64 or None
        Mean of each channel. None before the first update.

    Raises
    ------
    TypeError
        If `axis` is not an integer, `dtype` is neither float32 nor float64, or both `axis` and `layout` are given.
    ValueError
        If `layout` is unknown.

    See Also
    --------
    covariance : computes the covariance of one array.

    Notes
    -----
    Before products are summed, a centre near the mean is subtracted from each block of pixels. Blocks are merged with
    the formula of Chan, Golub and LeVeque. So a large mean, or a mean that changes from block to block, loses no
    digits. The number of threads changes no bits. But other pieces can change bits, because they change the blocks.

    Examples
    --------
    >>> import numpy as np
    >>> import pointwise as pw
    >>> cube = np.random.default_rng(0).random((5, 64, 64), np.float32)  # bands, lines, samples
    >>> total = pw.Covariance(axis=0)
    >>> for first in range(0, 64, 16):
    ...     _ = total.update(cube[:, first : first + 16])
    >>> total.count, bool(np.allclose(total.result(), np.cov(cube.reshape(5, -1))))
    (4096, True)
    """

    count: int
    mean: NDArray[np.float64] | None

    def __init__(self, *, axis: int = -1, layout: str | None = None, dtype: DTypeLike | None = None) -> None:
        given, self._layout = _given_axis(axis, layout)
        self._axis = -1 if layout else given
        self._dtype = None if dtype is None else as_dtype(dtype, SUMS)
        self.count = 0
        self.mean = None
        self._products: NDArray[np.float64] = np.zeros((0, 0))

    def update(self, x: ArrayLike) -> Self:
        """Add the pixels of an array.

        Parameters
        ----------
        x : array_like of float32, float64, float16, bfloat16, uint8, int8, uint16 or int16
            Array with at least one axis. Its length along the axis of channels must be the same in all updates.

        Returns
        -------
        Covariance
            The object itself.

        Raises
        ------
        ValueError
            If `x` has a wrong number of channels or axes, or the axis is out of range.
        TypeError
            If `x` has a wrong type or dtype.
        MemoryError
            If memory for the computation cannot be allocated. Then a part of the pixels of `x` may have been added.
        """
        array = as_source(x, "x")
        axis = _axis_of(self._axis, self._layout, array)
        channels = array.shape[axis]
        if self.mean is None:
            self.mean, self._products = np.zeros(channels), np.zeros((channels, channels))
        elif len(self.mean) != channels:
            got = f"got shape {array.shape} and axis {axis if self._layout else self._axis}"
            raise ValueError(f"x must have {len(self.mean)} channels, as in the updates before, {got}")
        dtype = self._dtype or sum_dtype(array.dtype)
        if array.size == 0:
            return self
        centred = _Centred(axis, dtype, channels, self.mean if self.count else None)
        for index in _blocks(array.shape, axis):
            if not centred.add(array[index]):
                self._add(*centred.totals())
                centred.restart()
                centred.add(array[index])
        self._add(*centred.totals())
        return self

    def merge(self, other: Covariance) -> Self:
        """Add the pixels that another object has summed.

        Parameters
        ----------
        other : Covariance
            Object with the same number of channels. It does not change.

        Returns
        -------
        Covariance
            The object itself.

        Raises
        ------
        TypeError
            If `other` is not a Covariance.
        ValueError
            If `other` has another number of channels.
        """
        if not isinstance(other, Covariance):
            raise TypeError(f"other must be a Covariance, got {type(other).__name__}")
        if other.mean is None:
            return self
        if self.mean is None:
            self.count, self.mean, self._products = other.count, other.mean.copy(), other._products.copy()
            return self
        if len(self.mean) != len(other.mean):
            raise ValueError(f"other must have {len(self.mean)} channels, got {len(other.mean)}")
        self._add(other.count, other.mean, other._products)
        return self

    def result(self, *, ddof: int = 1) -> NDArray[np.float64]:
        """Return the covariance of the pixels so far.

        Parameters
        ----------
        ddof : int
            The sums are divided by the number of pixels minus `ddof`.

        Returns
        -------
        ndarray of float64
            New symmetric matrix of shape (C, C).

        Raises
        ------
        ValueError
            If the number of pixels is not larger than `ddof`.
        TypeError
            If `ddof` is not an integer.
        """
        return self._products / _divisor(self.count, ddof)

    def _add(self, count: int, mean: NDArray[np.float64], products: NDArray[np.float64]) -> None:
        """Merge the sums of `count` pixels."""
        if count == 0 or self.mean is None:
            return
        total, apart = self.count + count, mean - self.mean
        self._products += products
        self._products += np.outer(apart, apart) * (self.count * (count / total))
        self.mean = self.mean + apart * (count / total)
        self.count = total


def _divisor(count: int, ddof: int) -> int:
    try:
        ddof = operator.index(ddof)
    except TypeError:
        raise TypeError(f"ddof must be an integer, got {type(ddof).__name__}") from None
    if count <= ddof:
        raise ValueError(f"ddof must be less than the number of pixels, {count}, got {ddof}")
    return count - ddof


def covariance(
    x: ArrayLike,
    *,
    axis: int = -1,
    layout: str | None = None,
    mean: ArrayLike | None = None,
    ddof: int = 1,
    dtype: DTypeLike | None = None,
) -> NDArray[np.float64]:
    """Compute the covariance of channels over all pixels.

    The result equals ``np.cov(np.moveaxis(x, axis, 0).reshape(C, -1), ddof=ddof)`` within the rounding errors. The
    function takes one pass over `x` and makes no full copy of `x`.

    Parameters
    ----------
    x : array_like of float32, float64, float16, bfloat16, uint8, int8, uint16 or int16
        Array with at least one axis, for example a memory-mapped cube. Any strides are allowed.
    axis : int
        Axis of the channels. Negative numbers count from the last axis.
    layout : str, optional
        Names of the axes of `x`, as for :func:`conv`. Names the axis of channels in place of `axis`.
    mean : array_like, shape (C,), optional
        Known mean of each channel. If None, it is computed in the same pass. If it is given, pass ``ddof=0`` for the
        mean of the products.
    ddof : int
        The sums are divided by the number of pixels minus `ddof`.
    dtype : dtype_like, optional
        Dtype of the products within a block of pixels, as for :class:`Covariance`.

    Returns
    -------
    ndarray of float64
        New symmetric matrix of shape (C, C).

    Raises
    ------
    ValueError
        If the number of pixels is not larger than `ddof`, `axis` is out of range, `layout` does not fit `x`, or `mean`
        has a wrong shape.
    TypeError
        If an argument has a wrong type or dtype, or both `axis` and `layout` are given.
    MemoryError
        If memory for the result or for the computation cannot be allocated.

    See Also
    --------
    Covariance : takes the pixels in pieces.
    gram : does not subtract the mean.

    Examples
    --------
    >>> import numpy as np
    >>> import pointwise as pw
    >>> image = np.arange(12, dtype=np.float32).reshape(2, 3, 2)
    >>> pw.covariance(image)
    array([[14., 14.],
           [14., 14.]])
    """
    array = as_source(x, "x")
    at = _axis_of(axis, layout, array)
    sums = Covariance(axis=at, dtype=dtype)
    centre = None if mean is None else _as_mean(mean, array, at)
    sums.update(array)
    result = sums.result(ddof=ddof)
    if centre is None or sums.mean is None:
        return result
    apart = sums.mean - centre
    return result + np.outer(apart, apart) * (sums.count / _divisor(sums.count, ddof))


def _as_mean(mean: ArrayLike, x: NDArray[Any], axis: int) -> NDArray[np.float64]:
    try:
        centre = np.asarray(mean, np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"mean must be numbers, got {type(mean).__name__}") from error
    if centre.shape != (x.shape[axis],):
        raise ValueError(f"mean must have shape ({x.shape[axis]},), got {centre.shape} for x of shape {x.shape}")
    return centre
