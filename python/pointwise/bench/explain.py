"""``pointwise bench --explain``: compares the choices of the cost model with all alternatives."""

from __future__ import annotations

import dataclasses
import json
import platform
from typing import TYPE_CHECKING, Any

from .. import _core
from .._runtime import cpu_name
from ..cli.files import replacing
from ..cli.info import caches, version
from ..cli.parser import CommandError
from .choice import FULL, QUICK, WITHIN, Choice, generated_cases, measure_choices
from .classes import geometric_mean
from .contenders import US
from .layers import networks, read_network
from .tables import Grid, print_tables, shape_words
from .verify import WrongResult

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from typing import TypeAlias

    from .layers import Case

    ProgressBar: TypeAlias = Callable[[int], AbstractContextManager[Callable[[str], None]]]

SEED = 1
GENERATED, GENERATED_QUICK = 200, 50  # number of random layers
NOTICED = 1.01  # smaller regrets are noise


def check_options(args: argparse.Namespace) -> None:
    """If ``--explain`` is given, refuse options that cannot be combined with it."""
    if args.explain is None:
        return
    alone = "kernels of pointwise with each other, on one thread and without a plot"
    relu = "kernels of pointwise with bias and ReLU"
    given = {
        "--vs": (args.vs is not None, alone),
        "--plot": (args.plot is not None, alone),
        "--threads": (args.threads not in (None, 1), alone),
        "--neighbour": (args.neighbour, alone),
        "--activation": (args.activation is not None, relu),
        "--residual": (args.residual, relu),
        "--no-bias": (args.no_bias, relu),
    }
    for option, (is_given, what) in given.items():
        if is_given:
            raise CommandError(f"--explain compares {what}, so it cannot be combined with {option}")


def explain(args: argparse.Namespace, cases: Sequence[Case], layouts: Sequence[str], progress_bar: ProgressBar) -> int:
    """Measure and report the choices. The caller must limit the BLAS of NumPy to one thread.

    Parameters
    ----------
    args : Namespace
        Arguments of the command line. `args.explain` is the seed of the generated layers.
    cases : sequence of Case
        Layers of the tables.
    layouts : sequence of str
        Layouts. Each layer of the tables is measured in every layout. Generated layers use the layouts in turn.
    progress_bar : callable
        Takes a number of steps. Returns a context manager that yields a function to call before each step.

    Returns
    -------
    int
        Exit status.
    """
    known = [*cases, *(case for name in networks() for case in read_network(name))]
    drawn = generated_cases(GENERATED_QUICK if args.quick else GENERATED, args.explain, known)
    tables = [(case, layout) for layout in layouts for case in cases]
    generated = [(case, layouts[i % len(layouts)]) for i, case in enumerate(drawn)]
    try:
        with progress_bar(len(tables) + len(generated)) as advance:
            choices = list(measure_choices(tables + generated, QUICK if args.quick else FULL, advance))
    except WrongResult as error:
        raise CommandError(str(error), status=1) from error

    groups = {"tables": choices[: len(tables)], "generated": choices[len(tables) :]}
    settings = {"batch": args.batch, "quick": args.quick, "seed": args.explain, "within": WITHIN, "dtype": "float32"}
    found = document(groups, settings)
    if args.json is not None:
        with replacing(args.json) as file:
            file.write(json.dumps(found, indent=1, allow_nan=False).encode() + b"\n")
    print_tables(table(group, its_choices) for group, its_choices in groups.items())
    print("\n".join(summary_lines(found["summary"])))
    machine = found["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    print(f"{machine['cpu']}, {machine['isa']}, 1 thread, {versions}; generated layers: seed {args.explain}")
    return 0


def summarize(choices: Sequence[Choice]) -> dict[str, Any]:
    """Return a summary of at least one choice, as JSON objects."""
    worst = max(choices, key=lambda choice: choice.regret)
    return {
        "layers": len(choices),
        "geometric_mean_regret": geometric_mean(choice.regret for choice in choices),
        "maximum_regret": worst.regret,
        "maximum_layer": f"{worst.case.network} {worst.case.layer}",
        "maximum_layout": worst.layout,
        "noticed": sum(choice.regret >= NOTICED for choice in choices),
    }


def document(groups: dict[str, list[Choice]], settings: dict[str, Any]) -> dict[str, Any]:
    """Return all results as JSON objects."""
    summary = {}
    for group, choices in groups.items():
        layouts = list(dict.fromkeys(choice.layout for choice in choices))
        parts = {layout: [choice for choice in choices if choice.layout == layout] for layout in layouts}
        parts |= {"both": choices} if len(layouts) > 1 else {}
        summary[group] = {name: summarize(part) for name, part in parts.items()}
    versions = {US: _core.version, "python": platform.python_version(), "numpy": version("numpy") or "unknown"}
    return {
        "machine": {"cpu": cpu_name(), "caches": caches(), "isa": _core.isa, "threads": 1, "versions": versions},
        "settings": settings,
        "results": [
            {"group": group, **dataclasses.asdict(choice), "case": choice.case.columns()}
            for group, choices in groups.items()
            for choice in choices
        ],
        "summary": summary,
    }


def summary_lines(summary: dict[str, Any]) -> list[str]:
    """Return the summary as lines of text."""
    return [
        f"{group}, {layout if layout != 'both' else 'both layouts'}: the choice takes "
        f"{found['geometric_mean_regret']:.3f} times as long as the best (geometric mean of {found['layers']} layers), "
        f"at most {found['maximum_regret']:.2f} ({found['maximum_layer']}, {found['maximum_layout']}), "
        f"within {100 * (NOTICED - 1):.0f}% of it on {found['layers'] - found['noticed']} of {found['layers']}"
        for group, layouts in summary.items()
        for layout, found in layouts.items()
    ]


def short(words: str) -> str:
    """Return the description of an alternative, without the parts that all alternatives share."""
    isa = _core.isa.removesuffix("_vnni").removesuffix("_bf16")  # as in the names of float32 kernels
    return words.replace("gemm_f32_", "").replace(f"_{isa}", "").replace("source ", "")


def table(group: str, choices: Sequence[Choice]) -> Grid:
    """Return a table of the layers for which the choice is not the best, the worst first."""
    caption = (
        "regret: time of the choice over time of the best; expected: predicted by the cost model; "
        f"left out: {sum(choice.regret < NOTICED for choice in choices)} within {100 * (NOTICED - 1):.0f}%"
    )
    title = f"{group}: layers whose choice is not the best"
    rows = Grid(title, ("layer", "chosen", "best"), ("expected", "regret"), caption)
    for choice in sorted(choices, key=lambda choice: -choice.regret):
        if choice.regret < NOTICED:
            break
        case = choice.case
        cycles = {alternative.words: alternative.cycles for alternative in choice.alternatives}
        rows.add_row(
            f"{case.network} {case.layer}\n{choice.layout} {shape_words(case, choice.layout)}",
            short(choice.chosen),
            short(choice.best),
            f"{cycles[choice.chosen] / cycles[choice.best]:.2f}",
            f"{choice.regret:.2f}",
        )
    return rows
