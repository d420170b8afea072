"""Test the reference figures and summaries of the benchmark: peaks, copy bandwidth, classes of layers, best peers."""

import json
import math
import types

import numpy as np
import pytest
from pointwise import _core, bench
from pointwise.__main__ import main

MACHINE = bench.report.Machine("cpu", {}, "isa", 1, fma_peak=400e9, bandwidth=10e9, versions={})
Block = bench.timing.Block
CASE = bench.layers.Case("t", "plain", 2, 8, 16, 6, 5, 1, 1)


def result(layer, sizes, of_peak, others, layout="NHWC"):
    """Return the result of a layer `n, cin, cout, h, w` that reaches the share `of_peak` of 100 GFLOP/s."""
    case = bench.layers.Case("t", layer, *sizes, 1, 1)
    cost = case.cost(layout)
    ours = cost.flops / (of_peak * 100e9)
    blocks = {name: [Block(ratio * ours)] for name, ratio in others.items()}
    return bench.measure.Result(case, layout, cost, {"pointwise": [Block(ours)], **blocks}, peak=100e9)


# the peak beside a layer


def test_each_of_our_blocks_is_followed_by_a_sample_of_the_peak(monkeypatch):
    order = []
    monkeypatch.setattr(
        bench.processes,
        "fma_peak",
        lambda threads, blocks, block, **how: order.append((threads, blocks)) or len(order),
    )
    peaks = bench.processes.Peaks(3)
    timer = peaks.beside(lambda repetitions: order.append(repetitions) or Block(0.5))
    assert [timer(7), timer(8)] == [Block(0.5), Block(0.5)]
    assert order == [7, (3, 1), 8, (3, 1)]
    assert peaks.best() == 7, "at least the requested number of samples, even with few blocks"
    assert order[4:] == [(3, 1)] * 3
    assert peaks.best() == 7
    assert len(order) == 7
    monkeypatch.setattr(bench.processes, "fma_peak", lambda threads, blocks, block, dtype="float32": 1.0)
    peaks.beside(timer)
    assert peaks.best() == 1, "samples of the layer before do not count"


def test_only_our_blocks_are_followed_by_a_sample(monkeypatch):
    samples = []
    monkeypatch.setattr(bench.processes, "fma_peak", lambda threads, blocks, block, **how: samples.append(1) or 1e9)
    with bench.processes.turns(["pointwise", "numpy"], 1) as (prepare, peak):
        timers, _ = prepare(CASE, "NCHW")
        timers["numpy"](1)
        assert not samples
        timers["pointwise"](1)
        assert len(samples) == 1
        assert peak() == 1e9


def test_a_sample_of_the_peak_is_as_long_as_our_block(monkeypatch):
    samples = []
    monkeypatch.setattr(bench.processes, "fma_peak", lambda threads, blocks, block, **how: samples.append(block) or 1e9)
    peaks = bench.processes.Peaks(1)
    timer = peaks.beside(lambda repetitions: Block(1e-3))
    for repetitions in (1, 7, 1000):
        timer(repetitions)
    assert samples == [2e-3, 7e-3, 20e-3]


def test_percentages_are_of_the_peak_beside_the_layer():
    one = result("one", (1, 64, 64, 16, 16), 0.5, {})
    assert one.peak_fraction == pytest.approx(0.5)
    summary = bench.report.summarize([one], [], MACHINE)
    assert summary["peak_fraction_above_1_mflop"] == pytest.approx(0.5)
    row = bench.report.document([one], [], MACHINE, {})["results"][0]
    assert row["peak"] == 100e9
    assert row["peak_fraction"] == pytest.approx(0.5)


# the copy bandwidth


def test_the_better_copy_is_the_bandwidth(monkeypatch):
    clock = [0.0]
    takes = {"plain": 2.0, "streaming": 1.0}

    def copy(kind):
        clock[0] += takes[kind]

    monkeypatch.setattr(bench.machine.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(bench.machine, "SMALLEST_COPY", 1 << 16)
    monkeypatch.setattr(bench.machine, "caches", dict)
    monkeypatch.setattr(bench.machine.np, "copyto", lambda target, source: copy("plain"))
    testing = types.SimpleNamespace(streaming_copy=lambda *arguments: copy("streaming"))
    monkeypatch.setattr(bench.machine, "_core", types.SimpleNamespace(_testing=testing))
    assert bench.machine.copy_bandwidth(1, repetitions=2) == 2 * (1 << 16)
    takes["streaming"] = 4.0
    assert bench.machine.copy_bandwidth(1, repetitions=2) == 1 << 16


def test_a_streaming_copy_copies():
    for threads in (1, 2):
        for offset, size in ((0, 0), (1, 5), (3, (1 << 20) + 9)):
            source = np.arange(offset + size, dtype=np.float32)[offset:]
            target = np.zeros(size + offset + 2, np.float32)
            _core._testing.streaming_copy(target[offset : offset + size], source, threads)
            assert np.array_equal(target[offset : offset + size], source)
            assert not target[:offset].any()
            assert not target[offset + size :].any()


def test_a_streaming_copy_refuses_what_it_cannot_copy():
    target = np.zeros(8, np.float32)
    for to, source in ((target, np.ones(9, np.float32)), (target[::2], target[4:]), (target[4:], target[::2])):
        with pytest.raises(ValueError, match="C-contiguous"):
            _core._testing.streaming_copy(to, source, 1)
    target.flags.writeable = False
    with pytest.raises((BufferError, ValueError)):
        _core._testing.streaming_copy(target, np.ones(8, np.float32), 1)
    assert not target.any()


def test_the_bandwidth_is_sampled_at_both_ends_and_between(monkeypatch, tmp_path):
    table = tmp_path / "many.csv"
    header = "network,layer,n,cin,cout,h,w,stride,groups\n"
    table.write_text(header + "".join(f"many,{i},1,2,2,3,3,1,1\n" for i in range(25)))
    events = []

    def measure(cases, layouts, contenders, threads, effort, progress):
        for case in cases:
            progress(case.layer)
            events.append(case.layer)
            blocks = {"pointwise": [Block(1e-6)], "numpy": [Block(2e-6)]}
            yield bench.measure.Result(case, "NCHW", case.cost(), blocks, peak=1e9)

    def copy_bandwidth(threads):
        events.append("copy")
        return [1e9, 2e9, 9e9, 3e9][events.count("copy") - 1]

    monkeypatch.setattr(bench.command, "measure", measure)
    monkeypatch.setattr(bench.command, "copy_bandwidth", copy_bandwidth)
    monkeypatch.setattr(bench.command, "fma_peak", lambda threads, dtype="float32": 1e9)
    out = tmp_path / "out.json"
    assert main(["bench", "--layers", str(table), "--layout", "NCHW", "--json", str(out)]) == 0
    assert [i for i, event in enumerate(events) if event == "copy"] == [0, 11, 22, 28]
    assert json.loads(out.read_text())["machine"]["bandwidth"] == 9e9


# classes


def is_compute_bound(case):
    result = bench.measure.Result(case, "NCHW", case.cost(), {"pointwise": [Block(1.0)]}, peak=1.0)
    return bench.classes.is_compute_bound(result)


@pytest.mark.parametrize(
    ("sizes", "groups", "bound"),
    [
        ((1, 64, 64, 16, 16), 1, True),
        ((2, 96, 96, 8, 8), 1, True),
        ((1, 64, 64, 8, 8), 1, False),  # 0.5 MFLOP
        ((1, 1024, 1024, 7, 7), 1, True),
        ((1, 1024, 1024, 4, 4), 1, False),  # weights are most of the traffic: 7.8 FLOP/byte
        ((1, 1024, 15, 64, 64), 1, False),
        ((1, 192, 192, 64, 64), 2, True),
        ((1, 192, 192, 64, 64), 8, False),  # 6 FLOP/byte
    ],
)
def test_what_is_compute_bound(sizes, groups, bound):
    assert is_compute_bound(bench.layers.Case("t", "it", *sizes, 1, groups)) == bound


def test_compute_bound_layers_have_pixels_and_channels_enough():
    for pixels, channels, others in ((16, 4096, 4096), (4096, 16, 4096), (4096, 4096, 16)):
        sizes = (1, channels, others, pixels, 1)
        assert not is_compute_bound(bench.layers.Case("t", "it", *sizes, 1, 1))
        groups = (1, 8 * channels, 8 * others, pixels, 1)
        assert not is_compute_bound(bench.layers.Case("t", "it", *groups, 1, 8))


CLASSES = [
    result("half", (1, 64, 64, 16, 16), 0.5, {}),
    result("most", (1, 64, 64, 16, 16), 0.98, {}),
    # 2.1 MFLOP, 4 FLOP/byte
    result("at the peak", (1, 16, 16, 64, 64), 0.8, {}),
    result("at the bandwidth", (1, 16, 16, 64, 64), 0.4, {}),
    result("at neither", (1, 16, 16, 64, 64), 0.3, {}),
    result("small", (1, 16, 16, 4, 4), 0.01, {}),
]


def test_classes_are_summarized():
    bandwidth = CLASSES[3].bytes_per_second / 0.86
    summary = bench.classes.class_summary(CLASSES, bandwidth)
    bound, other = summary["compute_bound"], summary["other_above_1_mflop"]
    assert bound == {
        "layers": 2,
        "peak_fraction": pytest.approx(0.7),
        "minimum_peak_fraction": pytest.approx(0.5),
        "minimum_layer": "t half",
    }
    share = 0.86 * 0.3 / 0.4
    assert other == {
        "layers": 3,
        "minimum_of_targets": pytest.approx(share / 0.85),
        "minimum_layer": "t at neither",
        "minimum_peak_fraction": pytest.approx(0.3),
        "minimum_bandwidth_fraction": pytest.approx(share),
        "below_targets": ["t at neither"],
    }
    assert bench.classes.class_lines("NHWC", summary) == [
        "NHWC: compute-bound layers: 70.0% of FMA peak (geometric mean of 2), at least 50.0% (t half)",
        "NHWC: other layers above 1 MFLOP: 1 of 3 reach neither 80% of FMA peak nor 85% of copy bandwidth: "
        "t at neither; lowest: 30.0% and 64.5% (t at neither)",
    ]


def test_classes_without_layers_have_no_lines():
    summary = bench.classes.class_summary([CLASSES[-1]], 1e9)
    assert summary["compute_bound"]["peak_fraction"] is None
    assert summary["other_above_1_mflop"]["minimum_layer"] is None
    assert bench.classes.class_lines("NHWC", summary) == []
    json.dumps(summary, allow_nan=False)


# contenders that are left out, and the best peer


def test_the_best_peer_of_each_layer():
    contenders = ["numpy", "torch", "xnnpack"]
    results = [
        result("one", (1, 64, 64, 16, 16), 0.5, {"numpy": 8.0, "torch": 4.0}),
        result("two", (1, 64, 64, 16, 16), 0.5, {"numpy": 3.0, "torch": 2.0, "xnnpack": 1.25}),
        result("three", (1, 64, 64, 16, 16), 0.5, {"numpy": 2.0, "torch": 6.0, "xnnpack": 7.0}),
    ]
    assert [r.best_peer() for r in results] == ["torch", "xnnpack", "numpy"]
    assert result("alone", (1, 8, 8, 1, 1), 0.5, {}).best_peer() is None
    summary = bench.report.summarize(results, contenders, MACHINE)
    assert summary["best_peer"] == {
        "layers": 3,
        "geometric_mean_ratio": pytest.approx(10 ** (1 / 3)),
        "minimum_ratio": pytest.approx(1.25),
        "minimum_layer": "t two",
        "minimum_contender": "xnnpack",
        "at_least_as_fast": 3,
    }
    assert summary["versus"]["xnnpack"]["layers"] == 2
    assert summary["versus"]["xnnpack"]["geometric_mean_ratio"] == pytest.approx(math.sqrt(1.25 * 7))
    lines = bench.report.summary_lines("NHWC", summary)
    assert (
        "NHWC: 2.15 times as fast as the best peer of each layer (geometric mean of 3 layers), "
        "at least 1.25 (t two, xnnpack), at least as fast on 3 of 3"
    ) in lines
    assert (
        "NHWC: 2.96 times as fast as xnnpack (geometric mean of 2 layers), "
        "at least 1.25 (t two), at least as fast on 2 of 2"
    ) in lines


def test_a_contender_without_the_layer_is_left_out(monkeypatch, tmp_path, capsys):
    def nhwc_only(case, layout, arrays, threads):
        return {} if layout == "NCHW" else bench.numpy_baseline.numpy_baseline(case, layout, arrays, threads)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(bench.contenders.CONTENDERS, "xnnpack", nhwc_only)
    monkeypatch.setitem(bench.contenders.MODULES, "xnnpack", ())
    monkeypatch.setattr(bench.command, "fma_peak", lambda threads, dtype="float32": 50e9)
    monkeypatch.setattr(bench.command, "copy_bandwidth", lambda threads: 10e9)
    monkeypatch.setattr(bench.command, "QUICK", bench.timing.Effort(seconds=0.0, block=1e-4, rounds=1))
    argv = "bench --network seed --quick --vs numpy,xnnpack --json out.json --plot out.png"
    assert main(argv.split()) == 0
    found = json.loads((tmp_path / "out.json").read_text())
    for row in found["results"]:
        assert set(row["seconds"]) == {"pointwise", "numpy", "xnnpack"}
        assert set(row["ratio"]) == {"numpy", "xnnpack"}
        for figures in (row["seconds"], row["ratio"]):
            assert (figures["xnnpack"] is None) == (row["layout"] == "NCHW")
    left_out = found["summary"]["NCHW"]["versus"]["xnnpack"]
    assert left_out == {
        "layers": 0,
        "geometric_mean_ratio": None,
        "minimum_ratio": None,
        "minimum_layer": None,
        "minimum_contender": None,
        "at_least_as_fast": 0,
    }
    assert found["summary"]["NHWC"]["versus"]["xnnpack"]["layers"] == 3
    assert {found["summary"][layout]["best_peer"]["layers"] for layout in ("NCHW", "NHWC")} == {3}

    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["NCHW:", "xnnpack", "cannot", "compute", "these", "layers"] in lines
    names = [case.layer for case in bench.layers.read_network("seed")]
    ratios = [line for line in lines if line[:1] and line[0].rstrip("*!") in names and len(line) < 8]
    assert [row[-1] == "-" for row in ratios] == [True] * 3 + [False] * 3, "both layouts' layers"
    means = [line for line in lines if line[:1] == ["seed"] and "/" in line]
    assert [row[-3:] == ["-", "/", "-"] for row in means] == [True, False], "both layouts' means"


def test_a_contender_in_a_process_of_its_own_is_left_out():
    with bench.processes.turns(["pointwise", "xnnpack"], 2) as (prepare, _):
        assert list(prepare(CASE, "NCHW").timers) == ["pointwise"]


def test_xnnpack_computes_groups_by_its_delegate():
    pytest.importorskip("ai_edge_litert")
    pytest.importorskip("flatbuffers")
    from ai_edge_litert.interpreter import Interpreter

    case = bench.layers.Case("t", "grouped", 2, 12, 8, 5, 5, 2, 2)
    model = bench.frameworks._tflite_model(case, bench.operands.operands(case, "NHWC"))
    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    assert [op["op_name"] for op in interpreter._get_ops_details()] == ["CONV_2D", "DELEGATE"]
