"""Tables of ``pointwise bench``: the layers of each layout, and the means of each network.

Ratios stand beside the other figures if NumPy is the only peer. Otherwise they have their own tables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .classes import geometric_mean
from .contenders import FLOAT, US
from .report import bound_of
from .tables import Grid, microseconds, ratio_words, shape_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .measure import NetworkResult, Result
    from .report import Machine

AGAIN, DISTURBED = "*", "!"  # marks of layers
HEADINGS = {FLOAT: "float32"}  # shorter names
LIMITS = {"peak": "peak", "bandwidth": "copy"}


def layer_tables(results: Sequence[Result], contenders: Sequence[str], machine: Machine) -> list[Grid]:
    """Return tables of the results of one part: a layout, or a gradient in a layout."""
    case = results[0].case
    title = f"{results[0].layout}, {case.dtype}, {case.words()}{_cold_words(results)}"
    beside = _beside(contenders)
    tuned = any(result.gain is not None for result in results)
    headings = ["us,\nbest", "\nmedian", "\np95", "\nGFLOP/s", "of\nbound"]
    headings += [*(["x by\ntuning"] if tuned else []), *_speedups(beside)]
    table = Grid(title, ["layer", "shape"], headings, _caption(results, bool(beside)))
    network = None
    for result in results:
        if result.case.network != network:
            network = result.case.network
            table.add_row(network)
        bound, fraction = bound_of(result, machine)
        table.add_row(
            f" {result.case.layer}{_mark(result)}",
            shape_words(result.case, result.layout),
            microseconds(result.seconds[US]),
            microseconds(result.percentile(US, 50)),
            microseconds(result.percentile(US, 95)),
            f"{result.flops_per_second / 1e9:.1f}",
            f"{100 * fraction:.0f}% {LIMITS[bound]}",
            *([ratio_words(result.gain)] if tuned else []),
            *(ratio_words(result.ratio(name)) for name in beside),
        )
    return [table] if beside else [table, _ratio_table(results, contenders)]


def _cold_words(results: Sequence[Result]) -> str:
    return ", x and weights from memory" if any(result.case.evicts for result in results) else ""


def _beside(contenders: Sequence[str]) -> Sequence[str]:
    """Return the contenders whose ratios stand beside the other figures."""
    return contenders if [name for name in contenders if name != FLOAT] == ["numpy"] else ()


def _speedups(contenders: Sequence[str]) -> list[str]:
    return [f"x\n{HEADINGS.get(name, name)}" for name in contenders]


def _mark(result: Result | NetworkResult) -> str:
    if result.disturbance is not None:
        return DISTURBED
    return AGAIN if result.measurements > 1 else ""


def _caption(results: Sequence[Result], with_ratios: bool) -> str:
    words = [
        f"us: time of a call of {US}, best, median and 95th percentile of the timing blocks",
        "of bound: percent of the lower limit, FMA peak or copy bandwidth (data in the caches can exceed that)",
    ]
    words += ["x by tuning: speedup of a tuned layer over the prediction"] if any(r.gain for r in results) else []
    words += ["x name: speedup over that contender"] if with_ratios else []
    words += ["x float32: speedup over pointwise in float32"] if with_ratios and FLOAT in results[0].seconds else []
    words += ["/2: stride 2"] if any(result.case.stride > 1 for result in results) else []
    words += ["g4: 4 groups"] if any(result.case.groups > 1 for result in results) else []
    return "; ".join(words + _mark_words(results))


def _mark_words(results: Sequence[Result] | Sequence[NetworkResult]) -> list[str]:
    marks = set(map(_mark, results))
    words = [f"{AGAIN}: disturbed, so measured again"] if AGAIN in marks else []
    return words + ([f"{DISTURBED}: disturbed in every measurement"] if DISTURBED in marks else [])


def _ratio_table(results: Sequence[Result], contenders: Sequence[str]) -> Grid:
    table = Grid(f"{results[0].part}: speedup over each contender", ["layer", "shape"], contenders)
    network = None
    for result in results:
        if result.case.network != network:
            network = result.case.network
            table.add_row(network)
        ratios = (ratio_words(result.ratio(name)) for name in contenders)
        table.add_row(f" {result.case.layer}{_mark(result)}", shape_words(result.case, result.layout), *ratios)
    return table


def sequence_table(results: Sequence[NetworkResult], contenders: Sequence[str]) -> Grid:
    """Return a table of networks whose layers are called one after the other."""
    words = results[0].network.cases[0].epilogue.words()
    headings = ["layers", "ms,\nbest", "\nmedian", "\nGFLOP/s", "of\npeak", *_speedups(contenders)]
    caption = "; ".join(["ms: time of all layers of a network, called one after the other", *_mark_words(results)])
    table = Grid(f"{results[0].network.dtype}, {words}, layers in sequence", ["network", "layout"], headings, caption)
    for result in results:
        table.add_row(
            f"{result.name}{_mark(result)}",
            result.layout,
            str(len(result.network.cases)),
            f"{1e3 * result.seconds[US]:.3f}",
            f"{1e3 * (result.percentile(US, 50) or 0):.3f}",
            f"{result.flops_per_second / 1e9:.1f}",
            f"{100 * result.peak_fraction:.0f}%",
            *(ratio_words(result.ratio(name)) for name in contenders),
        )
    return table


def network_tables(results: Sequence[Result], contenders: Sequence[str]) -> list[Grid]:
    """Return tables with geometric means and smallest ratios: one row per network and layout."""
    beside = _beside(contenders)
    ratio_headings = [f"{what}x\n{HEADINGS.get(name, name)}" for name in beside for what in ("", "least ")]
    means = Grid("geometric means", ["network", "layout"], ["layers", "GFLOP/s", "of peak", *ratio_headings])
    ratios = Grid("speedup: geometric mean / least", ["network", "layout"], contenders)
    for network, part in dict.fromkeys((result.case.network, result.part) for result in results):
        rows = [r for r in results if (r.case.network, r.part) == (network, part)]
        flops = geometric_mean(row.flops_per_second for row in rows) or 0.0
        peak = geometric_mean(row.peak_fraction for row in rows) or 0.0
        figures = (str(len(rows)), f"{flops / 1e9:.1f}", f"{100 * peak:.0f}%")
        found = [_mean_and_least(rows, name) for name in contenders]
        means.add_row(network, part, *figures, *(cell for cells in found[: len(beside)] for cell in cells))
        ratios.add_row(network, part, *(" / ".join(cells) for cells in found))
    return [means] if beside else [means, ratios]


def _mean_and_least(rows: Sequence[Result], contender: str) -> tuple[str, str]:
    ratios = [ratio for row in rows if (ratio := row.ratio(contender)) is not None]
    return ratio_words(geometric_mean(ratios)), ratio_words(min(ratios, default=None))
