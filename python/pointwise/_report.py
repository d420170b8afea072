"""What the benchmark found, as a document, in lines and as a table."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any

from ._cli import require
from ._contenders import US

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ._bench import Result

LARGE = 1_000_000  # FLOP: below it a call is mostly overhead, and its percent of the peak says nothing


@dataclasses.dataclass(frozen=True)
class Machine:
    """Where the figures come from; `fma_peak` in FLOP/s, `bandwidth` in bytes/s, both of all threads together."""

    cpu: str
    caches: dict[str, str]
    isa: str
    threads: int
    fma_peak: float
    bandwidth: float
    versions: dict[str, str]


def geometric_mean(values: Iterable[float]) -> float | None:
    """Return the geometric mean of positive numbers, or None where there are none."""
    logarithms = [math.log(value) for value in values]
    return math.exp(math.fsum(logarithms) / len(logarithms)) if logarithms else None


def bound_of(result: Result, machine: Machine) -> tuple[str, float]:
    """Return which bound is the lower one for this layer, "peak" or "bandwidth", and the fraction we reach of it."""
    if result.cost.intensity < machine.fma_peak / machine.bandwidth:
        return "bandwidth", result.bytes_per_second / machine.bandwidth
    return "peak", result.flops_per_second / machine.fma_peak


def summarize(results: Sequence[Result], contenders: Sequence[str], machine: Machine) -> dict[str, Any]:
    """Return the summary of one layout's results, in plain objects for JSON."""
    large = [result for result in results if result.cost.flops > LARGE]
    summary: dict[str, Any] = {
        "layers": len(results),
        "layers_above_1_mflop": len(large),
        "peak_fraction_above_1_mflop": geometric_mean(r.flops_per_second / machine.fma_peak for r in large),
        "versus": {},
    }
    for contender in contenders:
        worst = min(results, key=lambda result: result.ratio(contender))
        summary["versus"][contender] = {
            "geometric_mean_ratio": geometric_mean(result.ratio(contender) for result in results),
            "minimum_ratio": worst.ratio(contender),
            "minimum_layer": f"{worst.case.network} {worst.case.layer}",
            "at_least_as_fast": sum(result.ratio(contender) >= 1 for result in results),
        }
    return summary


def document(
    results: Sequence[Result], contenders: Sequence[str], machine: Machine, settings: dict[str, Any]
) -> dict[str, Any]:
    """Return everything that was found, in plain objects for JSON."""
    layouts = list(dict.fromkeys(result.layout for result in results))
    return {
        "machine": dataclasses.asdict(machine),
        "settings": settings,
        "results": [_row(result, contenders, machine) for result in results],
        "summary": {
            layout: summarize([r for r in results if r.layout == layout], contenders, machine) for layout in layouts
        },
    }


def _row(result: Result, contenders: Sequence[str], machine: Machine) -> dict[str, Any]:
    bound, fraction = bound_of(result, machine)
    return {
        **dataclasses.asdict(result.case),
        "layout": result.layout,
        "cost": dataclasses.asdict(result.cost),
        "seconds": result.seconds,
        "bound": bound,
        "bound_fraction": fraction,
        "ratio": {contender: result.ratio(contender) for contender in contenders},
    }


def summary_lines(layout: str, summary: dict[str, Any]) -> list[str]:
    """Return the summary of one layout in lines of text."""
    layers = summary["layers"]
    lines = [
        f"{layout}: {v['geometric_mean_ratio']:.2f} times as fast as {contender} (geometric mean of {layers} layers), "
        f"at least {v['minimum_ratio']:.2f} ({v['minimum_layer']}), "
        f"at least as fast on {v['at_least_as_fast']} of {layers}"
        for contender, v in summary["versus"].items()
    ]
    fraction = summary["peak_fraction_above_1_mflop"]
    if fraction is not None:
        count = summary["layers_above_1_mflop"]
        lines.append(f"{layout}: {100 * fraction:.1f}% of FMA peak (geometric mean of {count} layers above 1 MFLOP)")
    return lines


def network_table(results: Sequence[Result], contenders: Sequence[str], machine: Machine) -> Any:
    """Return a rich table with a row for every network and layout: geometric means and the smallest ratios."""
    rich_table, box = require("rich.table", "bench"), require("rich.box", "bench")
    grid = rich_table.Table(title="geometric means", title_justify="left", box=box.SIMPLE_HEAD)
    for heading in ("network", "layout"):
        grid.add_column(heading)
    headings = (f"{what}x {name}" for name in contenders for what in ("", "least "))
    for heading in ("layers", "GFLOP/s", "of peak", *headings):
        grid.add_column(heading, justify="right", no_wrap=True)
    for network, layout in dict.fromkeys((result.case.network, result.layout) for result in results):
        rows = [r for r in results if (r.case.network, r.layout) == (network, layout)]
        flops = geometric_mean(row.flops_per_second for row in rows) or 0.0
        ratios = [[row.ratio(name) for row in rows] for name in contenders]
        grid.add_row(
            network,
            layout,
            str(len(rows)),
            f"{flops / 1e9:.1f}",
            f"{100 * flops / machine.fma_peak:.0f}%",
            *(f"{value:.2f}" for ratio in ratios for value in (geometric_mean(ratio), min(ratio))),
        )
    return grid


def machine_line(machine: Machine) -> str:
    """Return the machine in one line of text."""
    threads = f"{machine.threads} thread{'s' if machine.threads > 1 else ''}"
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    return (
        f"{machine.cpu}, {machine.isa}, {threads}, FMA peak {machine.fma_peak / 1e9:.1f} GFLOP/s, "
        f"copy bandwidth {machine.bandwidth / 1e9:.1f} GB/s, {versions}"
    )


def table(layout: str, results: Sequence[Result], contenders: Sequence[str], machine: Machine) -> Any:
    """Return a rich table of one layout's results."""
    rich_table, box = require("rich.table", "bench"), require("rich.box", "bench")
    grid = rich_table.Table(title=f"{layout}, float32, bias and ReLU", title_justify="left", box=box.SIMPLE_HEAD)
    for heading in ("network", "layer", "shape"):
        grid.add_column(heading, overflow="fold")  # a narrow terminal folds names, never figures
    for heading in ("MFLOP", "GFLOP/s", "of bound", *(f"x {contender}" for contender in contenders)):
        grid.add_column(heading, justify="right", no_wrap=True)
    for result in results:
        case = result.case
        shape = f"{'x'.join(map(str, case.shape(layout)))} -> {case.cout}"
        shape += f", stride {case.stride}" if case.stride > 1 else ""
        shape += f", groups {case.groups}" if case.groups > 1 else ""
        bound, fraction = bound_of(result, machine)
        grid.add_row(
            case.network,
            case.layer,
            shape,
            f"{result.cost.flops / 1e6:.3g}",
            f"{result.flops_per_second / 1e9:.1f}",
            f"{100 * fraction:.0f}% {bound}",
            *(f"{result.ratio(contender):.2f}" for contender in contenders),
        )
    grid.caption = (
        f"GFLOP/s are those of {US}; bandwidth where that bound is the lower one (what stays in the caches can exceed "
        "it); x name: times as fast as that"
    )
    grid.caption_justify = "left"
    return grid
