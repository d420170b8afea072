"""Notices that other work took the CPU, by counters of the system."""

from __future__ import annotations

import contextlib
import os
import resource
from typing import NamedTuple

WAITED = 0.05  # fraction of a timing block; a longer wait for a CPU disturbs it


class Counters(NamedTuple):
    """Counters of the system for all threads of this process.

    Attributes
    ----------
    switches : int
        Number of times that the scheduler stopped a thread that could have gone on.
    waited : float
        Seconds for which threads were ready to run and had no CPU. Always 0 if the system does not count them.
    """

    switches: int
    waited: float

    def disturbed_since(self, before: Counters, seconds: float) -> bool:
        """Return True if other work took the CPU in the seconds since earlier counters.

        Both counters must have grown. A thread that wakes up also waits for a CPU, for microseconds and also on an idle
        machine. Short work of the system stops a thread, but for a small fraction of a timing block.
        """
        return self.switches > before.switches and self.waited - before.waited > WAITED * seconds


def counters() -> Counters:
    """Return the counters of this process."""
    waited = 0
    with contextlib.suppress(OSError):  # if the system has no such directory
        for thread in os.listdir("/proc/self/task"):
            # the system may lack the file, and a thread may end meanwhile
            with contextlib.suppress(OSError), open(f"/proc/self/task/{thread}/schedstat") as file:
                waited += int(file.read().split()[1])
    return Counters(resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw, waited / 1e9)
