"""Lets contenders take turns. They share this process if they have one thread. Otherwise each has its own process.

Threads of a pool, such as the pool of OpenBLAS, spin for a while after their work. Such threads would keep CPUs busy
during the turn of the next contender. So a contender with several threads has its own process, which is stopped outside
its turns.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import multiprocessing
import os
import signal
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from .._runtime import num_threads
from ..cli.parser import CommandError
from .cold import ColdCalls, time_cold
from .contenders import OWN, US
from .dtypes import FLOAT32, peak
from .layers import Case, Network
from .machine import fma_peak
from .preparation import prepare
from .timing import Block, Slice, time_block, time_each
from .verify import WrongResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.connection import Connection

    from numpy.typing import NDArray

    from .operands import Call
    from .timing import Timer

    Job: TypeAlias = Case | Network
    Prepare: TypeAlias = Callable[[Job, str], "Prepared"]

PEAK = "peak"  # a question to a process: what is the FMA peak?
SHORTEST_SAMPLE, LONGEST_SAMPLE = 2e-3, 20e-3  # seconds
LEAST_SAMPLES = 5  # minimum number of samples of the peak for a layer
BLAS_VARIABLES: tuple[str, ...] = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "OMP_NUM_THREADS")


class Prepared(NamedTuple):
    """Contenders with a prepared layer. Contenders that cannot compute the layer are left out.

    Attributes
    ----------
    timers : dict of callable
        Timers by contender.
    forms : dict of str
        Fastest form of each contender, empty if the contender has only one form.
    """

    timers: dict[str, Timer]
    forms: dict[str, str]


@contextlib.contextmanager
def turns(names: Sequence[str], threads: int, dtype: str = FLOAT32) -> Iterator[tuple[Prepare, Callable[[], float]]]:
    """Start contenders for a ``with`` block.

    Parameters
    ----------
    names : sequence of str
        Names of contenders, pointwise first.
    threads : int
        Number of threads of each contender.
    dtype : str
        Dtype of the peak.

    Yields
    ------
    prepare : callable
        Takes a layer or a network, and a layout. Checks the result of each contender in all of its forms, and returns
        `Prepared`. Raises WrongResult if a result is wrong.
    peak : callable
        Returns the FMA peak in FLOP/s. Its samples alternate with the timing blocks of the last prepared layer.
    """
    if threads == 1:
        with num_threads(1):
            peaks = Peaks(1, dtype)
            yield functools.partial(_prepare, names, 1, peaks), peaks.best
        return
    with processes([(name, threads) for name in names], dtype) as started:
        yield functools.partial(_prepare_all, started), functools.partial(started[0].ask, PEAK)


@contextlib.contextmanager
def processes(settings: Sequence[tuple[str, int]], dtype: str = FLOAT32) -> Iterator[list[ContenderProcess]]:
    """Start contenders for a ``with`` block, each in its own process. A process is stopped except while it answers.

    Parameters
    ----------
    settings : sequence of (str, int)
        Names of contenders, and the number of threads of each.
    dtype : str
        Dtype of the peak.

    Yields
    ------
    list of ContenderProcess
        Processes in the order of `settings`.
    """
    started: list[ContenderProcess] = []
    try:
        for name, threads in settings:
            started.append(ContenderProcess(name, threads, dtype))
        yield started
    finally:
        for process in started:
            process.end()


class Peaks:
    """Samples of the FMA peak, measured in turn with a layer.

    Wide vectors lower the clock of the CPU for a while, and threads that slept may share a CPU at first. So after each
    timing block of pointwise, a sample runs on the same number of threads. The sample takes as long as the block, but
    at least 2 ms and at most 20 ms. The best of short samples is higher than the best of long samples, so the durations
    must be the same.
    """

    def __init__(self, threads: int, dtype: str = FLOAT32) -> None:
        self._threads, self._dtype = threads, dtype
        self._samples: list[float] = []
        self._block = SHORTEST_SAMPLE

    def beside(self, timer: Timer) -> Timer:
        """Forget all samples. Return a timer for a new layer. The timer takes a sample after each timing block."""
        self._samples.clear()

        def timed(repetitions: int) -> Block:
            block = timer(repetitions)
            self._block = min(max(block.seconds * repetitions, SHORTEST_SAMPLE), LONGEST_SAMPLE)
            self._sample()
            return block

        return timed

    def best(self) -> float:
        """Return the best sample of the layer."""
        while len(self._samples) < LEAST_SAMPLES:
            self._sample()
        return max(self._samples)

    def _sample(self) -> None:
        sample = functools.partial(fma_peak, self._threads, blocks=1, block=self._block)
        self._samples.append(peak(self._dtype, lambda dtype: sample(dtype=dtype)))


def _prepare(names: Sequence[str], threads: int, peaks: Peaks, job: Job, layout: str) -> Prepared:
    calls = prepare(names, threads, job, layout)
    timers: dict[str, Timer] = {name: _timer(call) for name, (_, call) in calls.items()}
    if US in timers:
        timers[US] = peaks.beside(timers[US])
    return Prepared(timers, {name: form for name, (form, _) in calls.items()})


def _timer(call: Call) -> Timer:
    if isinstance(call, ColdCalls):
        return functools.partial(time_cold, call)
    return functools.partial(time_block, call)


class ContenderProcess:
    """Contender in its own process, which runs only while it answers a question."""

    def __init__(self, name: str, threads: int, dtype: str = FLOAT32) -> None:
        self.name, self.threads = name, threads
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(name, threads, dtype, theirs), daemon=True)
        # BLAS reads these variables when the child imports NumPy. The process of pointwise uses BLAS only for the
        # check. BLAS has one thread in that process, so that no other thread spins in the turn of pointwise.
        wanted = dict.fromkeys(BLAS_VARIABLES, str(1 if name in OWN else threads))
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
        self._receive()  # waits until the process has started
        self._signal(signal.SIGSTOP)

    def prepare(self, job: Job, layout: str) -> str | None:
        """Prepare a layer or network and check its results.

        Return the fastest form, or None if the contender cannot compute a layer.
        """
        form: str | None = self.ask((job, layout))
        return form

    def time_each(self, turn: Slice) -> NDArray[np.float64]:
        """Return the seconds of each timed call of a slice. A layer must be prepared."""
        seconds: NDArray[np.float64] = self.ask(turn)
        return seconds

    def end(self) -> None:
        """End the process, even if it is stopped."""
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def _signal(self, number: int) -> None:
        if self._process.pid is not None and self._process.exitcode is None:
            os.kill(self._process.pid, number)

    def ask(self, question: Any) -> Any:
        """Return the answer to a question that `_serve` knows. The process runs until it has answered."""
        self._signal(signal.SIGCONT)
        try:
            with contextlib.suppress(OSError):  # if the process has ended, _receive raises an error
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


def _prepare_all(processes: Sequence[ContenderProcess], job: Job, layout: str) -> Prepared:
    found = [(process, process.prepare(job, layout)) for process in processes]
    timers: dict[str, Timer] = {process.name: process.ask for process, form in found if form is not None}
    return Prepared(timers, {process.name: form for process, form in found if form is not None})


def _serve(name: str, threads: int, dtype: str, pipe: Connection) -> None:
    """Answer questions until the pipe is closed.

    - (layer or network, layout): prepares the calls and checks the results. The answer is the fastest form, or None if
      the contender cannot compute a layer.
    - A number of repetitions: the answer is a timing block.
    - A Slice: the answer is the seconds of each timed call.
    - PEAK: the answer is the FMA peak, measured in turn with the layer.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C and ends this process
    gc.disable()  # garbage collection would be part of the time of a call
    call: Call | None = None
    timer: Timer | None = None
    peaks = Peaks(threads, dtype)
    pipe.send(None)
    with contextlib.suppress(EOFError), num_threads(threads):
        while True:
            question = pipe.recv()
            try:
                if isinstance(question, tuple):
                    call = timer = None  # frees the memory of the previous layer
                    gc.collect()
                    form, call = prepare([name], threads, *question).get(name, (None, None))
                    if call is not None:
                        timer = _timer(call)
                        timer = peaks.beside(timer) if name == US else timer
                    pipe.send(form)
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
