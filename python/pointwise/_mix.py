"""The function `mix`, which applies a matrix along one axis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, overload

from . import _core

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, DTypeLike, NDArray

    from ._arguments import Activation, Float, Integer, Out, Result

__all__ = ["mix"]


@overload
def mix(
    x: NDArray[Float],
    matrix: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    axis: int = -1,
    activation: Activation = None,
    out: None = None,
    out_dtype: None = None,
) -> NDArray[Float]: ...
@overload
def mix(
    x: NDArray[Integer],
    matrix: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    axis: int = -1,
    activation: Activation = None,
    out: None = None,
    out_dtype: None = None,
) -> NDArray[np.float32]: ...
@overload
def mix(
    x: ArrayLike,
    matrix: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    axis: int = -1,
    activation: Activation = None,
    out: None = None,
    out_dtype: type[Result] | np.dtype[Result],
) -> NDArray[Result]: ...
@overload
def mix(
    x: ArrayLike,
    matrix: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    axis: int = -1,
    activation: Activation = None,
    out: Out,
    out_dtype: DTypeLike | None = None,
) -> Out: ...
@overload
def mix(
    x: ArrayLike,
    matrix: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    axis: int = -1,
    activation: Activation = None,
    out: NDArray[Any] | None = None,
    out_dtype: DTypeLike | None = None,
) -> NDArray[Any]: ...
def mix(
    x: ArrayLike,
    matrix: ArrayLike,
    bias: ArrayLike | None = None,
    *,
    axis: int = -1,
    activation: Activation = None,
    out: NDArray[Any] | None = None,
    out_dtype: DTypeLike | None = None,
) -> NDArray[Any]:
    """Mix the channels of an array of any rank with a matrix.

    Computes, for every vector v of `x` along `axis`::

        act(matrix @ v + bias)

    Without bias and activation, the result equals ``np.moveaxis(np.tensordot(matrix, x, (1, axis)), 0, axis)``. The
    function takes one pass over `x` and reads `x` in place.

    Parameters
    ----------
    x : array_like of float32, float64, float16, bfloat16, uint8, int8, uint16 or int16
        Input with at least one axis. A strided view is read in place, without a full copy.
    matrix : array_like, shape (K, C) or (N, K, C)
        One matrix, or one matrix for each index of the first axis of `x`. C is the length of `x` along `axis`. The
        matrix is cast to the dtype of `x`, or to float32 for integer `x`, by the rule "same_kind" of
        ``numpy.can_cast``. Lists of numbers are accepted.
    bias : array_like, shape (K,), optional
        One number for each output channel, which is added to the sum. The bias is cast like `matrix`, but for float16
        and bfloat16 `x` to float32.
    axis : int
        Axis of the channels. Negative numbers count from the last axis. If there are several matrices, the axis must
        not be the first one.
    activation : None, str or tuple
        Function that is applied to the sum and the bias, as for :func:`conv`.
    out : ndarray, optional
        Array that receives the result and is returned. It must be writable and have the shape of the result. It must
        have the dtype of the result or, if `out_dtype` is None, any dtype that `out_dtype` may be. Any strides are
        allowed. `out` must not share any element with another argument.
    out_dtype : dtype_like, optional
        Dtype of the result. If None, the dtype of `x`, or float32 for integer `x`. It may be float32, float16 or
        bfloat16, unless `x` is float64. Each number is rounded once, after the activation. For integer `x`, it may also
        be uint8, int8, uint16 or int16. Then each number is rounded to the nearest integer, half to even. A number
        outside the range of the dtype becomes the smallest or largest number of the dtype, and NaN becomes 0.

    Returns
    -------
    ndarray
        `out`, or a new C-contiguous array. Its shape is the shape of `x` with K in place of C.

    Raises
    ------
    ValueError
        If a shape is wrong, `axis` or a parameter of the activation is out of range, `out` overlaps another argument,
        or two indices of `out` refer to one element.
    TypeError
        If an argument has a wrong type or dtype, is a masked array, or has non-native byte order.
    MemoryError
        If memory for the result or for the computation cannot be allocated.

    See Also
    --------
    conv : computes pointwise convolutions with stride, padding, groups and a residual.
    Conv : packs the weights once, which makes repeated calls faster.

    Notes
    -----
    The result has the bits of :func:`conv`, and the same bound for its error (see :class:`Conv`). If axes of `x` cannot
    be merged into four, the function calls the kernels several times. If memory runs out between two of these calls, a
    part of `out` may be written.

    Examples
    --------
    >>> import numpy as np
    >>> import pointwise as pw
    >>> image = np.ones((480, 640, 3), np.float32)
    >>> pw.mix(image, [[0.299, 0.587, 0.114]]).shape  # RGB to grey
    (480, 640, 1)
    >>> pixel = np.array([10, 100, 250], np.uint8)
    >>> pw.mix(pixel, [[0.5, 0.5, 0], [0, 0, 2], [-1, 0, 0]], out_dtype=np.uint8)
    array([ 55, 255,   0], dtype=uint8)
    >>> pw.mix([[1.0, 2.0], [3.0, 4.0]], [[1, 1]], [10], axis=0)
    array([[14., 16.]])
    """
    return _core.mix(x, matrix, bias, axis, activation, out, out_dtype)
