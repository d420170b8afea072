"""Chooses the fastest of several forms of a contender. A form is a way to compute a layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .timing import time_block

if TYPE_CHECKING:
    from .operands import Forms

BLOCK, ROUNDS = 5e-4, 3  # seconds of a timing block, and number of rounds
SLOWER = 2.0  # a form is left out if a single call takes more than this multiple of the fastest call


def fastest_form(forms: Forms, block: float = BLOCK, rounds: int = ROUNDS) -> str:
    """Return the name of the fastest form.

    Parameters
    ----------
    forms : dict of callable
        Calls by form, at least one. Their results must have been checked.
    block : float
        Duration of a timing block in seconds.
    rounds : int
        Number of timing blocks of each form that is not left out. Forms take turns.
    """
    if len(forms) == 1:
        return next(iter(forms))
    # Uses the faster of two calls, because a delay of a single call would leave out the fastest form.
    once = {form: min(time_block(call, 1).seconds for _ in range(2)) for form, call in forms.items()}
    least = min(once.values())
    best = {form: seconds for form, seconds in once.items() if seconds <= SLOWER * least}
    repetitions = max(1, int(block / max(least, 1e-7)))
    for _ in range(rounds if len(best) > 1 else 0):
        for form in best:
            best[form] = min(best[form], time_block(forms[form], repetitions).seconds)
    return min(best, key=best.__getitem__)
