"""``pointwise bench --neighbour``: times single calls under contention.

The neighbour is a process that keeps a CPU busy. A call on several threads may wait for its slowest thread. When that
thread shares its CPU, the scheduler can stop it for milliseconds. The mean and the 99th percentile of the times show
such stops. The minimum and the median do not.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ..cli.parser import CommandError
from .contenders import US
from .layers import networks, read_network
from .processes import processes
from .timing import Slice

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from .layers import Case
    from .processes import ContenderProcess

    Process: TypeAlias = subprocess.Popen[bytes]
    Setting: TypeAlias = tuple[str, int]

# Network, layer and number of images: a range from short to long calls.
DEFAULT = (
    ("googlenet", "loss1/conv", 1),
    ("squeezenet", "Fire_6.2", 1),
    ("mobilenet_v2", "Bottleneck_4", 1),
    ("mobilenet_v2", "Bottleneck_3", 1),
    ("mobilenet_v2", "Post-pooling_Conv2D", 1),
    ("googlenet", "inception_3a/1x1", 1),
    ("resnet50", "res2a.branch2a", 1),
    ("mobilenet_v1", "pw2", 1),
    ("mobilenet_v1", "pw5", 1),
    ("resnet50", "res3a.branch2a", 1),
    ("resnet50", "res5a.branch2a", 2),
    ("resnet50", "res3a.branch2a", 6),
)
# Script of the neighbour. It ends by itself if the benchmark has died.
SPIN = """\
import os, sys
while os.getppid() == int(sys.argv[1]):
    for _ in range(100_000):
        pass
"""


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Duration of the measurement of a setting. A setting is a contender with a number of threads.

    Attributes
    ----------
    warm_up : float
        Seconds of calls before the first round. The neighbour runs, but the calls are not timed.
    turn : Slice
        Turn of a setting in each round.
    rounds, quiet_rounds : int
        Minimum number of rounds with the neighbour, and number of rounds without it.
    calls, most_rounds : int
        Rounds are added until every setting has `calls` calls or `most_rounds` rounds are done.
    """

    warm_up: float
    turn: Slice
    rounds: int
    quiet_rounds: int
    calls: int
    most_rounds: int


# A slice is much longer than the time for which the scheduler stops a thread. The start of a slice is not timed,
# because the scheduler favours threads that have slept.
TURN = Slice(untimed=0.1, timed=0.4)
QUICK = Schedule(warm_up=0.2, turn=TURN, rounds=1, quiet_rounds=1, calls=30, most_rounds=2)
FULL = Schedule(warm_up=0.2, turn=TURN, rounds=3, quiet_rounds=1, calls=200, most_rounds=8)


@dataclasses.dataclass(frozen=True)
class Calls:
    """Statistics of single calls: the number of calls, and the mean and 99th percentile of their times in seconds."""

    calls: int
    mean: float
    p99: float


@dataclasses.dataclass(frozen=True)
class NeighbourResult:
    """Statistics of the calls of each contender on one layer in one layout.

    Attributes
    ----------
    case, layout
        The layer and its layout.
    one, many : dict of Calls
        Calls of each contender with the neighbour: `one` on one thread, `many` on several threads.
    quiet : dict of Calls
        Calls of each contender on several threads, without the neighbour.
    forms : dict of str
        Name of the form of each setting. The name is empty if the contender has only one form.
    """

    case: Case
    layout: str
    one: dict[str, Calls]
    many: dict[str, Calls]
    quiet: dict[str, Calls]
    forms: dict[Setting, str] = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> str:
        """Names of the network and of the layer."""
        return f"{self.case.network} {self.case.layer}"

    def mean_ratio(self, contender: str) -> float:
        """Return the mean with several threads, divided by the mean with one. Above 1, threads make calls slower."""
        return self.many[contender].mean / self.one[contender].mean

    def p99_ratio(self, contender: str) -> float:
        """Return the 99th percentile with several threads, divided by the mean with one."""
        return self.many[contender].p99 / self.one[contender].mean


def statistics(seconds: Sequence[NDArray[np.float64]]) -> Calls:
    """Return the statistics of all calls of several slices."""
    together = np.concatenate(seconds)
    return Calls(together.size, float(together.mean()), float(np.percentile(together, 99)))


def check_arguments(threads: int | None, plot: str | None) -> None:
    """Raise a `CommandError` for options that cannot be combined with ``--neighbour``. None means: option not given."""
    if threads == 1:
        raise CommandError("--threads must be at least 2 with --neighbour, which compares with 1 thread, got 1")
    if plot is not None:
        raise CommandError("--plot cannot be combined with --neighbour, which has no roofline: use --json")
    if len(os.sched_getaffinity(0)) < 2:
        raise CommandError("--neighbour needs 2 CPUs, one of them for the neighbour, but this process may use 1")


def default_cases(quick: bool) -> list[Case]:
    """Return the default layers, or every second one of them if `quick` is true."""
    installed = {(case.network, case.layer): case for name in networks() for case in read_network(name)}
    chosen = DEFAULT[1::2] if quick else DEFAULT
    return [installed[network, layer].with_batch(n) for network, layer, n in chosen if (network, layer) in installed]


@contextlib.contextmanager
def stopped_neighbour() -> Iterator[Process]:
    """Start the neighbour and stop it at once. End it after the ``with`` block. The scheduler chooses its CPU."""
    nowhere = subprocess.DEVNULL  # no output, even at Ctrl-C
    argv = [sys.executable, "-I", "-S", "-c", SPIN, str(os.getpid())]
    process = subprocess.Popen(argv, stdin=nowhere, stdout=nowhere, stderr=nowhere)
    try:
        process.send_signal(signal.SIGSTOP)
        yield process
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def busy(neighbour: Process) -> Iterator[None]:
    """Let the stopped neighbour run for a ``with`` block.

    Raises
    ------
    CommandError
        If the neighbour has ended, because the calls were not timed under contention.
    """
    neighbour.send_signal(signal.SIGCONT)
    try:
        yield
    finally:
        neighbour.send_signal(signal.SIGSTOP)
    status = neighbour.poll()
    if status is not None:
        raise CommandError(f"the busy neighbour has ended: exit status {status}")


def measure(
    cases: Sequence[Case],
    layouts: Sequence[str],
    contenders: Sequence[str],
    threads: int,
    schedule: Schedule,
    progress: Callable[[str], None] = lambda text: None,
) -> Iterator[NeighbourResult]:
    """Check the results of contenders, then time their calls with a busy neighbour, on one and on several threads.

    Parameters
    ----------
    cases : sequence of Case
        Layers.
    layouts : sequence of str
        "NCHW", "NHWC" or both.
    contenders : sequence of str
        Peers: names of `CONTENDERS` other than pointwise, which is always measured.
    threads : int
        Number of threads, at least 2.
    schedule : Schedule
        Duration of the measurement.
    progress : callable
        Called with a text before each layer, never while calls are timed.

    Yields
    ------
    NeighbourResult

    Raises
    ------
    WrongResult
        If a result is wrong. It is not timed.
    CommandError
        If a process has ended, or a contender cannot compute a layer.
    """
    settings = [(name, count) for name in (US, *contenders) for count in (1, threads)]
    with processes(settings) as everybody, stopped_neighbour() as neighbour:
        several = [process for process in everybody if process.threads > 1]
        for layout, case in itertools.product(layouts, cases):
            progress(f"{layout} {case.network} {case.layer}")
            forms: dict[Setting, str] = {}
            for process in everybody:
                form = process.prepare(case, layout)
                if form is None:
                    raise CommandError(f"{process.name} cannot compute {case.network} {case.layer} in {layout}")
                forms[process.name, process.threads] = form
            quiet = time_calls_in_turn(several, schedule.turn, schedule.quiet_rounds)
            with busy(neighbour):
                for process in everybody:
                    process.time_each(Slice(schedule.warm_up, 0.0))
                beside = time_calls_in_turn(
                    everybody, schedule.turn, schedule.rounds, schedule.calls, schedule.most_rounds
                )
            yield NeighbourResult(
                case,
                layout,
                one={name: calls for (name, count), calls in beside.items() if count == 1},
                many={name: calls for (name, count), calls in beside.items() if count > 1},
                quiet={name: calls for (name, _), calls in quiet.items()},
                forms=forms,
            )


def time_calls_in_turn(
    settings: Sequence[ContenderProcess], turn: Slice, rounds: int, calls: int = 0, most_rounds: int = 0
) -> dict[Setting, Calls]:
    """Time single calls in interleaved slices, so that a drift of the machine affects all settings equally.

    Parameters
    ----------
    settings : sequence of ContenderProcess
        Contenders with a prepared layer.
    turn : Slice
        Turn of a setting in each round.
    rounds : int
        Minimum number of rounds.
    calls, most_rounds : int
        Rounds are added until every setting has `calls` calls or `most_rounds` rounds are done.

    Returns
    -------
    dict of Calls
        Statistics by name and number of threads.
    """
    seconds: list[list[NDArray[np.float64]]] = [[] for _ in settings]
    done, fewest = 0, 0
    while done < rounds or (fewest < calls and done < most_rounds):
        for setting, slices in zip(settings, seconds, strict=True):
            slices.append(setting.time_each(turn))
        done += 1
        fewest = min(sum(map(len, slices)) for slices in seconds)
    return {
        (setting.name, setting.threads): statistics(slices) for setting, slices in zip(settings, seconds, strict=True)
    }
