"""Maps arrays in untrusted files, and writes result files completely or not at all."""

from __future__ import annotations

import contextlib
import errno
import math
import os
import secrets
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from .._arguments import as_dtype
from .parser import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

NPY_MAGIC = b"\x93NUMPY"
LEAST_MAPPED = 1 << 20  # bytes; smaller files are read


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


def _temporary(path: str) -> tuple[str, str]:
    """Return the file behind a symbolic link, and a unique name in the directory of this file.

    If the caller replaces that file, the link stays.
    """
    target = os.path.realpath(path)
    return target, os.path.join(os.path.dirname(target), f".pointwise-{secrets.token_hex(8)}.tmp")


@contextlib.contextmanager
def replacing_by_name(path: str) -> Iterator[str]:
    """Name a temporary file that replaces `path` when the ``with`` block succeeds. Otherwise `path` is unchanged.

    Parameters
    ----------
    path : str
        File to write. It may exist.

    Yields
    ------
    str
        Name of a file that does not exist, in the same directory. The block must create the file.

    Raises
    ------
    CommandError
        If `path` cannot be written.
    """
    target, temporary = _temporary(path)
    try:
        try:
            yield temporary
            os.replace(temporary, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
    except OSError as error:
        raise CommandError(f"{path}: cannot be written: {_reason(error)}") from error


def check_writable(path: str) -> None:
    """Check that `path` can be written, before any work is done.

    Parameters
    ----------
    path : str
        File to write later. The check does not change the file.

    Raises
    ------
    CommandError
        If `path` cannot be written.
    """
    target, temporary = _temporary(path)
    if not path or os.path.isdir(target) or path.endswith(os.sep):
        raise CommandError(f"{path or repr(path)}: cannot be written: not the name of a file")
    if os.path.exists(target) and not os.path.isfile(target):
        # os.replace would replace a device or a pipe by a regular file
        raise CommandError(f"{path}: cannot be written: not a regular file")
    if os.path.exists(target) and not os.access(target, os.W_OK):
        raise CommandError(f"{path}: cannot be written: it is read-only")
    directory = os.path.dirname(target)
    if not os.path.isdir(directory):
        raise CommandError(f"{path}: cannot be written: there is no directory {directory}")
    try:
        with open(temporary, "xb"):
            pass
        os.unlink(temporary)
    except (OSError, ValueError) as error:
        reason = _reason(error) if isinstance(error, OSError) else str(error)
        raise CommandError(f"{path}: cannot be written: {reason}") from error


@contextlib.contextmanager
def replacing(path: str) -> Iterator[IO[bytes]]:
    """Open a temporary file that replaces `path` when the ``with`` block succeeds. Otherwise `path` is unchanged.

    Parameters
    ----------
    path : str
        File to write. It may exist.

    Yields
    ------
    file
        Binary file in the same directory, open for writing.

    Raises
    ------
    CommandError
        If `path` cannot be written.
    """
    with replacing_by_name(path) as temporary, open(temporary, "xb") as file:
        yield file


def create_npy(path: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Create an .npy file for a C-contiguous array, and map the array.

    Parameters
    ----------
    path : str
        File to create.
    shape : tuple of int
        Shape of the array.
    dtype : dtype
        Dtype of the array.

    Returns
    -------
    ndarray
        The array of zeros in the file. What is written to the array goes to the file.

    Raises
    ------
    OSError
        If the file cannot be created, or the disk has no room for the array. The room is reserved, because writing to
        a mapped file on a full disk would end the process.
    """
    with open(path, "xb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        begin = file.tell()
        nbytes = math.prod(shape) * dtype.itemsize
        if nbytes == 0:
            return np.empty(shape, dtype)
        file.flush()
        reserve = getattr(os, "posix_fallocate", None)  # not on macOS
        try:
            if reserve is not None:
                reserve(file.fileno(), 0, begin + nbytes)
            else:
                file.truncate(begin + nbytes)
        except OverflowError as error:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG)) from error
    return np.asarray(np.memmap(path, dtype, "r+", begin, shape))


def _bfloat16(path: str) -> np.dtype[Any]:
    try:
        return as_dtype("bfloat16")
    except TypeError as error:
        raise CommandError(f"{path}: {error}") from error


def read_npy(path: str) -> NDArray[Any]:
    """Map an array in an .npy file. Never unpickles.

    NumPy writes arrays of bfloat16 as elements of 2 bytes without a meaning. They are read as bfloat16.

    Parameters
    ----------
    path : str
        File to read.

    Returns
    -------
    ndarray

    Raises
    ------
    CommandError
        If the file does not exist or does not hold a plain array. The message names the file.
    """
    try:
        with open(path, "rb") as file:
            if file.read(len(NPY_MAGIC)) != NPY_MAGIC:
                raise CommandError(f"{path}: not an .npy file")
            if file.seek(0, os.SEEK_END) < LEAST_MAPPED:  # numpy.memmap refuses arrays without elements
                file.seek(0)
                array: NDArray[Any] = np.load(file, allow_pickle=False)
            else:
                array = np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
        return array.view(_bfloat16(path)) if array.dtype == np.dtype("V2") else array
    except OSError as error:
        raise CommandError(f"{path}: cannot be read: {_reason(error)}") from error
    except MemoryError as error:
        raise CommandError(f"{path}: does not fit into memory: {error}") from error
    except CommandError:
        raise
    except Exception as error:  # a damaged header can cause nearly any exception
        pickled = "Object arrays" in str(error) or "Python objects" in str(error)
        what = "holds pickled Python objects, not numbers" if pickled else f"truncated or damaged: {error}"
        raise CommandError(f"{path}: {what}") from error
