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
from ._threads import num_threads

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from multiprocessing.connection import Connection

    from ._bench import Timer
    from ._contenders import Call
    from ._tables import Case

    Prepare: TypeAlias = Callable[[Case, str], dict[str, Timer]]

BLAS_VARIABLES = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "OMP_NUM_THREADS")


@contextlib.contextmanager
def turns(names: Sequence[str], threads: int) -> Iterator[Prepare]:
    """Have contenders ready.

    Parameters
    ----------
    names : sequence of str
        Names out of `CONTENDERS`.
    threads : int
        Threads of every contender.

    Yields
    ------
    callable
        Takes a case and a layout, checks every contender's result, and returns what times a block of each. Raises
        WrongResult for the first wrong one.
    """
    if threads == 1:
        with num_threads(1):
            yield functools.partial(_prepare, names, 1)
        return
    processes: list[_Process] = []
    try:
        for name in names:
            processes.append(_Process(name, threads))
        yield lambda case, layout: {process.name: process.prepare(case, layout) for process in processes}
    finally:
        for process in processes:
            process.end()


def _prepare(names: Sequence[str], threads: int, case: Case, layout: str) -> dict[str, Timer]:
    arrays = operands(case, layout)
    built = {name: CONTENDERS[name](case, layout, arrays, threads) for name in names}
    calls = {name: call for name, call in built.items() if call is not None}
    check(case, layout, arrays, calls)
    return {name: functools.partial(_time, call) for name, call in calls.items()}


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

    def prepare(self, case: Case, layout: str) -> Timer:
        """Set up a layer and check the result; return what times a block."""
        self._ask((case, layout))
        return self._ask

    def end(self) -> None:
        """End the process, stopped or not."""
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def _signal(self, number: int) -> None:
        if self._process.pid is not None and self._process.exitcode is None:
            os.kill(self._process.pid, number)

    def _ask(self, question: Any) -> float:
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
        seconds: float = answer
        return seconds


def _serve(name: str, threads: int, pipe: Connection) -> None:
    """Answer a (case, layout) once the result is checked, and a number of repetitions with the seconds they take."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, who ends this process
    timers: dict[str, Timer] = {}
    pipe.send(0.0)
    with contextlib.suppress(EOFError), num_threads(threads):
        while True:
            question = pipe.recv()
            try:
                if isinstance(question, tuple):
                    timers = _prepare([name], threads, *question)
                    pipe.send(0.0)
                else:
                    pipe.send(timers[name](question))
            except (WrongResult, CommandError, MemoryError) as error:
                pipe.send(error)
