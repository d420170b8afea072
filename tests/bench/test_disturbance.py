"""Test that disturbed measurements are noticed and repeated. No test asserts a time."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest
from pointwise import bench
from pointwise.bench import measure

Block, Counters = bench.timing.Block, bench.scheduler.Counters
CLEAN, SPOILT = Block(1.0), Block(2.0, disturbed=True)
CASE = bench.layers.Case("t", "plain", 1, 8, 16, 6, 5, 1, 1)


@pytest.mark.parametrize(
    ("switches", "waited", "disturbed"),
    [(1, 0.6, True), (9, 5.0, True), (0, 0.6, False), (1, 0.4, False), (0, 0.0, False)],
)
def test_a_block_is_disturbed_if_threads_were_stopped_and_waited_long(switches, waited, disturbed):
    before = Counters(5, 2.0)
    after = Counters(5 + switches, 2.0 + waited)
    assert after.disturbed_since(before, 10.0) is disturbed


def test_a_busy_cpu_disturbs_a_block():
    """A process that keeps the only CPU of this thread busy disturbs a timing block sooner or later."""
    if not os.path.exists("/proc/self/schedstat"):
        pytest.skip("this system does not count the time for which threads wait for a CPU")
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    spin = subprocess.Popen([sys.executable, "-I", "-S", "-c", "while True: pass"])  # inherits the CPU
    try:
        values = np.ones(1000)
        end = time.monotonic() + 60
        while not bench.timing.time_block(lambda: values.sum(), 5000).disturbed:
            assert time.monotonic() < end
    finally:
        spin.kill()
        spin.wait()
        os.sched_setaffinity(0, allowed)


@pytest.mark.parametrize("missing", ["listdir", "open"])
def test_a_system_that_does_not_count_waits_has_no_disturbed_blocks(monkeypatch, missing):
    def fail(*_):
        raise FileNotFoundError

    monkeypatch.setattr(*((bench.scheduler.os, "listdir") if missing == "listdir" else ("builtins.open",)), fail)
    counters = bench.scheduler.counters()
    assert counters.waited == 0
    assert counters.switches >= 0


@pytest.mark.parametrize(
    ("blocks", "peak", "earlier", "words"),
    [
        ({"pointwise": [CLEAN], "numpy": [CLEAN]}, 1.0, [], None),
        ({"pointwise": [SPOILT, CLEAN], "numpy": [CLEAN, SPOILT]}, 1.0, [], None),
        (
            {"pointwise": [SPOILT, CLEAN], "numpy": [SPOILT, SPOILT], "torch": [SPOILT]},
            1.0,
            [],
            "other work took the CPU in all timing blocks of numpy, torch",
        ),
        ({"pointwise": [CLEAN]}, 0.84, [0.5, 1.0], "the FMA peak was 84% of the peak during earlier layers"),
        ({"pointwise": [CLEAN]}, 0.86, [0.5, 1.0], None),
        ({"pointwise": [CLEAN]}, 0.5, [1.0, *[0.5] * 8], None),
        ({"pointwise": [CLEAN]}, 2.0, [1.0], None),
    ],
)
def test_the_disturbance_of_a_layer(blocks, peak, earlier, words):
    assert bench.disturbance.disturbance(blocks, peak, earlier) == words


@pytest.mark.parametrize(
    ("spoilt", "measurements", "remains"), [(0, 1, False), (1, 2, False), (2, 3, False), (99, 3, True)]
)
def test_a_disturbed_layer_is_measured_again(monkeypatch, spoilt, measurements, remains):
    """The blocks of all measurements count, so that no slow block is left out."""
    count = [0]

    def blocks_in_turn(timers, deadline, effort):
        count[0] += 1
        return {name: [SPOILT if count[0] <= spoilt else CLEAN] for name in timers}

    monkeypatch.setattr(measure, "blocks_in_turn", blocks_in_turn)
    monkeypatch.setattr(bench.processes, "fma_peak", lambda threads, blocks, block, dtype="float32": 1e9)
    effort = bench.timing.Effort(seconds=0.0, block=1e-4, rounds=1)
    (result,) = measure.measure([CASE], ["NHWC"], ["numpy"], 1, effort)
    assert result.measurements == count[0] == measurements
    assert [len(blocks) for blocks in result.blocks.values()] == [measurements] * 2
    assert (result.disturbance is not None) == remains
    assert result.seconds == dict.fromkeys(("pointwise", "numpy"), 2.0 if remains else 1.0)


def test_a_slow_cpu_is_measured_again(monkeypatch):
    peaks = iter([100.0, 100.0, 70.0, 98.0, 98.0])
    monkeypatch.setattr(bench.processes.Peaks, "best", lambda self: next(peaks))
    effort = bench.timing.Effort(seconds=0.0, block=1e-4, rounds=1)
    monkeypatch.setattr(measure, "blocks_in_turn", lambda timers, *_: {name: [CLEAN] for name in timers})
    results = list(measure.measure([CASE], ["NCHW", "NHWC"], [], 1, effort))
    assert [result.measurements for result in results] == [1, 2]
    assert [result.disturbance for result in results] == [None, None]
