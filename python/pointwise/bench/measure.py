"""Measures layers: checks the results of each contender, then times all contenders in turn.

A layer whose measurement was disturbed is measured again. Its result has the timing blocks of all measurements.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import time
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from .contenders import OWN, TUNED, US
from .disturbance import disturbance
from .dtypes import FLOAT32
from .layers import Case
from .processes import turns
from .timing import Block, Effort, blocks_in_turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from .._cost import Cost
    from .layers import Network


QUICK = Effort(seconds=0.09, block=0.002, rounds=1)
FULL = Effort(seconds=1.0, block=0.01, rounds=5)
# The block of a cold layer is so short that each timing block is one sweep.
COLD_QUICK = Effort(seconds=0.3, block=1e-6, rounds=2)
COLD_FULL = Effort(seconds=3.0, block=1e-6, rounds=10)
NETWORK_QUICK = Effort(seconds=0.5, block=0.01, rounds=2)
NETWORK_FULL = Effort(seconds=10.0, block=0.05, rounds=10)
J = TypeVar("J", "Case", "Network")
MOST_MEASUREMENTS = 3  # maximum number of measurements of a layer that is disturbed each time


class Times:
    """Times of contenders, and the figures that follow from the times. A base class of results."""

    layout: str
    measurements: int
    disturbance: str | None
    cost: Cost
    blocks: dict[str, list[Block]]
    peak: float

    @functools.cached_property
    def seconds(self) -> dict[str, float]:
        """Time per call in seconds in the best timing block of each contender."""
        return {name: min(block.seconds for block in blocks) for name, blocks in self.blocks.items()}

    def percentile(self, contender: str, percent: float) -> float | None:
        """Return a percentile of the times per call of all timing blocks, or None if there are none."""
        seconds = [block.seconds for block in self.blocks.get(contender, ())]
        return float(np.percentile(seconds, percent)) if seconds else None

    @property
    def flops_per_second(self) -> float:
        """Arithmetic of pointwise in FLOP/s."""
        return self.cost.flops / self.seconds[US]

    @property
    def bytes_per_second(self) -> float:
        """Memory traffic of pointwise in bytes/s, with each array counted once."""
        return self.cost.bytes / self.seconds[US]

    @property
    def peak_fraction(self) -> float:
        """Fraction of `peak` that pointwise reaches."""
        return self.flops_per_second / self.peak

    @property
    def name(self) -> str:
        """Name of what was measured."""
        raise NotImplementedError

    @property
    def gain(self) -> float | None:
        """Time of pointwise divided by the time of pointwise after tuning, or None if there is no tuned layer."""
        seconds = self.seconds.get(TUNED)
        return None if seconds is None else self.seconds[US] / seconds

    def ratio(self, contender: str) -> float | None:
        """Return the time of a contender divided by the time of pointwise, or None if the contender lacks the layer."""
        seconds = self.seconds.get(contender)
        return None if seconds is None else seconds / self.seconds[US]

    def best_peer(self) -> str | None:
        """Return the fastest peer, or None if there is no peer."""
        peers = (name for name in self.seconds if name not in OWN)
        return min(peers, key=self.seconds.__getitem__, default=None)


@dataclasses.dataclass(frozen=True)
class Result(Times):
    """Result of one layer in one layout.

    Attributes
    ----------
    case, layout, cost
        The layer, its layout and its cost.
    blocks : dict of list of Block
        Timing blocks of all measurements, for each contender that can compute the layer.
    peak : float
        Peak of multiply-adds in the dtype of the layer in FLOP/s, measured in turn with the contenders.
    forms : dict of str
        Fastest form of each contender, empty if the contender has only one form.
    measurements : int
        Number of times that the layer was measured, at most `MOST_MEASUREMENTS`.
    disturbance : str or None
        Disturbance of all measurements together.
    """

    case: Case
    layout: str
    cost: Cost
    blocks: dict[str, list[Block]]
    peak: float
    forms: dict[str, str] = dataclasses.field(default_factory=dict)
    measurements: int = 1
    disturbance: str | None = None

    @property
    def name(self) -> str:
        """Names of the network and of the layer."""
        return f"{self.case.network} {self.case.layer}"

    @property
    def part(self) -> str:
        """Layout, followed by the gradient if there is one, such as "NCHW dx". Each part has its own table."""
        return f"{self.layout} {self.case.gradient}" if self.case.gradient else self.layout


@dataclasses.dataclass(frozen=True)
class NetworkResult(Times):
    """Result of a network whose layers are called one after the other. Attributes are as in `Result`."""

    network: Network
    layout: str
    cost: Cost
    blocks: dict[str, list[Block]]
    peak: float
    measurements: int = 1
    disturbance: str | None = None

    @property
    def name(self) -> str:
        """Name of the network."""
        return self.network.network


def measure(
    cases: Sequence[Case],
    layouts: Sequence[str],
    contenders: Sequence[str],
    threads: int,
    effort: Effort,
    progress: Callable[[str], None] = lambda text: None,
) -> Iterator[Result]:
    """Check the results of contenders, then time the contenders. Measure disturbed layers again.

    Parameters
    ----------
    cases : sequence of Case
        Layers.
    layouts : sequence of str
        "NCHW", "NHWC" or both.
    contenders : sequence of str
        Peers, TUNED if tuned layers are measured, and FLOAT if pointwise is measured in float32, too. Pointwise is
        always measured. All layers have the same dtype.
    threads : int
        Number of threads of each contender. If it is 1, the caller must limit BLAS to one thread.
    effort : Effort
        Duration of the measurement.
    progress : callable
        Called with a text before each layer, never while a layer is timed.

    Yields
    ------
    Result

    Raises
    ------
    WrongResult
        If a result is wrong. It is not timed.
    """
    for timing in _timings(cases, layouts, contenders, threads, effort, progress):
        case, cost = timing.job, timing.job.cost(timing.layout)
        yield Result(case, cost=cost, **_figures(timing), forms=timing.forms)


def measure_networks(
    networks: Sequence[Network],
    layouts: Sequence[str],
    contenders: Sequence[str],
    threads: int,
    effort: Effort,
    progress: Callable[[str], None] = lambda text: None,
) -> Iterator[NetworkResult]:
    """Time the layers of networks one after the other. Parameters are as in `measure`.

    Contenders that cannot compute a layer of a network are left out of its result.
    """
    for timing in _timings(networks, layouts, contenders, threads, effort, progress):
        network, cost = timing.job, timing.job.cost(timing.layout)
        yield NetworkResult(network, cost=cost, **_figures(timing))


def _figures(timing: _Timing[Any]) -> dict[str, Any]:
    """Return the fields that results of layers and of networks share."""
    return {name: getattr(timing, name) for name in ("layout", "blocks", "peak", "measurements", "disturbance")}


@dataclasses.dataclass(frozen=True)
class _Timing(Generic[J]):
    job: J
    layout: str
    blocks: dict[str, list[Block]]
    peak: float
    forms: dict[str, str]
    measurements: int
    disturbance: str | None


def _timings(
    jobs: Sequence[J],
    layouts: Sequence[str],
    contenders: Sequence[str],
    threads: int,
    effort: Effort,
    progress: Callable[[str], None],
) -> Iterator[_Timing[J]]:
    left = len(layouts) * len(jobs)
    peaks: list[float] = []
    with turns([US, *contenders], threads, jobs[0].dtype if jobs else FLOAT32) as (prepare, peak):
        end = time.perf_counter() + left * effort.seconds
        for layout, job in itertools.product(layouts, jobs):
            gradient = f"{job.gradient} " if isinstance(job, Case) and job.gradient else ""
            progress(f"{layout} {gradient}{job.network} {job.layer}")
            deadline = _deadline(end, left)
            timers, forms = prepare(job, layout)
            blocks, measurements = blocks_in_turn(timers, deadline, effort), 1
            while (found := disturbance(blocks, peak(), peaks)) and measurements < MOST_MEASUREMENTS:
                for name, more in blocks_in_turn(timers, _deadline(end, left), effort).items():
                    blocks[name] += more
                measurements += 1
            peaks.append(peak())
            yield _Timing(job, layout, blocks, peaks[-1], forms, measurements, found)
            left -= 1


def _deadline(end: float, left: int) -> float:
    """Return the time at which a measurement ends. A slow layer leaves less time to later layers."""
    now = time.perf_counter()
    return now + max(0.0, end - now) / left
