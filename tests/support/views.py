"""Kinds of views. For each kind, functions make a buffer and return a view of the buffer.

The rest of the buffer is poison: all bits are set, which gives NaN. If a call reads outside the view, the result is
wrong. `assert_wrote_only` finds a write outside the view.
"""

import numpy as np


def _each(shape, make):
    return tuple(make(size) for size in shape)


def _misaligned(base, shape, dtype):
    nbytes = int(np.prod(shape)) * dtype.itemsize
    return base[1 : 1 + nbytes].view(dtype).reshape(shape)


def _record(dtype):
    return np.dtype([("tag", "u1"), ("value", dtype)])  # 5 or 9 bytes, so strides are no multiples of the item size


# name: (makes the buffer for a shape and dtype, takes the array out of the buffer)
WAYS = {
    "contiguous": (np.empty, lambda base, shape, dtype: base),
    "strided": (
        lambda shape, dtype: np.empty(_each(shape, lambda n: 2 * n + 1), dtype),
        lambda base, shape, dtype: base[(slice(1, None, 2),) * len(shape)],
    ),
    "cropped": (
        lambda shape, dtype: np.empty(_each(shape, lambda n: n + 2), dtype),
        lambda base, shape, dtype: base[(slice(1, -1),) * len(shape)],
    ),
    "transposed": (lambda shape, dtype: np.empty(shape[::-1], dtype), lambda base, shape, dtype: base.T),
    "rolled": (
        lambda shape, dtype: np.empty(shape[1:] + shape[:1], dtype),
        lambda base, shape, dtype: np.moveaxis(base, -1, 0),
    ),
    "channel second": (
        lambda shape, dtype: np.empty(shape[:1] + shape[-1:] + shape[1:-1] if len(shape) > 1 else shape, dtype),
        lambda base, shape, dtype: np.moveaxis(base, 1, -1) if len(shape) > 1 else base,
    ),
    "negative": (np.empty, lambda base, shape, dtype: base[(slice(None, None, -1),) * len(shape)]),
    "misaligned": (
        lambda shape, dtype: np.empty(int(np.prod(shape)) * dtype.itemsize + 9, np.uint8),
        _misaligned,
    ),
    "record": (lambda shape, dtype: np.empty(shape, _record(dtype)), lambda base, shape, dtype: base["value"]),
}


def empty(way, shape, dtype):
    """Return a view of this kind that is full of poison, and its buffer."""
    make, take = WAYS[way]
    shape, dtype = tuple(shape), np.dtype(dtype)
    base = make(shape, dtype)
    base.reshape(-1).view(np.uint8)[...] = 0xFF
    return take(base, shape, dtype), base


def put(way, array):
    """Return a copy of `array` as a view of this kind."""
    view, _ = empty(way, array.shape, array.dtype)
    view[...] = array
    return view


def assert_wrote_only(way, base, expected):
    """Check that the view in `base` has the bits of `expected`, and that the rest of `base` is still poison."""
    view, clean = empty(way, expected.shape, expected.dtype)
    view[...] = expected
    assert base.tobytes() == clean.tobytes()
