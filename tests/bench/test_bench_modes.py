"""Test the benchmark with --cold, --sequence and --tune. No test asserts a time."""

import json
import math

import numpy as np
import pytest
from pointwise import bench
from pointwise.__main__ import main

HEADER = "network,layer,n,cin,cout,h,w,stride,groups"
TABLE = f"""{HEADER}
one,plain,1,8,16,6,5,1,1
one,strided,1,8,4,7,6,2,1
two,grouped,2,12,8,5,5,2,4
"""
Block = bench.timing.Block
FLEETING = bench.timing.Effort(seconds=0.0, block=1e-4, rounds=2)
CASE = bench.layers.Case("t", "plain", 2, 8, 16, 6, 5, 1, 1)


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Make a table in the working directory, a small cache, and very short measurements."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bench.command, "fma_peak", lambda threads, dtype="float32": 50e9)
    monkeypatch.setattr(bench.command, "copy_bandwidth", lambda threads: 10e9)
    monkeypatch.setattr(bench.command, "last_level_cache", lambda: 5000)
    monkeypatch.setattr(bench.processes, "fma_peak", lambda threads, blocks, block, dtype="float32": 40e9)
    monkeypatch.setattr(bench.contenders, "TUNE_SECONDS", 0.02)
    for name in ("QUICK", "COLD_QUICK", "NETWORK_QUICK"):
        monkeypatch.setattr(bench.command, name, FLEETING)
    (tmp_path / "table.csv").write_text(TABLE)
    return tmp_path


def run(table, options):
    assert main(f"bench --layers table.csv --quick --json out.json {options}".split()) == 0
    return json.loads((table / "out.json").read_text())


def building(monkeypatch, seen, spoil=None):
    """Make the contender numpy append its arrays to `seen`. The build with number `spoil` gives wrong results."""
    right = bench.contenders.CONTENDERS["numpy"]

    def build(case, layout, arrays, threads):
        seen.append(arrays)
        forms = right(case, layout, arrays, threads)
        return {form: (lambda call=call: call() + 1) for form, call in forms.items()} if len(seen) == spoil else forms

    monkeypatch.setitem(bench.contenders.CONTENDERS, "numpy", build)


# cold


def test_a_cold_layer_has_copies():
    nbytes = 4 * (2 * 8 * 6 * 5 + 16 * 8)
    assert bench.cold.copies_of(CASE) == 1
    assert bench.cold.copies_of(CASE.cold(100 * nbytes)) == bench.cold.MOST_COPIES
    assert bench.cold.copies_of(CASE.cold(2 * nbytes)) == 3
    assert bench.cold.copies_of(CASE.cold(1)) == 2, "a call evicts the arrays of the other copy"
    assert bench.machine.last_level_cache() >= 1 << 18


def test_a_sweep_evicts_and_times_all_copies_but_the_first(monkeypatch):
    events, clock = [], [0.0]

    def call(i):
        events.append(i)
        clock[0] += 10.0 if i == 0 else float(i)

    monkeypatch.setattr(bench.cold.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(bench.cold, "evict", lambda nbytes, threads: events.append((nbytes, threads)))
    calls = bench.cold.ColdCalls([lambda i=i: call(i) for i in range(4)], 1000, 2)
    assert calls.sweep() == (1 + 2 + 3) / 3
    assert events == [(1000, 2), 0, 1, 2, 3]
    for repetitions, sweeps in ((1, 1), (3, 1), (4, 2)):
        events.clear()
        assert bench.cold.time_cold(calls, repetitions).seconds == 2
        assert len(events) == 5 * sweeps
    assert bench.timing.blocks_in_turn({"a": lambda n: Block(1e-3 * n)}, 0, bench.measure.COLD_FULL)["a"][0] == Block(
        1e-3
    )


@pytest.mark.parametrize("threads", [1, 3])
def test_all_bytes_are_read(monkeypatch, threads):
    class Part(np.ndarray):
        def max(self):
            read.append(self.size)

    read = []
    monkeypatch.setattr(bench.cold, "_filling", lambda nbytes: np.ones(nbytes // 8).view(Part))
    bench.cold.evict(8000, threads)
    assert sum(read) == 1000
    assert len(read) == threads


def test_calls_one_after_the_other():
    made = []
    together = bench.preparation.OneAfterTheOther([lambda i=i: made.append(i) or i for i in range(3)])
    assert (together(), made) == (2, [0, 1, 2])


def test_each_copy_has_its_own_arrays(monkeypatch):
    seen = []
    building(monkeypatch, seen)
    found = bench.preparation.prepare(["pointwise", "numpy"], 1, CASE.cold(6000), "NHWC")
    assert set(found) == {"pointwise", "numpy"}
    assert len(seen) == 4
    for name in ("x", "weight", "bias"):
        arrays = [getattr(one, name) for one in seen]
        assert len({array.ctypes.data for array in arrays}) == 4
        assert all(np.array_equal(array, arrays[0]) for array in arrays)
    assert all(one.residual is None for one in seen)


def test_a_wrong_result_of_one_copy_is_found(monkeypatch):
    building(monkeypatch, [], spoil=3)
    with pytest.raises(bench.verify.WrongResult, match=r"wrong result of numpy \(m @ x\), copy 2 on t plain in NCHW"):
        bench.preparation.prepare(["pointwise", "numpy"], 1, CASE.cold(6000), "NCHW")


@pytest.mark.parametrize("threads", [1, 2])
def test_cold(table, capsys, threads):
    found = run(table, f"--cold --threads {threads}")
    assert found["settings"]["cold"] is True
    assert [row["layer"] for row in found["results"]] == 2 * ["plain", "strided", "grouped"]
    assert {row["evicted_bytes"] for row in found["results"]} == {15000}
    assert all(row["ratio"]["numpy"] > 0 for row in found["results"])
    assert "NCHW, float32, bias and ReLU, x and weights from memory" in capsys.readouterr().out


def test_hot_is_the_default(table, capsys):
    found = run(table, "--layout NCHW")
    assert "evicted_bytes" not in found["results"][0]
    assert not {"cold", "sequence", "tune"} & set(found["settings"])
    assert "from memory" not in capsys.readouterr().out


# sequence


@pytest.mark.parametrize("threads", [1, 2])
def test_sequence(table, capsys, threads):
    found = run(table, f"--sequence --no-bias --threads {threads}")
    assert found["settings"]["sequence"] is True
    rows = [(row["layout"], row["network"], row["layers"]) for row in found["results"]]
    assert rows == [(layout, *network) for layout in ("NCHW", "NHWC") for network in (("one", 2), ("two", 1))]
    cases = bench.layers.read_table(table / "table.csv", "table.csv")
    for row in found["results"]:
        costs = [case.cost() for case in cases if case.network == row["network"]]
        assert row["cost"]["flops"] == sum(cost.flops for cost in costs)
        assert row["ratio"] == {"numpy": row["seconds"]["numpy"] / row["seconds"]["pointwise"]}
        assert row["rounds"] >= 2
    versus = found["summary"]["NHWC"]["versus"]["numpy"]
    ratios = {row["network"]: row["ratio"]["numpy"] for row in found["results"] if row["layout"] == "NHWC"}
    assert versus["layers"] == found["summary"]["NHWC"]["networks"] == 2
    assert versus["minimum_layer"] == min(ratios, key=ratios.get)
    assert versus["geometric_mean_ratio"] == pytest.approx(math.prod(ratios.values()) ** 0.5)
    out = capsys.readouterr().out
    assert "float32, no bias, ReLU, layers in sequence" in out
    assert "geometric mean of 2 networks" in out


def test_a_sequence_calls_every_layer_once(monkeypatch):
    calls = []

    def build(case, layout, arrays, threads):
        return {"": lambda: calls.append(case.layer) or right(case, layout, arrays, threads)[""]()}

    right = bench.contenders.CONTENDERS["pointwise"]
    monkeypatch.setitem(bench.contenders.CONTENDERS, "pointwise", build)
    other = bench.layers.Case("t", "other", 1, 3, 5, 4, 4, 1, 1)
    (network,) = bench.layers.in_networks([CASE, other])
    found = bench.preparation.prepare(["pointwise"], 1, network, "NCHW")
    calls.clear()
    found["pointwise"][1]()
    assert calls == ["plain", "other"]


def test_a_contender_without_a_layer_is_left_out_of_its_network(table, monkeypatch, capsys):
    right = bench.contenders.CONTENDERS["numpy"]

    def no_groups(case, layout, arrays, threads):
        return right(case, layout, arrays, threads) if case.groups == 1 else {}

    monkeypatch.setitem(bench.contenders.CONTENDERS, "numpy", no_groups)
    found = run(table, "--sequence --layout NCHW")
    assert [row["ratio"]["numpy"] is None for row in found["results"]] == [False, True]
    assert found["summary"]["NCHW"]["versus"]["numpy"]["layers"] == 1


def test_a_wrong_layer_of_a_sequence_is_found(table, monkeypatch, capsys):
    building(monkeypatch, [], spoil=2)
    assert main(["bench", "--layers", "table.csv", "--quick", "--sequence", "--layout", "NCHW"]) == 1
    assert "wrong result of numpy (m @ x) on one strided in NCHW" in capsys.readouterr().err


# tune


@pytest.mark.parametrize("threads", [1, 2])
def test_tune(table, capsys, threads):
    found = run(table, f"--tune --threads {threads}")
    assert found["settings"]["tune"] is True
    for row in found["results"]:
        assert set(row["seconds"]) == {"pointwise", "tuned", "numpy"}
        assert row["gain"] == row["seconds"]["pointwise"] / row["seconds"]["tuned"]
        assert set(row["ratio"]) == {"numpy"}
        assert row["forms"].get("tuned", "gemm, source").count(", source") == 1
    summary = found["summary"]["NHWC"]["tuned"]
    gains = {f"{r['network']} {r['layer']}": r["gain"] for r in found["results"] if r["layout"] == "NHWC"}
    assert summary["layers"] == 3
    assert summary["maximum_gain"] == max(gains.values())
    assert summary["maximum_layer"] == max(gains, key=gains.get)
    assert summary["minimum_gain"] == min(gains.values())
    assert summary["geometric_mean_gain"] == pytest.approx(math.prod(gains.values()) ** (1 / 3))
    out = capsys.readouterr().out
    assert "tuning" in out
    assert "times as fast as the prediction" in out


def test_a_tuned_layer_is_no_peer():
    blocks = {"pointwise": [Block(3.0)], "tuned": [Block(2.0)], "numpy": [Block(4.0)], "torch": [Block(5.0)]}
    result = bench.measure.Result(CASE, "NCHW", CASE.cost(), blocks, peak=1e9)
    assert result.best_peer() == "numpy"
    assert result.gain == 1.5
    assert "tuned" not in bench.command.PEERS
    assert main(["bench", "--vs", "tuned"]) == 2


def test_the_form_of_a_tuned_layer_is_its_kernel(monkeypatch):
    arrays = bench.operands.operands(CASE, "NCHW")
    monkeypatch.setattr(bench.contenders.Conv, "tune", lambda layer, shape, seconds: 1.5)
    (form,) = bench.contenders.builder("tuned")(CASE, "NCHW", arrays, 1)
    assert form.startswith("gemm_f32_")
    assert ", source" in form
    monkeypatch.setattr(bench.contenders.Conv, "tune", lambda layer, shape, seconds: 1.0)
    assert list(bench.contenders.builder("tuned")(CASE, "NCHW", arrays, 1)) == [""]


# refusals


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--cold --sequence", "--cold cannot be combined with --sequence"),
        ("--tune --cold", "--cold cannot be combined with --tune"),
        ("--tune --sequence", "--sequence cannot be combined with --tune"),
        ("--cold --explain", "--cold cannot be combined with --explain"),
        ("--sequence --company", "--sequence cannot be combined with --company"),
        ("--tune --neighbour", "--tune cannot be combined with --neighbour"),
        ("--sequence --plot out.png", "--plot cannot be combined with --sequence"),
    ],
)
def test_refused(options, words, capsys, monkeypatch):
    monkeypatch.setattr(bench.command, "fma_peak", lambda threads, dtype="float32": pytest.fail("the run has started"))
    assert main(["bench", *options.split()]) == 2
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1
