"""Contenders that take turns: in this process at one thread, each in a process of its own at more.

Threads of a pool spin for a while when their work is done, up to 25 ms in OpenBLAS. They would hold the CPUs that the
next contender's threads need, and be timed with it. So a contender with threads has its own process, which is stopped
while another one has its turn.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import multiprocessing
import os
import signal
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from .._runtime import num_threads
from ..cli.parser import CommandError
from .contenders import CONTENDERS, US
from .machine import fma_peak
from .operands import operands
from .timing import Slice, time_block, time_each
from .verify import WrongResult, check, check_few_channels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.connection import Connection

    from numpy.typing import NDArray

    from .layers import Case
    from .operands import Call
    from .timing import Timer

    Prepare: TypeAlias = Callable[[Case, str], dict[str, Timer]]

PEAK = "peak"  # the question for it
SHORTEST_SAMPLE, LONGEST_SAMPLE = 2e-3, 20e-3  # seconds
LEAST_SAMPLES = 5  # of the peak beside a layer, however few its rounds
BLAS_VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "OMP_NUM_THREADS")


@contextlib.contextmanager
def turns(names: Sequence[str], threads: int) -> Iterator[tuple[Prepare, Callable[[], float]]]:
    """Have contenders ready.

    Parameters
    ----------
    names : sequence of str
        Names out of `CONTENDERS`, our own first.
    threads : int
        Threads of every contender.

    Yields
    ------
    prepare : callable
        Takes a case and a layout, checks every contender's result, and returns what times a block of each; a contender
        that cannot compute the layer is left out. Raises WrongResult for the first wrong one.
    peak : callable
        Returns the FMA peak beside the layer that was prepared last, in FLOP/s.
    """
    if threads == 1:
        with num_threads(1):
            peaks = Peaks(1)
            yield functools.partial(_prepare, names, 1, peaks), peaks.best
        return
    with processes([(name, threads) for name in names]) as started:
        yield functools.partial(_prepare_all, started), functools.partial(started[0].ask, PEAK)


@contextlib.contextmanager
def processes(settings: Sequence[tuple[str, int]]) -> Iterator[list[ContenderProcess]]:
    """Have contenders ready, each in a stopped process of its own.

    Parameters
    ----------
    settings : sequence of (str, int)
        Names out of `CONTENDERS`, and the threads of each.

    Yields
    ------
    list of ContenderProcess
        In the same order.
    """
    started: list[ContenderProcess] = []
    try:
        for name, threads in settings:
            started.append(ContenderProcess(name, threads))
        yield started
    finally:
        for process in started:
            process.end()


class Peaks:
    """Samples of the FMA peak beside one layer after another.

    The clock sinks while wide vectors compute and comes back, and threads that slept may share a CPU for a while: what
    is comparable with a block of ours is the peak right after it, by the same threads and for as long (the best of
    short samples is higher than that of long ones).
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._samples: list[float] = []
        self._block = SHORTEST_SAMPLE

    def beside(self, timer: Timer) -> Timer:
        """Return our timer of a new layer, each block of which is followed by a sample."""
        self._samples.clear()

        def timed(repetitions: int) -> float:
            seconds = timer(repetitions)
            self._block = min(max(seconds, SHORTEST_SAMPLE), LONGEST_SAMPLE)
            self._sample()
            return seconds

        return timed

    def best(self) -> float:
        """Return the best sample since the layer was new."""
        while len(self._samples) < LEAST_SAMPLES:
            self._sample()
        return max(self._samples)

    def _sample(self) -> None:
        self._samples.append(fma_peak(self._threads, blocks=1, block=self._block))


def _prepare(names: Sequence[str], threads: int, peaks: Peaks, case: Case, layout: str) -> dict[str, Timer]:
    calls = _checked_calls(names, threads, case, layout)
    timers: dict[str, Timer] = {name: functools.partial(time_block, call) for name, call in calls.items()}
    if US in timers:
        timers[US] = peaks.beside(timers[US])
    return timers


def _checked_calls(names: Sequence[str], threads: int, case: Case, layout: str) -> dict[str, Call]:
    for name in names:
        check_few_channels(name, CONTENDERS[name], layout, case.epilogue, threads)
    arrays = operands(case, layout)
    built = {name: CONTENDERS[name](case, layout, arrays, threads) for name in names}
    calls = {name: call for name, call in built.items() if call is not None}
    check(case, layout, arrays, calls)
    return calls


class ContenderProcess:
    """A contender in a process of its own, which only runs while it is asked something."""

    def __init__(self, name: str, threads: int) -> None:
        self.name, self.threads = name, threads
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(name, threads, theirs), daemon=True)
        # BLAS reads these when the child imports it. Ours needs BLAS for nothing but the check: with one thread, so
        # that none of its pool spins in our turn.
        wanted = dict.fromkeys(BLAS_VARIABLES, str(1 if name == US else threads))
        before = {variable: os.environ.get(variable) for variable in wanted}
        os.environ.update(wanted)
        try:
            self._process.start()
        finally:
            for variable, value in before.items():
                if value is None:
                    del os.environ[variable]
                else:
                    os.environ[variable] = value
        theirs.close()
        self._receive()  # it is there
        self._signal(signal.SIGSTOP)

    def prepare(self, case: Case, layout: str) -> bool:
        """Set up a layer and check the result; return whether the contender can compute it."""
        return bool(self.ask((case, layout)))

    def time_each(self, turn: Slice) -> NDArray[np.float64]:
        """Return the seconds of every single timed call of a slice, once a layer is prepared."""
        seconds: NDArray[np.float64] = self.ask(turn)
        return seconds

    def end(self) -> None:
        """End the process, stopped or not."""
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def _signal(self, number: int) -> None:
        if self._process.pid is not None and self._process.exitcode is None:
            os.kill(self._process.pid, number)

    def ask(self, question: Any) -> Any:
        """Return the answer to what `_serve` knows; the process runs in the meantime, and only then."""
        self._signal(signal.SIGCONT)
        try:
            with contextlib.suppress(OSError):  # the process may have ended already: to receive says so
                self._pipe.send(question)
            return self._receive()
        finally:
            self._signal(signal.SIGSTOP)

    def _receive(self) -> Any:
        try:
            answer = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join(5)
            raise CommandError(f"the process of {self.name} has ended: exit status {self._process.exitcode}") from None
        if isinstance(answer, BaseException):
            raise answer
        return answer


def _prepare_all(processes: Sequence[ContenderProcess], case: Case, layout: str) -> dict[str, Timer]:
    return {process.name: process.ask for process in processes if process.prepare(case, layout)}


def _serve(name: str, threads: int, pipe: Connection) -> None:
    """Answer questions until there are no more.

    A (case, layout) with whether the contender computes it, once its result is checked; a number of repetitions with
    the seconds they take; a Slice with the seconds of every call; PEAK with the one beside the layer.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, who ends this process
    gc.disable()  # a collection would be charged to a call
    call: Call | None = None
    timer: Timer | None = None
    peaks = Peaks(threads)
    pipe.send(None)
    with contextlib.suppress(EOFError), num_threads(threads):
        while True:
            question = pipe.recv()
            try:
                if isinstance(question, tuple):
                    call = timer = None  # the layer before makes room
                    gc.collect()
                    call = _checked_calls([name], threads, *question).get(name)
                    if call is not None:
                        timer = functools.partial(time_block, call)
                        timer = peaks.beside(timer) if name == US else timer
                    pipe.send(call is not None)
                elif question == PEAK:
                    pipe.send(peaks.best())
                elif call is None or timer is None:
                    raise CommandError(f"{name} was asked for a time before a layer was prepared")
                elif isinstance(question, Slice):
                    pipe.send(time_each(call, question))
                else:
                    pipe.send(timer(question))
            except (WrongResult, CommandError, MemoryError) as error:
                pipe.send(error)
