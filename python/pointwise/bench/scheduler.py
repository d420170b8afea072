"""Uses counters of the system to notice that other work took the CPU."""

from __future__ import annotations

import contextlib
import os
import resource
from typing import NamedTuple

WAITED = 0.05  # a timing block is disturbed if it waits for a CPU for more than this fraction of its time


class Counters(NamedTuple):
    """Counters of the system for all threads of this process.

    Attributes
    ----------
    switches : int
        Number of times that the scheduler stopped a thread that was ready to run.
    waited : float
        Seconds for which threads were ready to run and had no CPU. Always 0 if the system does not count them.
    """

    switches: int
    waited: float

    def disturbed_since(self, before: Counters, seconds: float) -> bool:
        """Return True if other work took the CPU in the seconds since earlier counters.

        Both counters must have grown. A wait alone does not count: even on an idle machine, a thread that wakes up
        waits some microseconds for a CPU. A stop alone does not count, because short work of the system stops a thread
        only for a small fraction of a timing block.
        """
        return self.switches > before.switches and self.waited - before.waited > WAITED * seconds


def counters() -> Counters:
    """Return the counters of this process."""
    waited = 0
    with contextlib.suppress(OSError):  # if the system has no such directory
        for thread in os.listdir("/proc/self/task"):
            # the system may have no such file, and a thread may end before its file is read
            with contextlib.suppress(OSError), open(f"/proc/self/task/{thread}/schedstat") as file:
                waited += int(file.read().split()[1])
    return Counters(resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw, waited / 1e9)
