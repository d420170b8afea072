"""Chooses the fastest of several forms of a contender. A form is a way to compute a layer."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from .timing import Effort, time_block, time_in_turn

if TYPE_CHECKING:
    from .operands import Forms
    from .timing import Timer

FIRST = Effort(seconds=0.0, block=2e-4, rounds=1)
AGAIN = Effort(seconds=0.0, block=1e-3, rounds=4)
SLOWER = 1.5  # forms that take longer than this multiple of the fastest are not timed again


def fastest_form(forms: Forms, first: Effort = FIRST, again: Effort = AGAIN) -> str:
    """Return the name of the fastest form.

    Parameters
    ----------
    forms : dict of callable
        Calls by form, at least one. Their results must have been checked.
    first, again : Effort
        Durations of the comparison of all forms, and of the comparison of the forms that are nearly as fast as the
        fastest.
    """
    if len(forms) == 1:
        return next(iter(forms))
    timers: dict[str, Timer] = {form: functools.partial(time_block, call) for form, call in forms.items()}
    seconds = time_in_turn(timers, 0.0, first)
    near = {form: timer for form, timer in timers.items() if seconds[form] <= SLOWER * min(seconds.values())}
    seconds = time_in_turn(near, 0.0, again) if len(near) > 1 else seconds
    return min(near, key=seconds.__getitem__)
