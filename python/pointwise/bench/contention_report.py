"""Reports of ``pointwise bench --neighbour``: a JSON document and tables."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from .classes import geometric_mean
from .contenders import US
from .tables import Grid, microseconds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .contention import NeighbourResult
    from .report import Machine


def summarize_neighbour(results: Sequence[NeighbourResult], contender: str) -> dict[str, Any]:
    """Return a summary of the results of one contender in one layout, as JSON objects."""
    return {
        "layers": len(results),
        "mean_ratio": _spread(results, lambda result: result.mean_ratio(contender)),
        "p99_ratio": _spread(results, lambda result: result.p99_ratio(contender)),
    }


def _spread(results: Sequence[NeighbourResult], ratio: Callable[[NeighbourResult], float]) -> dict[str, Any]:
    worst = max(results, key=ratio)
    return {
        "geometric_mean": geometric_mean(map(ratio, results)),
        "worst": ratio(worst),
        "worst_layer": worst.name,
    }


def neighbour_document(
    results: Sequence[NeighbourResult], contenders: Sequence[str], machine: Machine, settings: dict[str, Any]
) -> dict[str, Any]:
    """Return all results as JSON objects, with times in seconds."""
    by_layout = _by_layout(results)
    return {
        "machine": dataclasses.asdict(machine),
        "settings": {**settings, "neighbour": True},
        "results": [_row(result, contenders) for result in results],
        "summary": {
            layout: {name: summarize_neighbour(rows, name) for name in (US, *contenders)}
            for layout, rows in by_layout.items()
        },
    }


def _by_layout(results: Sequence[NeighbourResult]) -> dict[str, list[NeighbourResult]]:
    layouts = dict.fromkeys(result.layout for result in results)
    return {layout: [result for result in results if result.layout == layout] for layout in layouts}


def _row(result: NeighbourResult, contenders: Sequence[str]) -> dict[str, Any]:
    return {
        **result.case.columns(),
        "layout": result.layout,
        "contenders": {
            name: {
                "one_thread": dataclasses.asdict(result.one[name]),
                "threads": dataclasses.asdict(result.many[name]),
                "threads_quiet": dataclasses.asdict(result.quiet[name]),
                "mean_ratio": result.mean_ratio(name),
                "p99_ratio": result.p99_ratio(name),
                "forms": {str(threads): form for (who, threads), form in result.forms.items() if who == name and form},
            }
            for name in (US, *contenders)
        },
    }


def neighbour_tables(
    results: Sequence[NeighbourResult], contenders: Sequence[str], machine: Machine, found: dict[str, Any]
) -> list[Grid]:
    """Return a table for each layout, then a table with the summary of the document `found`."""
    by_layout = _by_layout(results)
    tables = [_layer_table(layout, rows, contenders, machine.threads) for layout, rows in by_layout.items()]
    return [*tables, _summary_table(found["summary"], machine.threads)]


def _layer_table(layout: str, results: Sequence[NeighbourResult], contenders: Sequence[str], threads: int) -> Grid:
    words = results[0].case.epilogue.words()
    title = f"{layout}, float32, {words}, with a busy neighbour; times of single calls in us"
    figures = (f"{threads} quiet", "1", f"{threads}", f"{threads} / 1", f"{threads} p99", f"{threads} p99\n/ 1")
    caption = (
        f"1 and {threads}: mean with that number of threads; quiet: without the neighbour; p99: 99th percentile; "
        "/ 1: divided by the mean with 1 thread"
    )
    table = Grid(title, ("layer", "images", "contender"), figures, caption)
    for result in results:
        place = (result.name, str(result.case.n))
        for name in (US, *contenders):
            one, many, quiet = result.one[name], result.many[name], result.quiet[name]
            times = map(microseconds, (quiet.mean, one.mean, many.mean))
            ratio, p99_ratio = f"{result.mean_ratio(name):.2f}", f"{result.p99_ratio(name):.2f}"
            table.add_row(*place, name, *times, ratio, microseconds(many.p99), p99_ratio)
            place = ("", "")
    return table


def _summary_table(summary: dict[str, Any], threads: int) -> Grid:
    title = f"{threads} threads over 1 thread, with a busy neighbour"
    caption = "mean and 99th percentile (p99), divided by the mean with 1 thread"
    figures = ("layers", "geometric mean", "worst")
    table = Grid(title, ("layout", "contender", "of", "worst layer"), figures, caption)
    for layout, contenders in summary.items():
        for name, row in contenders.items():
            for words, spread in (("mean", row["mean_ratio"]), ("p99", row["p99_ratio"])):
                figures = (str(row["layers"]), f"{spread['geometric_mean']:.2f}", f"{spread['worst']:.2f}")
                table.add_row(layout, name, words, spread["worst_layer"], *figures)
    return table
