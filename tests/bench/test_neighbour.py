"""Test the figures of ``pointwise bench --neighbour``, and the end of its processes. No test asserts a time."""

import contextlib
import dataclasses
import json
import math
import multiprocessing
import os
import pathlib
import signal
import subprocess
import time

import numpy as np
import pytest
from children import PYTHON
from pointwise import bench, cli
from pointwise.__main__ import main

TINY = """network,layer,n,cin,cout,h,w,stride,groups
tiny,plain,2,8,16,6,5,1,1
tiny,[red]grouped,2,12,8,5,5,2,4
"""
CASE = bench.layers.Case("t", "layer", 1, 8, 16, 6, 5, 1, 1)
FLEETING = bench.contention.Schedule(
    warm_up=1e-4, turn=bench.timing.Slice(1e-4, 1e-3), rounds=2, quiet_rounds=1, calls=3, most_rounds=3
)
RUN = "bench --neighbour --quick --layers tiny.csv --json out.json"


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Make a table in the working directory, with two CPUs, round figures for them and very short measurements."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})
    monkeypatch.setattr(bench.command, "fma_peak", lambda threads, dtype="float32": 50e9 * threads)
    monkeypatch.setattr(bench.command, "copy_bandwidth", lambda threads: 10e9)
    monkeypatch.setattr(bench.contention, "QUICK", FLEETING)
    (tmp_path / "tiny.csv").write_text(TINY)
    return tmp_path


@pytest.fixture
def neighbours(monkeypatch):
    """Return a list that receives each busy neighbour when it starts."""
    started = []

    class Recorded(subprocess.Popen):
        def __init__(self, *arguments, **keywords):
            super().__init__(*arguments, **keywords)
            started.append(self)

    monkeypatch.setattr(bench.contention.subprocess, "Popen", Recorded)
    return started


def is_gone(process):
    """Return whether a process was killed and waited for."""
    return process.returncode == -signal.SIGKILL and not pathlib.Path(f"/proc/{process.pid}").exists()


def state_becomes(process, wanted):
    """Return whether a process reaches one of the states within 10 seconds; signals take effect with a delay."""
    stat = pathlib.Path(f"/proc/{process.pid}/stat")
    for _ in range(1000):
        if stat.read_text().rpartition(")")[2].split()[0] in wanted:
            return True
        time.sleep(0.01)
    return False


# a whole run


def test_everything_is_written(tiny, neighbours, capsys):
    assert main([*RUN.split(), "--batch", "3"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert sorted(os.listdir()) == ["out.json", "tiny.csv"]
    assert [is_gone(process) for process in neighbours] == [True]
    assert not multiprocessing.active_children()

    found = json.loads((tiny / "out.json").read_text())
    assert set(found) == {"machine", "settings", "run", "results", "summary"}
    assert found["machine"]["threads"] == 2
    assert found["settings"]["neighbour"] is True
    assert found["settings"]["batch"] == 3
    layers = ["plain", "[red]grouped"]
    assert [(r["layout"], r["layer"]) for r in found["results"]] == [(t, n) for t in ("NCHW", "NHWC") for n in layers]
    for row in found["results"]:
        assert row["n"] == 3
        assert set(row["contenders"]) == {"pointwise", "numpy"}
        for figures in row["contenders"].values():
            for name in ("one_thread", "threads", "threads_quiet"):
                assert figures[name]["calls"] >= 1
                assert 0 < figures[name]["mean"] < math.inf
                assert 0 < figures[name]["p99"] < math.inf
            mean = figures["one_thread"]["mean"]
            assert figures["mean_ratio"] == figures["threads"]["mean"] / mean
            assert figures["p99_ratio"] == figures["threads"]["p99"] / mean
        assert row["contenders"]["pointwise"]["forms"] == {}
        assert set(row["contenders"]["numpy"]["forms"]) == {"1", "2"}
    for layout, summary in found["summary"].items():
        for name in ("pointwise", "numpy"):
            for ratio in ("mean_ratio", "p99_ratio"):
                values = {r["layer"]: r["contenders"][name][ratio] for r in found["results"] if r["layout"] == layout}
                spread = summary[name][ratio]
                assert spread["worst"] == max(values.values())
                assert spread["worst_layer"] == f"tiny {max(values, key=values.get)}"
                assert spread["geometric_mean"] == pytest.approx(math.prod(values.values()) ** 0.5)
    for words in ("[red]grouped", "NCHW, float32", "NHWC, float32", "2 threads over 1 thread", "FMA peak 100.0"):
        assert words in out


def test_one_layout_and_more_threads(tiny, capsys):
    assert main([*RUN.split(), "--layout", "NHWC", "--threads", "3"]) == 0
    found = json.loads((tiny / "out.json").read_text())
    assert found["machine"]["threads"] == 3
    assert set(found["summary"]) == {"NHWC"}
    assert "3 threads over 1 thread" in capsys.readouterr().out


@pytest.mark.parametrize(("argv", "schedule", "layers"), [([], "FULL", 12), (["--quick"], "QUICK", 6)])
def test_defaults(tiny, monkeypatch, argv, schedule, layers):
    seen = []

    def measure(*arguments):
        seen.append(arguments[:-1])
        raise KeyboardInterrupt

    monkeypatch.setattr(bench.contention, "measure", measure)
    assert main(["bench", "--neighbour", *argv]) == 130
    ((cases, *others),) = seen
    assert len(cases) == layers
    assert others == [("NCHW", "NHWC"), ["numpy"], 2, getattr(bench.contention, schedule)]


def test_default_layers_are_installed():
    cases = bench.contention.default_cases(quick=False)
    assert [(case.network, case.layer, case.n) for case in cases] == list(bench.contention.DEFAULT)
    assert bench.contention.default_cases(quick=True) == cases[1::2]
    work = [case.cost().flops for case in cases]
    assert 100 * min(work) < max(work)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--threads", "1"], "--threads must be at least 2 with --neighbour, which compares with 1 thread, got 1"),
        (["--threads", "0"], "--threads: must be at least 1, got 0"),
        (["--threads", "1000000"], "--threads must be from 1 to"),
        (["--plot", "out.png"], "--plot cannot be combined with --neighbour, which has no roofline: use --json"),
        (["--vs", "nope"], "'nope'"),
        (["--network", "nope"], "there is no network 'nope'"),
        (["--json", "nowhere/out.json"], "nowhere/out.json: cannot be written"),
    ],
)
def test_bad_arguments_are_refused_in_one_line(tiny, neighbours, capsys, argv, words):
    assert main(["bench", "--neighbour", *argv]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("pointwise bench: ")
    assert err.count("\n") == 1
    assert words in err
    assert not neighbours
    assert os.listdir() == ["tiny.csv"]


def test_one_cpu_is_not_enough(tiny, neighbours, monkeypatch, capsys):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3})
    assert main(RUN.split()) == 2
    message = "pointwise bench: --neighbour needs 2 CPUs, one of them for the neighbour, but this process may use 1\n"
    assert capsys.readouterr().err == message
    assert not neighbours


# the end of all processes


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (bench.verify.WrongResult("wrong result of us"), 1, "pointwise bench: wrong result of us\n"),
        (KeyboardInterrupt(), 130, ""),
        (MemoryError(), 2, "pointwise bench: out of memory\n"),
    ],
)
@pytest.mark.parametrize("place", ["prepare", "time_each"])
def test_no_process_is_left_behind(tiny, neighbours, monkeypatch, capsys, error, status, message, place):
    right = getattr(bench.processes.ContenderProcess, place)
    left = [6]  # the error comes after the neighbour has run

    def fail(process, *arguments):
        left[0] -= 1
        if left[0] == 0:
            raise error
        return right(process, *arguments)

    monkeypatch.setattr(bench.processes.ContenderProcess, place, fail)
    assert main(RUN.split()) == status
    assert capsys.readouterr() == ("", message)
    assert [is_gone(process) for process in neighbours] == [True]
    assert not multiprocessing.active_children()
    assert os.listdir() == ["tiny.csv"]


def test_ctrl_c_ends_every_process(tiny):
    script = """
import contextlib, os, sys
from pointwise import bench
from pointwise.__main__ import main

right = bench.contention.busy

@contextlib.contextmanager
def busy(neighbour):
    with right(neighbour):
        print("busy", flush=True)
        yield

bench.contention.busy = busy
bench.command.fma_peak = bench.command.copy_bandwidth = lambda threads, dtype="float32": 1e9
os.sched_getaffinity = lambda process: {0, 1}
sys.exit(main(["bench", "--neighbour", "--quick", "--layers", "tiny.csv"]))
"""
    process = subprocess.Popen(
        [*PYTHON, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        assert process.stdout.readline() == b"busy\n"
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err) == (130, b"", b"")
        for _ in range(1000):  # multiprocessing's resource tracker ends last
            try:
                os.killpg(process.pid, 0)
            except ProcessLookupError:
                break
            time.sleep(0.01)
        else:
            pytest.fail("a process is left")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_the_neighbour_runs_only_when_it_may(neighbours):
    with bench.contention.stopped_neighbour() as neighbour:
        assert state_becomes(neighbour, "T")
        with bench.contention.busy(neighbour):
            assert state_becomes(neighbour, "R")
        assert state_becomes(neighbour, "T")
    assert [is_gone(process) for process in neighbours] == [True]


def test_the_neighbour_ends_when_whoever_started_it_is_gone(monkeypatch):
    monkeypatch.setattr(os, "getpid", lambda: 0)  # the neighbour's parent has another id
    with bench.contention.stopped_neighbour() as neighbour:
        neighbour.send_signal(signal.SIGCONT)
        assert neighbour.wait(60) == 0


def test_a_neighbour_that_has_ended_is_an_error():
    with bench.contention.stopped_neighbour() as neighbour:
        beside = bench.contention.busy(neighbour)
        beside.__enter__()
        neighbour.kill()
        neighbour.wait()
        with pytest.raises(cli.parser.CommandError, match="the busy neighbour has ended: exit status -9"):
            beside.__exit__(None, None, None)


# figures


def test_statistics_of_all_slices_together():
    first, second = np.arange(1.0, 61.0), np.arange(61.0, 102.0)
    assert bench.contention.statistics([first, second]) == bench.contention.Calls(101, 51.0, 100.0)
    slow = np.full(1000, 1e-5)
    slow[::50] = 8e-3  # outliers that a median would not show
    found = bench.contention.statistics([slow])
    assert found.mean == pytest.approx(1e-5 + 0.02 * (8e-3 - 1e-5))
    assert found.p99 == pytest.approx(8e-3)


def calls_of(mean, p99=None):
    return bench.contention.Calls(10, mean, 2 * mean if p99 is None else p99)


def results_of(ratios, p99_ratios):
    """Return results of two contenders with the given ratios; NumPy's ratios are twice as large."""
    return [
        bench.contention.NeighbourResult(
            dataclasses.replace(CASE, layer=f"layer {i}"),
            "NCHW",
            one={"pointwise": calls_of(2e-3), "numpy": calls_of(1e-3)},
            many={
                "pointwise": calls_of(2e-3 * ratio, 2e-3 * p99_ratio),
                "numpy": calls_of(2e-3 * ratio, 2e-3 * p99_ratio),
            },
            quiet={"pointwise": calls_of(1e-3), "numpy": calls_of(7e-4)},
        )
        for i, (ratio, p99_ratio) in enumerate(zip(ratios, p99_ratios, strict=True))
    ]


def test_summary():
    results = results_of([0.5, 4.0, 0.5], [1.0, 4.0, 16.0])
    assert results[1].mean_ratio("pointwise") == pytest.approx(4)
    assert results[1].mean_ratio("numpy") == pytest.approx(8)
    summary = bench.contention_report.summarize_neighbour(results, "pointwise")
    assert summary == {
        "layers": 3,
        "mean_ratio": {"geometric_mean": pytest.approx(1), "worst": pytest.approx(4), "worst_layer": "t layer 1"},
        "p99_ratio": {"geometric_mean": pytest.approx(4), "worst": pytest.approx(16), "worst_layer": "t layer 2"},
    }


def test_tables_show_microseconds_and_ratios():
    machine = bench.report.Machine("cpu", {}, "isa", 2, fma_peak=1e9, bandwidth=1e9, versions={})
    results = results_of([0.75, 3.0], [1.5, 9.0])
    found = bench.contention_report.neighbour_document(results, ["numpy"], machine, {"quick": True})
    assert found["settings"] == {"quick": True, "neighbour": True}
    text = bench.tables.rendered(bench.contention_report.neighbour_tables(results, ["numpy"], machine, found))
    rows = [line.split() for line in text.splitlines()]
    # Quiet mean, mean of one thread, mean of several threads, ratio, 99th percentile, ratio.
    assert ["t", "layer", "0", "1", "pointwise", "1000", "2000", "1500", "0.75", "3000", "1.50"] in rows
    assert ["numpy", "700", "1000", "6000", "6.00", "18000", "18.00"] in rows
    assert ["NCHW", "pointwise", "mean", "t", "layer", "1", "2", "1.50", "3.00"] in rows
    assert ["NCHW", "pointwise", "p99", "t", "layer", "1", "2", "3.67", "9.00"] in rows


class Ticking:
    """A clock that only `call` advances."""

    def __init__(self, monkeypatch, durations):
        self.now, self.durations, self.calls = 0.0, durations, 0
        monkeypatch.setattr(bench.timing.time, "perf_counter", lambda: self.now)

    def call(self):
        self.now += self.durations[self.calls % len(self.durations)]
        self.calls += 1


def test_every_call_of_a_slice_is_timed_after_those_that_warm_up(monkeypatch):
    clock = Ticking(monkeypatch, [1.0, 2.0, 4.0])
    seconds = bench.timing.time_each(clock.call, bench.timing.Slice(untimed=2.5, timed=10.0))
    assert seconds.tolist() == [4.0, 1.0, 2.0, 4.0]  # the last call, which ends after the slice, counts
    assert clock.calls == 2 + 4


def test_a_slice_has_at_least_one_call(monkeypatch):
    clock = Ticking(monkeypatch, [5.0])
    assert bench.timing.time_each(clock.call, bench.timing.Slice(untimed=0.0, timed=0.0)).tolist() == [5.0]
    assert clock.calls == 2


@pytest.mark.parametrize(
    ("calls", "most_rounds", "rounds"), [(0, 0, 2), (4, 9, 2), (5, 9, 3), (100, 4, 4), (100, 1, 2)]
)
def test_settings_take_turns(calls, most_rounds, rounds):
    order = []

    class Setting:
        def __init__(self, name, threads, each):
            self.name, self.threads, self.each = name, threads, each

        def time_each(self, turn):
            order.append(f"{self.name}{self.threads}")
            return np.full(turn.timed * self.each, 0.5)

    settings = [Setting("a", 1, 3), Setting("a", 2, 2), Setting("b", 1, 50)]
    found = bench.contention.time_calls_in_turn(settings, bench.timing.Slice(0, 1), 2, calls, most_rounds)
    assert order == ["a1", "a2", "b1"] * rounds
    assert found == {
        ("a", 1): bench.contention.Calls(3 * rounds, 0.5, 0.5),
        ("a", 2): bench.contention.Calls(2 * rounds, 0.5, 0.5),
        ("b", 1): bench.contention.Calls(50 * rounds, 0.5, 0.5),
    }
