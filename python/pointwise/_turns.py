"""Contenders that take turns: in this process at one thread, each in a process of its own at more.

Threads of a pool spin for a while when their work is done, up to 25 ms in OpenBLAS. They would hold the CPUs that the
next contender's threads need, and be timed with it. So a contender with threads has its own process, which is stopped
while another one has its turn.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import multiprocessing
import os
import signal
import time
from typing import TYPE_CHECKING, Any, TypeAlias

from ._bench import WrongResult, check
from ._cli import CommandError
from ._contenders import CONTENDERS, US, operands
from ._machine import fma_peak
from ._threads import num_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.connection import Connection

    from ._bench import Timer
    from ._contenders import Call
    from ._tables import Case

    Prepare: TypeAlias = Callable[[Case, str], dict[str, Timer]]

PEAK = "peak"  # the question for it
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
            peaks = _Peaks(1)
            yield functools.partial(_prepare, names, 1, peaks), peaks.best
        return
    processes: list[_Process] = []
    try:
        for name in names:
            processes.append(_Process(name, threads))
        yield functools.partial(_prepare_all, processes), functools.partial(processes[0].ask, PEAK)
    finally:
        for process in processes:
            process.end()


class _Peaks:
    """Samples of the FMA peak beside one layer after another.

    The clock sinks while wide vectors compute and comes back, and threads that slept may share a CPU for a while: what
    is comparable with a block of ours is the peak right after it, by the same threads.
    """

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._samples: list[float] = []

    def beside(self, timer: Timer) -> Timer:
        """Return our timer of a new layer, each block of which is followed by a sample."""
        self._samples.clear()

        def timed(repetitions: int) -> float:
            seconds = timer(repetitions)
            self._sample()
            return seconds

        return timed

    def best(self) -> float:
        """Return the best sample since the layer was new."""
        while len(self._samples) < LEAST_SAMPLES:
            self._sample()
        return max(self._samples)

    def _sample(self) -> None:
        self._samples.append(fma_peak(self._threads, blocks=1))


def _prepare(names: Sequence[str], threads: int, peaks: _Peaks, case: Case, layout: str) -> dict[str, Timer]:
    arrays = operands(case, layout)
    built = {name: CONTENDERS[name](case, layout, arrays, threads) for name in names}
    calls = {name: call for name, call in built.items() if call is not None}
    check(case, layout, arrays, calls)
    timers: dict[str, Timer] = {name: functools.partial(_time, call) for name, call in calls.items()}
    if US in timers:
        timers[US] = peaks.beside(timers[US])
    return timers


def _time(call: Call, repetitions: int) -> float:
    """Return the seconds of one block, after some calls that warm up caches and threads."""
    for _ in range(1 + repetitions // 4):
        call()
    repeat = itertools.repeat(None, repetitions)
    start = time.perf_counter()
    for _ in repeat:
        call()
    return time.perf_counter() - start


class _Process:
    """A contender in a process of its own, which only runs while it is asked something."""

    def __init__(self, name: str, threads: int) -> None:
        self.name = name
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

    def end(self) -> None:
        """End the process, stopped or not."""
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def _signal(self, number: int) -> None:
        if self._process.pid is not None and self._process.exitcode is None:
            os.kill(self._process.pid, number)

    def ask(self, question: Any) -> float:
        """Return the answer to what `_serve` knows; the process runs in the meantime, and only then."""
        self._signal(signal.SIGCONT)
        try:
            self._pipe.send(question)
            return self._receive()
        finally:
            self._signal(signal.SIGSTOP)

    def _receive(self) -> float:
        try:
            answer = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join(5)
            raise CommandError(f"the process of {self.name} has ended: exit status {self._process.exitcode}") from None
        if isinstance(answer, BaseException):
            raise answer
        number: float = answer
        return number


def _prepare_all(processes: Sequence[_Process], case: Case, layout: str) -> dict[str, Timer]:
    return {process.name: process.ask for process in processes if process.prepare(case, layout)}


def _serve(name: str, threads: int, pipe: Connection) -> None:
    """Answer questions until there are no more.

    A (case, layout) with whether the contender computes it, once its result is checked; a number of repetitions with
    the seconds they take; PEAK with the one beside the layer.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, who ends this process
    timers: dict[str, Timer] = {}
    peaks = _Peaks(threads)
    pipe.send(0.0)
    with contextlib.suppress(EOFError), num_threads(threads):
        while True:
            question = pipe.recv()
            try:
                if isinstance(question, tuple):
                    timers = _prepare([name], threads, peaks, *question)
                    pipe.send(float(name in timers))
                elif question == PEAK:
                    pipe.send(peaks.best())
                else:
                    pipe.send(timers[name](question))
            except (WrongResult, CommandError, MemoryError) as error:
                pipe.send(error)
