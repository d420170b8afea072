"""Chooses the fastest of several forms of a contender. A form is a way to compute a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from .timing import time_block

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .timing import Block

C = TypeVar("C", bound="Callable[[], Any]")

BLOCK, ROUNDS = 5e-4, 3  # seconds of a timing block, and number of rounds
SLOWER = 2.0  # a form is left out if a single call takes more than this multiple of the fastest call


def fastest_form(
    forms: Mapping[str, C], block: float = BLOCK, rounds: int = ROUNDS, timed: Callable[[C, int], Block] | None = None
) -> str:
    """Return the name of the fastest form.

    Parameters
    ----------
    forms : dict of callable
        Calls by form, at least one. Their results must have been checked.
    block : float
        Duration of a timing block in seconds.
    rounds : int
        Number of timing blocks of each form that is not left out. Forms take turns.
    timed : callable
        Takes a call and a number of repetitions, and returns a timing block. None stands for `time_block`.
    """
    time_form: Callable[[C, int], Block] = time_block if timed is None else timed
    if len(forms) == 1:
        return next(iter(forms))
    # Uses the faster of two calls, because a delay of a single call would leave out the fastest form.
    once = {form: min(time_form(call, 1).seconds for _ in range(2)) for form, call in forms.items()}
    least = min(once.values())
    best = {form: seconds for form, seconds in once.items() if seconds <= SLOWER * least}
    repetitions = max(1, int(block / max(least, 1e-7)))
    for _ in range(rounds if len(best) > 1 else 0):
        for form in best:
            best[form] = min(best[form], time_form(forms[form], repetitions).seconds)
    return min(best, key=best.__getitem__)
