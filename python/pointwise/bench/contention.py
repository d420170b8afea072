"""The benchmark beside a busy neighbour: every single call is timed while another process keeps a CPU busy.

A call on several threads ends when the last of them has done its part. Where a thread has to share its CPU, the system
lets it wait for milliseconds, and the others wait for it. The best of many calls, and their median, do not show this:
the mean and the 99th percentile do.
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

# Layers, and images of each, from some 10 us to 5 ms with one thread (AVX-512, 3 GHz).
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
# Ends by itself when whoever started it is gone and could not end it.
SPIN = """\
import os, sys
while os.getppid() == int(sys.argv[1]):
    for _ in range(100_000):
        pass
"""


@dataclasses.dataclass(frozen=True)
class Schedule:
    """How long to measure each setting, which is a contender with a number of threads.

    Attributes
    ----------
    warm_up : float
        Seconds of calls under the neighbour before the first that is timed.
    turn : Slice
        What a setting has in each round.
    rounds, quiet_rounds : int
        Rounds under the neighbour, and without it.
    calls, most_rounds : int
        Further rounds follow until every setting has so many calls, or so many rounds are done.
    """

    warm_up: float
    turn: Slice
    rounds: int
    quiet_rounds: int
    calls: int
    most_rounds: int


# A slice is many times the 3 to 8 ms for which a thread waits. Its start, when threads wake up where the system puts
# them and it favours whoever has slept, is not timed: it is calls in a loop that count.
TURN = Slice(untimed=0.1, timed=0.4)
QUICK = Schedule(warm_up=0.2, turn=TURN, rounds=1, quiet_rounds=1, calls=30, most_rounds=2)
FULL = Schedule(warm_up=0.2, turn=TURN, rounds=3, quiet_rounds=1, calls=200, most_rounds=8)


@dataclasses.dataclass(frozen=True)
class Calls:
    """What single calls took: how many there were, their mean and their 99th percentile in seconds."""

    calls: int
    mean: float
    p99: float


@dataclasses.dataclass(frozen=True)
class NeighbourResult:
    """The calls of every contender on one layer in one layout.

    Attributes
    ----------
    case, layout
        What was computed.
    one, many : dict of Calls
        One thread and several, under the neighbour, by contender.
    quiet : dict of Calls
        Several threads without the neighbour.
    """

    case: Case
    layout: str
    one: dict[str, Calls]
    many: dict[str, Calls]
    quiet: dict[str, Calls]

    def mean_ratio(self, contender: str) -> float:
        """Return the mean with several threads over that with one: above 1, threads make it slower."""
        return self.many[contender].mean / self.one[contender].mean

    def p99_ratio(self, contender: str) -> float:
        """Return the 99th percentile with several threads over the mean with one."""
        return self.many[contender].p99 / self.one[contender].mean


def statistics(seconds: Sequence[NDArray[np.float64]]) -> Calls:
    """Return the statistics of the calls of all slices together."""
    together = np.concatenate(seconds)
    return Calls(together.size, float(together.mean()), float(np.percentile(together, 99)))


def check_arguments(threads: int | None, plot: str | None) -> None:
    """Raise a `CommandError` for what cannot be measured beside a neighbour, None being the default."""
    if threads == 1:
        raise CommandError("--threads must be at least 2 with --neighbour, which compares them with one, got 1")
    if plot is not None:
        raise CommandError("--plot draws a roofline, which --neighbour has none of: use --json")
    if len(os.sched_getaffinity(0)) < 2:
        raise CommandError("--neighbour needs 2 CPUs, one of them for the neighbour; this process may use 1")


def default_cases(quick: bool) -> list[Case]:
    """Return the layers that are measured where none are chosen: a dozen, or every second one of them."""
    installed = {(case.network, case.layer): case for name in networks() for case in read_network(name)}
    chosen = DEFAULT[1::2] if quick else DEFAULT
    return [installed[network, layer].with_batch(n) for network, layer, n in chosen if (network, layer) in installed]


@contextlib.contextmanager
def stopped_neighbour() -> Iterator[Process]:
    """Have a process that does nothing but keep a CPU busy once it may run, wherever the system places it."""
    nowhere = subprocess.DEVNULL  # it has nothing to say, not even at Ctrl-C
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
    """Let a stopped neighbour run, within a ``with`` block.

    Raises
    ------
    CommandError
        Where it has ended meanwhile: nobody knows beside what the calls were timed.
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
    """Check contenders on layers, and time their calls with one thread and with several beside a busy neighbour.

    Parameters
    ----------
    cases : sequence of Case
        The layers.
    layouts : sequence of str
        "NCHW", "NHWC" or both.
    contenders : sequence of str
        Names out of `CONTENDERS`, less our own, which always takes part.
    threads : int
        At least 2.
    schedule : Schedule
        How long to measure.
    progress : callable
        Called with a text before each layer, never while one is timed.

    Yields
    ------
    NeighbourResult

    Raises
    ------
    WrongResult
        For the first wrong result; it is not timed.
    CommandError
        Where a process has ended.
    """
    settings = [(name, count) for name in (US, *contenders) for count in (1, threads)]
    with processes(settings) as everybody, stopped_neighbour() as neighbour:
        several = [process for process in everybody if process.threads > 1]
        for layout, case in itertools.product(layouts, cases):
            progress(f"{layout} {case.network} {case.layer}")
            for process in everybody:
                if not process.prepare(case, layout):
                    raise CommandError(f"{process.name} cannot compute {case.network} {case.layer} in {layout}")
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
            )


def time_calls_in_turn(
    settings: Sequence[ContenderProcess], turn: Slice, rounds: int, calls: int = 0, most_rounds: int = 0
) -> dict[Setting, Calls]:
    """Time single calls in interleaved slices, so that a drift of the machine meets all alike.

    Parameters
    ----------
    settings : sequence of ContenderProcess
        Contenders that have a layer prepared.
    turn : Slice
        What each has in a round.
    rounds : int
        The fewest.
    calls, most_rounds : int
        Further rounds follow until each has so many calls, or so many rounds are done.

    Returns
    -------
    dict of Calls
        By name and number of threads.
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
