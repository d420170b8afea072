"""Reads arrays from untrusted files, and writes result files completely or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from .parser import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

NPY_MAGIC = b"\x93NUMPY"


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


def _temporary(path: str) -> tuple[str, str]:
    """Return the file behind a symbolic link, and a unique name in the directory of this file.

    If the caller replaces that file, the link stays.
    """
    target = os.path.realpath(path)
    return target, os.path.join(os.path.dirname(target), f".pointwise-{secrets.token_hex(8)}.tmp")


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
    target, temporary = _temporary(path)
    try:
        try:
            with open(temporary, "xb") as file:
                yield file
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


def read_npy(path: str) -> NDArray[Any]:
    """Read an array from an .npy file. Never unpickles.

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
            file.seek(0)
            array: NDArray[Any] = np.load(file, allow_pickle=False)
            return array
    except OSError as error:
        raise CommandError(f"{path}: cannot be read: {_reason(error)}") from error
    except MemoryError as error:
        raise CommandError(f"{path}: does not fit into memory: {error}") from error
    except CommandError:
        raise
    except Exception as error:  # a damaged header can cause nearly any exception
        pickled = "Object arrays" in str(error)
        what = "holds pickled Python objects, not numbers" if pickled else f"truncated or damaged: {error}"
        raise CommandError(f"{path}: {what}") from error
