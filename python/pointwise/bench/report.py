"""Reports of ``pointwise bench``: a JSON document and lines of text."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from .classes import class_lines, class_summary, geometric_mean, is_large
from .contenders import FLOAT, TUNED, US
from .dtypes import FLOAT32, products

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .measure import NetworkResult, Result, Times

BEST_PEER = "the best peer of each layer"


@dataclasses.dataclass(frozen=True)
class Machine:
    """Machine and software of a run.

    `fma_peak` is in FLOP/s and `bandwidth` in bytes/s, both for all threads together. `fma_peak` is the larger of two
    measurements, before and after the run. Percentages refer to another peak, which is measured in turn with each
    layer.
    """

    cpu: str
    caches: dict[str, str]
    isa: str
    threads: int
    fma_peak: float
    bandwidth: float
    versions: dict[str, str]


def bound_of(result: Result, machine: Machine) -> tuple[str, float]:
    """Return the limit of a layer, "peak" or "bandwidth", and the fraction of this limit that pointwise reaches."""
    if result.cost.intensity < result.peak / machine.bandwidth:
        return "bandwidth", result.bytes_per_second / machine.bandwidth
    return "peak", result.peak_fraction


def summarize(results: Sequence[Result], contenders: Sequence[str], machine: Machine) -> dict[str, Any]:
    """Return a summary of the results of one layout, as JSON objects."""
    large = [result for result in results if is_large(result)]
    summary: dict[str, Any] = {
        "layers": len(results),
        "layers_above_1_mflop": len(large),
        "peak_fraction_above_1_mflop": geometric_mean(result.peak_fraction for result in large),
        **class_summary(results, machine.bandwidth),
        "versus": {name: _versus([(result, name) for result in results]) for name in contenders},
    }
    if len([name for name in contenders if name != FLOAT]) > 1:
        summary["best_peer"] = _versus([(result, result.best_peer()) for result in results])
    gains = [(result.gain, result.name) for result in results if result.gain is not None]
    if gains:
        most, layer = max(gains)
        summary["tuned"] = {
            "layers": len(gains),
            "changed": sum(bool(result.forms.get(TUNED)) for result in results),
            "geometric_mean_gain": geometric_mean(gain for gain, _ in gains),
            "maximum_gain": most,
            "maximum_layer": layer,
            "minimum_gain": min(gains)[0],
        }
    return summary


def network_document(
    results: Sequence[NetworkResult], contenders: Sequence[str], machine: Machine, settings: dict[str, Any]
) -> dict[str, Any]:
    """Return the results of networks as JSON objects."""
    rows = [
        {
            "network": result.network.network,
            "layers": len(result.network.cases),
            "layout": result.layout,
            "cost": {"flops": result.cost.flops, "bytes": result.cost.bytes},
            **_times(result, contenders),
        }
        for result in results
    ]
    summary = {}
    for layout in dict.fromkeys(result.layout for result in results):
        found = [result for result in results if result.layout == layout]
        summary[layout] = {
            "networks": len(found),
            "versus": {name: _versus([(result, name) for result in found]) for name in contenders},
        }
        if len([name for name in contenders if name != FLOAT]) > 1:
            summary[layout]["best_peer"] = _versus([(result, result.best_peer()) for result in found])
    return {"machine": dataclasses.asdict(machine), "settings": settings, "results": rows, "summary": summary}


def _versus(pairs: Sequence[tuple[Times, str | None]]) -> dict[str, Any]:
    """Return a summary of ratios, one for each pair of a result and a contender. Leave out pairs without a time."""
    ratios = [
        (ratio, result.name, peer) for result, peer in pairs if peer and (ratio := result.ratio(peer)) is not None
    ]
    least, layer, peer = min(ratios, default=(None, None, None))
    return {
        "layers": len(ratios),
        "geometric_mean_ratio": geometric_mean(ratio for ratio, _, _ in ratios),
        "minimum_ratio": least,
        "minimum_layer": layer,
        "minimum_contender": peer,
        "at_least_as_fast": sum(ratio >= 1 for ratio, _, _ in ratios),
    }


def document(
    results: Sequence[Result], contenders: Sequence[str], machine: Machine, settings: dict[str, Any]
) -> dict[str, Any]:
    """Return all results as JSON objects."""
    parts = dict.fromkeys(result.part for result in results)
    return {
        "machine": dataclasses.asdict(machine),
        "settings": settings,
        "results": [_row(result, contenders, machine) for result in results],
        "summary": {part: summarize([r for r in results if r.part == part], contenders, machine) for part in parts},
    }


def _row(result: Result, contenders: Sequence[str], machine: Machine) -> dict[str, Any]:
    bound, fraction = bound_of(result, machine)
    times = (US, TUNED) if result.gain is not None else (US,)
    return {
        **result.case.columns(),
        **({"evicted_bytes": result.case.evicts} if result.case.evicts else {}),
        "layout": result.layout,
        **({"gradient": result.case.gradient} if result.case.gradient else {}),
        "cost": dataclasses.asdict(result.cost),
        **_times(result, contenders, times),
        **({"gain": result.gain} if result.gain is not None else {}),
        "forms": {name: form for name, form in result.forms.items() if form},
        "bandwidth_fraction": result.bytes_per_second / machine.bandwidth,
        "bound": bound,
        "bound_fraction": fraction,
    }


def _times(result: Result | NetworkResult, contenders: Sequence[str], ours: Sequence[str] = (US,)) -> dict[str, Any]:
    """Return the figures that follow from the times, as JSON objects."""
    names = (*ours, *contenders)
    return {
        "seconds": {name: result.seconds.get(name) for name in names},
        "median_seconds": {name: result.percentile(name, 50) for name in names},
        "p95_seconds": {name: result.percentile(name, 95) for name in names},
        "rounds": len(result.blocks[US]),
        "measurements": result.measurements,
        "disturbance": result.disturbance,
        "peak": result.peak,
        "peak_fraction": result.peak_fraction,
        "ratio": {contender: result.ratio(contender) for contender in contenders},
    }


def summary_lines(layout: str, summary: dict[str, Any]) -> list[str]:
    """Return the summary of one layout as lines of text."""
    lines = versus_lines(layout, summary)
    if "tuned" in summary:
        tuned = summary["tuned"]
        lines.append(
            f"{layout}: tuned: {tuned['geometric_mean_gain']:.3f} times as fast as the prediction (geometric mean of "
            f"{tuned['layers']} layers), at most {tuned['maximum_gain']:.2f} ({tuned['maximum_layer']}); tuning "
            f"changes {tuned['changed']} layers"
        )
    fraction = summary["peak_fraction_above_1_mflop"]
    if fraction is not None:
        count = summary["layers_above_1_mflop"]
        lines.append(f"{layout}: {100 * fraction:.1f}% of FMA peak (geometric mean of {count} layers above 1 MFLOP)")
    return lines + class_lines(layout, summary)


def versus_lines(layout: str, summary: dict[str, Any], what: str = "layers") -> list[str]:
    """Return a line of text for each peer, and for the best peers. `what` is "layers" or "networks"."""
    rivals = dict(summary["versus"])
    if "best_peer" in summary:
        rivals[BEST_PEER if what == "layers" else BEST_PEER.replace("layer", "network")] = summary["best_peer"]
    return [_versus_line(layout, name, versus, what) for name, versus in rivals.items()]


def _versus_line(layout: str, name: str, versus: dict[str, Any], what: str) -> str:
    layers, peer = versus["layers"], versus["minimum_contender"]
    if not layers:
        return f"{layout}: {name} cannot compute these {what}"
    least = versus["minimum_layer"] + (f", {peer}" if peer != name else "")
    return (
        f"{layout}: {versus['geometric_mean_ratio']:.2f} times as fast as {name} (geometric mean of {layers} {what}), "
        f"at least {versus['minimum_ratio']:.2f} ({least}), "
        f"at least as fast on {versus['at_least_as_fast']} of {layers}"
    )


def machine_line(machine: Machine, dtype: str = FLOAT32) -> str:
    """Return a line of text that describes the machine. The peak is that of a dtype."""
    what = "FMA peak" if products(dtype) == 1 else f"peak of {dtype}"
    threads = f"{machine.threads} thread{'s' if machine.threads > 1 else ''}"
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions.items())
    return (
        f"{machine.cpu}, {machine.isa}, {threads}, {what} {machine.fma_peak / 1e9:.1f} GFLOP/s, "
        f"copy bandwidth {machine.bandwidth / 1e9:.1f} GB/s, {versions}"
    )
