"""Arrays whose first or last byte is next to an inaccessible page. An access to this page ends the process.

Use such arrays only in child processes (see test_bounds.py), because a fault would end the whole test run.
"""

import ctypes
import mmap

import numpy as np

PAGE = mmap.PAGESIZE
PATTERN = 0xA5
SIDES = ("begin", "end")
_libc = ctypes.CDLL(None, use_errno=True)


def extent(array):
    """Return the offset of the lowest byte from the first element, and the bytes from the lowest to the highest."""
    if array.size == 0:
        return 0, 0
    steps = [(n - 1) * step for n, step in zip(array.shape, array.strides, strict=True)]
    low = sum(step for step in steps if step < 0)
    return low, sum(map(abs, steps)) + array.itemsize


class Pages:
    """Memory that is filled with a pattern and lies between two inaccessible pages."""

    def __init__(self, nbytes):
        self.size = -(-nbytes // PAGE) * PAGE
        self.memory = mmap.mmap(-1, self.size + 2 * PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.bytes = np.ndarray(self.size, np.uint8, self.memory, PAGE)
        self.bytes[...] = PATTERN
        first = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        for page in (first, first + PAGE + self.size):
            if _libc.mprotect(ctypes.c_void_p(page), ctypes.c_size_t(PAGE), 0) != 0:
                raise OSError(ctypes.get_errno(), "mprotect")


class Guarded:
    """An array at one side of guarded memory, with the shape, dtype and strides of the array `like`.

    An array without elements begins on the inaccessible page.
    """

    def __init__(self, like, side):
        low, nbytes = extent(like)
        self.pages = Pages(nbytes)
        begin = 0 if side == "begin" and nbytes else self.pages.size - nbytes
        self.where = {"shape": like.shape, "dtype": like.dtype, "strides": like.strides}
        self.offset = begin - low
        self.array = np.ndarray(buffer=self.pages.memory, offset=PAGE + self.offset, **self.where)

    def assert_wrote_only(self, expected):
        """Check that the array has the bits of `expected`, and that the rest still holds the pattern."""
        clean = np.full_like(self.pages.bytes, PATTERN)
        if clean.size:
            np.ndarray(buffer=clean, offset=self.offset, **self.where)[...] = expected
        if clean.tobytes() == self.pages.bytes.tobytes():  # for small arrays much faster than the next line
            return
        wrong = np.flatnonzero(clean != self.pages.bytes)
        raise AssertionError(f"{wrong.size} bytes differ, the first at {wrong[0]} of {clean.size}")


def put(array, side):
    """Return a guarded copy of `array`, with the same strides."""
    guarded = Guarded(array, side).array
    guarded[...] = array
    return guarded
