"""Reports of ``pointwise bench --neighbour``: a JSON document and tables."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from ..cli.parser import require
from .classes import geometric_mean
from .contenders import US

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
        "worst_layer": f"{worst.case.network} {worst.case.layer}",
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
            }
            for name in (US, *contenders)
        },
    }


def neighbour_tables(
    results: Sequence[NeighbourResult], contenders: Sequence[str], machine: Machine, found: dict[str, Any]
) -> list[Any]:
    """Return rich tables: one for each layout, then the summary of the document `found`."""
    by_layout = _by_layout(results)
    grids = [_layer_table(layout, rows, contenders, machine.threads) for layout, rows in by_layout.items()]
    return [*grids, _summary_table(found["summary"], machine.threads)]


def _layer_table(layout: str, results: Sequence[NeighbourResult], contenders: Sequence[str], threads: int) -> Any:
    words = results[0].case.epilogue.words()
    grid = _grid(f"{layout}, float32, {words}, with a busy neighbour; times of single calls in us")
    for heading in ("network", "layer", "images", "contender"):
        grid.add_column(heading, overflow="fold")  # a narrow terminal folds names, not figures
    headings = (f"{threads} quiet", "1", f"{threads}", f"{threads} / 1", f"{threads} p99", f"{threads} p99 / 1")
    for heading in headings:
        grid.add_column(heading, justify="right", no_wrap=True)
    for result in results:
        place = (result.case.network, result.case.layer, str(result.case.n))
        for name in (US, *contenders):
            one, many, quiet = result.one[name], result.many[name], result.quiet[name]
            times = [f"{seconds * 1e6:.4g}" for seconds in (quiet.mean, one.mean, many.mean)]
            ratio, p99_ratio = f"{result.mean_ratio(name):.2f}", f"{result.p99_ratio(name):.2f}"
            grid.add_row(*place, name, *times, ratio, f"{many.p99 * 1e6:.4g}", p99_ratio)
            place = ("", "", "")
    grid.caption = (
        f"1 and {threads}: mean with that number of threads; quiet: without the neighbour; p99: 99th percentile; "
        "/ 1: divided by the mean with 1 thread"
    )
    return grid


def _summary_table(summary: dict[str, Any], threads: int) -> Any:
    grid = _grid(f"{threads} threads over 1 thread, with a busy neighbour")
    for heading in ("layout", "contender"):
        grid.add_column(heading)
    for heading in ("layers", "mean / mean", "worst", "", "p99 / mean", "worst", ""):
        grid.add_column(heading, justify="right" if heading else "left", no_wrap=bool(heading))
    for layout, contenders in summary.items():
        for name, row in contenders.items():
            spreads = (row["mean_ratio"], row["p99_ratio"])
            words = [(f"{s['geometric_mean']:.2f}", f"{s['worst']:.2f}", s["worst_layer"]) for s in spreads]
            grid.add_row(layout, name, str(row["layers"]), *words[0], *words[1])
    grid.caption = "geometric mean of all layers, and the worst layer"
    return grid


def _grid(title: str) -> Any:
    rich_table, box = require("rich.table", "bench"), require("rich.box", "bench")
    return rich_table.Table(title=title, title_justify="left", caption_justify="left", box=box.SIMPLE_HEAD)
