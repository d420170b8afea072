"""Prepares the calls of contenders: builds all forms, checks all results, and chooses the fastest form.

A contender has several copies of a cold layer, each with its own x and weights. See `cold.py` for their timing.

The call of a network calls all of its layers, one after the other. Each layer has its own x and weights.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import backward
from .cold import ColdCalls, copies_of, time_cold
from .contenders import builder, case_of
from .forms import fastest_form
from .layers import Network
from .operands import operands
from .verify import check, check_few_channels, named_forms

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import TypeAlias

    from .layers import Case
    from .operands import Call, Forms

    AnyCall: TypeAlias = Callable[[], Any]
    Prepared: TypeAlias = dict[str, tuple[str, AnyCall]]


class OneAfterTheOther:
    """Call that makes all calls of a list."""

    def __init__(self, calls: Sequence[AnyCall]) -> None:
        self._calls = list(calls)

    def __call__(self) -> Any:
        """Make all calls. Return the result of the last one."""
        result = None
        for call in self._calls:
            result = call()
        return result


def prepare(names: Sequence[str], threads: int, job: Case | Network, layout: str) -> Prepared:
    """Return the fastest form and its call for each contender, after a check of all forms.

    Parameters
    ----------
    names : sequence of str
        Names of contenders.
    threads : int
        Number of threads of each contender.
    job : Case or Network
        A layer, or all layers of a network.
    layout : str
        "NCHW" or "NHWC".

    Returns
    -------
    dict
        Form and call by name. Contenders that cannot compute the layer, or a layer of the network, are left out. The
        form of a network is empty.

    Raises
    ------
    WrongResult
        If a result is wrong.
    """
    if not isinstance(job, Network):
        return _prepare_layer(names, threads, job, layout)
    layers = [_prepare_layer(names, threads, case, layout) for case in job.cases]
    able = [name for name in names if all(name in layer for layer in layers)]
    return {name: ("", OneAfterTheOther([layer[name][1] for layer in layers])) for name in able}


def _prepare_layer(names: Sequence[str], threads: int, case: Case, layout: str) -> Prepared:
    if case.gradient is not None:
        return _fastest(backward.prepare(names, threads, case, layout))
    cases = {name: case_of(name, case) for name in names}
    for name in names:
        check_few_channels(name, builder(name), layout, case.epilogue, threads, cases[name].dtype)
    arrays = {its: operands(its, layout) for its in dict.fromkeys(cases.values())}
    built: list[dict[str, Forms]] = []
    for number in range(copies_of(case)):
        copied = {its: given.copy() if number else given for its, given in arrays.items()}
        built.append({name: builder(name)(its, layout, copied[its], threads) for name, its in cases.items()})
    for its, given in arrays.items():
        calls: dict[str, Call] = {}
        for number, copy in enumerate(built):
            suffix = "" if number == 0 else f", copy {number}"
            found = (pair for name in names if cases[name] == its for pair in named_forms(name, copy[name]))
            calls |= {f"{form}{suffix}": call for form, call in found}
        check(its, layout, given, calls)
    if not case.evicts:
        return _fastest(built[0])
    prepared: Prepared = {}
    for name in names:
        forms: Forms = built[0][name]
        if forms:
            turns = {form: ColdCalls([copy[name][form] for copy in built], case.evicts, threads) for form in forms}
            form = fastest_form(turns, rounds=1, timed=time_cold)
            prepared[name] = (form, turns[form])
    return prepared


def _fastest(built: Mapping[str, Mapping[str, AnyCall]]) -> Prepared:
    """Return the fastest form and its call for each contender that has a form."""
    chosen = {name: fastest_form(forms) for name, forms in built.items() if forms}
    return {name: (form, built[name][form]) for name, form in chosen.items()}
