"""Words of messages."""

from __future__ import annotations

__all__ = ["shown"]

LONGEST = 200


def shown(obj: object) -> str:
    """Return `repr(obj)` as a message can have it: not longer than a few lines, and of every object.

    Parameters
    ----------
    obj : object
        What came.

    Returns
    -------
    str
        Its repr, cut where it is long; the name of its type where it has none, as integers beyond Python's limit of
        digits, tuples nested too deeply, and objects whose own `__repr__` fails.
    """
    try:
        text = repr(obj)
        text.encode()  # a lone surrogate cannot be printed
    except Exception:
        return f"<{type(obj).__name__}>"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
