"""Test the benchmark: its checks, figures and files. No test asserts a time."""

import functools
import itertools
import json
import math
import multiprocessing
import os
import pathlib
import subprocess
import sys
import time

import numpy as np
import pointwise as pw
import pytest
from children import PYTHON
from pointwise import bench, cli
from pointwise.__main__ import main

HEADER = "network,layer,n,cin,cout,h,w,stride,groups"
TINY = f"""{HEADER}
tiny,plain,2,8,16,6,5,1,1
tiny,strided,1,8,4,7,6,2,1
tiny,grouped,2,12,8,5,5,2,4
tiny,[red]large,1,64,64,16,16,1,1
"""
CASES = [
    bench.layers.Case("t", "plain", 2, 8, 16, 6, 5, 1, 1),
    bench.layers.Case("t", "strided", 2, 8, 4, 7, 6, 3, 1),
    bench.layers.Case("t", "grouped", 3, 12, 8, 5, 4, 1, 4),
    bench.layers.Case("t", "grouped and strided", 2, 12, 8, 5, 5, 2, 2),
    bench.layers.Case("t", "one output", 1, 6, 1, 5, 7, 2, 1),
    bench.layers.Case("t", "depthwise", 2, 6, 6, 5, 7, 2, 6),
]
ROOT = pathlib.Path(__file__).parents[2]
FLEETING = bench.timing.Effort(seconds=0.0, block=1e-4, rounds=1)
Block = bench.timing.Block


def numpy_forms(row):
    """Return the forms of NumPy for a row of a JSON document."""
    case = bench.layers.Case(*(row[column] for column in bench.layers.HEADER))
    arrays = bench.operands.operands(case, row["layout"])
    return bench.numpy_baseline.numpy_baseline(case, row["layout"], arrays, 1)


def command(line):
    """Run a command line and return its exit status."""
    return main(line.split())


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Make a table in the working directory, with round figures for the machine and very short measurements."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bench.command, "fma_peak", lambda threads, dtype="float32": 50e9 * threads)
    monkeypatch.setattr(bench.command, "copy_bandwidth", lambda threads: 10e9)
    monkeypatch.setattr(bench.processes, "fma_peak", lambda threads, blocks, block, dtype="float32": 40e9)
    monkeypatch.setattr(bench.command, "QUICK", FLEETING)
    (tmp_path / "tiny.csv").write_text(TINY)
    return tmp_path


@pytest.fixture
def refused(capsys, tmp_path, monkeypatch):
    """Return a function that runs a benchmark and returns its line on standard error.

    The function checks that the benchmark is refused before it measures, and leaves no file behind.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bench.command, "measure", lambda *arguments: pytest.fail("the run has started"))
    monkeypatch.setattr(bench.command, "fma_peak", lambda threads, dtype="float32": pytest.fail("the run has started"))

    def run(*argv):
        before = sorted(os.listdir())
        assert main(["bench", *argv]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("pointwise bench: ")
        assert err.count("\n") == 1
        assert err.endswith("\n")
        assert sorted(os.listdir()) == before, "a file was left behind"
        return err

    return run


# a whole run


def test_everything_is_written(tiny, capsys):
    argv = "bench --layers tiny.csv --quick --json out.json --plot out.png --threads 2 --batch 3"
    assert command(argv) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert sorted(os.listdir()) == ["out.json", "out.png", "tiny.csv"]

    found = json.loads((tiny / "out.json").read_text())
    assert set(found) == {"machine", "settings", "run", "results", "summary"}
    machine = found["machine"]
    assert machine["threads"] == 2
    assert machine["fma_peak"] == 100e9
    assert machine["bandwidth"] == 10e9
    assert machine["isa"] == pw.isa()
    assert machine["versions"]["numpy"] == np.__version__
    for library, kernels in bench.machine.blas_kernels().items():
        assert machine["versions"][library] == kernels
    assert machine["versions"]["pointwise"] == pw.__version__
    settings = {"batch": 3, "quick": True, "dtype": "float32", "bias": True, "activation": "relu", "residual": False}
    assert found["settings"] == settings

    names = ["plain", "strided", "grouped", "[red]large"]
    assert [(r["layout"], r["layer"]) for r in found["results"]] == [(t, n) for t in ("NCHW", "NHWC") for n in names]
    for row in found["results"]:
        assert row["n"] == 3
        assert set(row["seconds"]) == {"pointwise", "numpy"}
        assert all(0 < seconds < math.inf for seconds in row["seconds"].values())
        for name, seconds in row["seconds"].items():
            assert seconds <= row["median_seconds"][name] <= row["p95_seconds"][name]
        assert row["rounds"] >= row["measurements"] >= 1
        assert row["disturbance"] is None or row["measurements"] == bench.measure.MOST_MEASUREMENTS
        assert row["forms"]["numpy"] in numpy_forms(row)
        assert set(row["forms"]) == {"numpy"}
        assert row["ratio"] == {"numpy": row["seconds"]["numpy"] / row["seconds"]["pointwise"]}
        cost, peak = row["cost"], row["peak"]
        assert cost["flops"] == 2 * cost["macs"]
        assert peak > 1e8
        bound = "bandwidth" if cost["intensity"] < peak / 10e9 else "peak"
        work = {"bandwidth": cost["bytes"] / 10e9, "peak": cost["flops"] / peak}
        assert row["bound"] == bound
        for name in work:
            assert row[f"{name}_fraction"] == pytest.approx(work[name] / row["seconds"]["pointwise"])
        assert row["bound_fraction"] == row[f"{bound}_fraction"]
    grouped = found["results"][2]
    assert grouped["cost"]["params"] == 8 * 12 // 4 + 8
    assert grouped["cost"]["macs"] == 3 * 3 * 3 * 8 * 3

    assert set(found["summary"]) == {"NCHW", "NHWC"}
    for layout, summary in found["summary"].items():
        ratios = {r["layer"]: r["ratio"]["numpy"] for r in found["results"] if r["layout"] == layout}
        versus = summary["versus"]["numpy"]
        assert versus["geometric_mean_ratio"] == pytest.approx(math.prod(ratios.values()) ** (1 / 4))
        assert versus["minimum_ratio"] == min(ratios.values())
        assert versus["minimum_layer"] == f"tiny {min(ratios, key=ratios.get)}"
        assert versus["at_least_as_fast"] == sum(ratio >= 1 for ratio in ratios.values())
        assert summary["layers"] == 4
        assert summary["layers_above_1_mflop"] == 1
        assert summary["compute_bound"]["minimum_layer"] == "tiny [red]large"
        assert summary["other_above_1_mflop"]["layers"] == 0
        assert "best_peer" not in summary, "there is only one peer"

    for words in ("[red]large", "3x16x16x64 -> 64", "3x12x5x5 -> 8 /2 g4", "FMA peak 100.0 GFLOP/s", "2 threads"):
        assert words in out
    assert out.count("NCHW: ") == out.count("NHWC: ") == 3
    assert "at least as fast on" in out
    means = out[out.index("geometric means") :].splitlines()
    for layout in ("NCHW", "NHWC"):
        (row,) = (line.split() for line in means if line.split()[:2] == ["tiny", layout])
        ratios = [r["ratio"]["numpy"] for r in found["results"] if r["layout"] == layout]
        assert row[2] == "4"
        assert [float(word) for word in row[-2:]] == pytest.approx([math.prod(ratios) ** 0.25, min(ratios)], abs=0.006)


def test_the_plot_is_a_picture(tiny):
    assert command("bench --layers tiny.csv --quick --plot out.png") == 0
    import matplotlib.image

    picture = matplotlib.image.imread(tiny / "out.png")
    assert picture.shape[0] >= 400
    assert picture.shape[1] >= 600
    reds = (picture[..., 0] > 0.7) & (picture[..., 1] < 0.4) & (picture[..., 2] < 0.4)
    blues = (picture[..., 2] > 0.6) & (picture[..., 0] < 0.4)
    assert reds.sum() > 100, "our dots are missing"
    assert blues.sum() > 100, "NumPy's dots are missing"
    assert command("bench --layers tiny.csv --quick --plot out.svg") == 0
    assert (tiny / "out.svg").read_text().startswith("<?xml")


def test_one_layout_of_an_installed_network(tiny, capsys):
    assert command("bench --network seed --layout NHWC --quick --json out.json") == 0
    found = json.loads((tiny / "out.json").read_text())
    assert [row["layer"] for row in found["results"]] == [case.layer for case in bench.layers.read_network("seed")]
    assert set(found["summary"]) == {"NHWC"}
    assert "NCHW" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("1x64x56x56:128", (1, 64, 128, 56, 56, 1, 1)),
        ("8x64x56x28:128/2", (8, 64, 128, 56, 28, 2, 1)),
        ("1x64x56x56:128g4", (1, 64, 128, 56, 56, 1, 4)),
        ("1x64x56x56:128/3g64", (1, 64, 128, 56, 56, 3, 64)),
    ],
)
def test_a_layer_is_parsed(text, sizes):
    assert bench.layers.parse_layer(text) == bench.layers.Case("given", text, *sizes)


def test_layers_of_the_command_line(tiny, capsys):
    argv = "bench --layer 2x12x5x5:8/2g4 --layer 1x3x4x6:1 --no-bias --quick --json out.json"
    assert command(argv) == 0
    found = json.loads((tiny / "out.json").read_text())
    rows = [(row["layout"], row["layer"], row["n"], row["stride"], row["groups"]) for row in found["results"]]
    both = [("2x12x5x5:8/2g4", 2, 2, 4), ("1x3x4x6:1", 1, 1, 1)]
    assert rows == [(layout, *row) for layout in ("NCHW", "NHWC") for row in both]
    assert found["settings"]["bias"] is False
    assert found["results"][0]["cost"]["params"] == 8 * 12 // 4, "no bias"
    out = capsys.readouterr().out
    assert "NHWC, float32, no bias, ReLU" in out
    assert "2x5x5x12 -> 8 /2 g4" in out


def test_the_batch_of_a_layer_of_the_command_line(tiny):
    assert command("bench --layer 1x3x4x6:1 --batch 5 --layout NCHW --quick --json out.json") == 0
    (row,) = json.loads((tiny / "out.json").read_text())["results"]
    assert row["n"] == 5


def test_all_networks_are_the_default(tiny, monkeypatch):
    seen = []

    def measure(cases, layouts, contenders, threads, effort, progress):
        seen.append((cases, tuple(layouts), list(contenders), threads, effort))
        raise KeyboardInterrupt

    monkeypatch.setattr(bench.command, "measure", measure)
    assert main(["bench"]) == 130
    (cases, layouts, contenders, threads, effort) = seen[0]
    assert {case.network for case in cases} == set(bench.layers.default_networks())
    assert (layouts, contenders, threads, effort) == (("NCHW", "NHWC"), ["numpy"], 1, bench.measure.FULL)


def test_a_run_in_a_process_of_its_own(tmp_path):
    (tmp_path / "tiny.csv").write_text(TINY)
    argv = [*PYTHON, "-m", "pointwise", "bench", "--layers", "tiny.csv", "--quick", "--json", "out.json"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    machine = json.loads((tmp_path / "out.json").read_text())["machine"]
    assert machine["fma_peak"] > 1e8
    assert machine["bandwidth"] > 1e7


def test_blas_without_threadpoolctl_is_told_by_the_environment(tmp_path):
    (tmp_path / "tiny.csv").write_text(TINY)
    script = f"""
import os, sys
sys.modules["threadpoolctl"] = None
import pointwise.bench.command as bench
from pointwise.__main__ import main

def execve(program, argv, environment):
    assert program == sys.executable and argv[1:] == sys.orig_argv[1:]
    print({{name: environment[name] for name in bench.BLAS_VARIABLES}})
    os.environ.update(environment)

os.execve = execve
bench.fma_peak = bench.copy_bandwidth = lambda threads, dtype="float32": 1e9
sys.argv[1:] = ["bench", "--layers", {str(tmp_path / "tiny.csv")!r}, "--quick", "--threads", "2"]
print(main())  # starts itself again
print(main())  # the environment is right
"""
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    done = subprocess.run([*PYTHON, "-c", script], capture_output=True, text=True, timeout=120, env=environment)
    assert done.stderr == ""
    wanted = str(dict.fromkeys(bench.command.BLAS_VARIABLES, "2"))
    assert done.stdout.count(wanted) == 1
    assert done.stdout.startswith(wanted)
    assert done.stdout.endswith("\n0\n")


def test_without_threadpoolctl_a_host_process_is_not_replaced(tiny, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    for name in bench.command.BLAS_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "execve", lambda *arguments: pytest.fail("the process was replaced"))
    assert command("bench --layers tiny.csv --quick") == 2
    assert "pip install 'pointwise[bench]'" in capsys.readouterr().err


def test_threadpoolctl_limits_blas_during_the_run(tiny, monkeypatch):
    threadpoolctl = pytest.importorskip("threadpoolctl")
    seen = []

    def measure(*arguments):
        seen.extend(i["num_threads"] for i in threadpoolctl.threadpool_info() if i["user_api"] == "blas")
        raise KeyboardInterrupt

    monkeypatch.setattr(bench.command, "measure", measure)
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        assert command("bench --layers tiny.csv --quick --threads 1") == 130
    assert seen
    assert set(seen) == {1}


# wrong results


def wrong_values(result):
    result[-1, -1, -1, -1] += np.float32(1e-3) + abs(result[-1, -1, -1, -1])
    return result


def with_nan(result):
    result[0, 0, 0, 0] = np.nan
    return result


WRONG = {
    "values": wrong_values,
    "nan": with_nan,
    "infinity": lambda result: result + np.float32(np.inf),
    "shape": lambda result: result[:1],
    "broadcast": lambda result: result[..., None],
    "dtype": lambda result: result.astype(np.float64),
    "no relu": lambda result: np.where(result == 0, np.float32(-0.1), result),
}


@pytest.mark.parametrize("name", ["pointwise", "numpy"])
@pytest.mark.parametrize("mistake", WRONG)
def test_a_wrong_result_is_an_error_and_no_figure(tiny, monkeypatch, capsys, name, mistake):
    right = bench.contenders.CONTENDERS[name]

    def wrong(case, layout, arrays, threads):
        *others, (form, call) = right(case, layout, arrays, threads).items()
        return dict(others) | {form: lambda: WRONG[mistake](call())}

    monkeypatch.setitem(bench.contenders.CONTENDERS, name, wrong)
    assert command("bench --layers tiny.csv --quick --json out.json --plot out.png") == 1
    out, err = capsys.readouterr()
    assert out == ""
    form = " (tensordot)" if name == "numpy" else ""  # every form is checked, also the last one
    assert err.startswith(f"pointwise bench: wrong result of {name}{form} on tiny plain in NCHW: ")
    assert err.count("\n") == 1
    assert os.listdir() == ["tiny.csv"]


@pytest.mark.parametrize("layout", bench.layers.LAYOUTS)
def test_the_check_has_the_derived_bound(layout):
    case = bench.layers.Case("t", "one channel", 1, 1, 1, 2, 2, 1, 1)
    one = np.float32(1)
    arrays = bench.operands.Operands(
        np.ones(case.shape(layout), one.dtype), np.ones((1, 1), one.dtype), np.ones(1, one.dtype)
    )
    # |w| |x| + |b| = 2, and gamma_3 = 3u/(1 - 3u) with u = 2**-24. The bound is 2 * gamma_3 * 2, or 12.0000021 u. A
    # step of this test is 2u.
    for steps, right in ((6, True), (7, False)):
        result = np.full(case.shape(layout), 2 + steps * 2.0**-23, np.float32)
        result[0, 0, 0, 0] = 2
        if right:
            bench.verify.check(case, layout, arrays, {"it": lambda result=result: result})
        else:
            with pytest.raises(bench.verify.WrongResult, match="3 of 4 elements"):
                bench.verify.check(case, layout, arrays, {"it": lambda result=result: result})


# contenders


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.layer)
@pytest.mark.parametrize(
    ("name", "layout"),
    [
        pair
        for pair in itertools.product(bench.contenders.CONTENDERS, bench.layers.LAYOUTS)
        if pair != ("xnnpack", "NCHW")
    ],
)
def test_contenders_compute_the_layer(case, layout, name):
    for module in bench.contenders.MODULES.get(name, ()):
        pytest.importorskip(module)
    arrays = bench.operands.operands(case, layout)
    x = (arrays.x if layout == "NCHW" else arrays.x.transpose(0, 3, 1, 2)).astype(np.float64)
    x = x[:, :, :: case.stride, :: case.stride]
    dense = np.zeros((case.cout, case.cin))
    inputs, outputs = case.cin // case.groups, case.cout // case.groups
    for g in range(case.groups):
        rows = slice(g * outputs, (g + 1) * outputs)
        dense[rows, g * inputs : (g + 1) * inputs] = arrays.weight[rows]
    expected = np.maximum(np.einsum("oi,nihw->nohw", dense, x) + arrays.bias[:, None, None], 0)
    expected = expected if layout == "NCHW" else expected.transpose(0, 2, 3, 1)

    forms = bench.contenders.CONTENDERS[name](case, layout, arrays, 1)
    assert forms
    for call in forms.values():
        first, second = call(), call()
        assert first.dtype == np.float32
        assert first.shape == expected.shape
        assert first.flags.c_contiguous or name == "torch"
        np.testing.assert_allclose(first, expected, rtol=1e-5, atol=1e-5)
        if name != "openvino":  # reuses its result array, which makes it faster
            assert not np.shares_memory(first, second), "the result must be a new array"
    assert (expected == 0).any()


def test_contenders_take_turns():
    order = []

    def timer(name, repetitions):
        order.append((name, repetitions))
        return Block(1e-3 * len(order))

    timers = {name: functools.partial(timer, name) for name in "abc"}
    effort = bench.timing.Effort(seconds=0, block=0.0101, rounds=3)
    blocks = bench.timing.blocks_in_turn(timers, 0.0, effort)
    assert "".join(name for name, _ in order) == "aabbcc" + "abc" * 3  # two calibrations of each, then three rounds
    assert order[6:9] == [("a", 10), ("b", 3), ("c", 2)], "the blocks of all contenders last equally long"
    assert [block.seconds for block in blocks["b"]] == pytest.approx([8e-3, 11e-3, 14e-3])
    order.clear()
    assert bench.timing.time_in_turn(timers, 0.0, effort)["b"] == pytest.approx(8e-3)


def test_a_block_is_warmed_up():
    calls = []
    assert bench.timing.time_block(lambda: calls.append(1), 8).seconds > 0
    assert len(calls) == 3 + 8


def test_a_block_has_the_mean_time_of_a_call(monkeypatch):
    clock = itertools.count(step=16.0)
    monkeypatch.setattr(bench.timing.time, "perf_counter", lambda: next(clock))
    assert bench.timing.time_block(lambda: None, 8).seconds == 2.0


def test_with_threads_contenders_have_processes_of_their_own(tiny, capsys):
    assert command("bench --layers tiny.csv --layout NHWC --threads 2 --quick --json out.json") == 0
    found = json.loads((tiny / "out.json").read_text())
    assert [set(result["seconds"]) for result in found["results"]] == [{"pointwise", "numpy"}] * 4
    assert "2 threads" in capsys.readouterr().out
    assert not multiprocessing.active_children()


def test_a_process_runs_only_in_its_turn():
    with bench.processes.turns(["pointwise", "numpy"], 2) as (prepare, peak):
        timers, forms = prepare(CASES[0], "NCHW")
        assert set(timers) == set(forms) == {"pointwise", "numpy"}
        assert forms["pointwise"] == ""
        assert forms["numpy"] in ("m @ x", "per-image matmul", "tensordot")
        for timer in timers.values():
            assert timer(3).seconds > 0
        assert 1e8 < peak() < math.inf
        children = multiprocessing.active_children()
        assert len(children) == 2
        stats = [pathlib.Path(f"/proc/{child.pid}/stat") for child in children]
        for _ in range(500):  # signals take effect with a delay
            states = [stat.read_text().rpartition(")")[2].split()[0] for stat in stats]
            if states == ["T", "T"]:
                break
            time.sleep(0.01)
        assert states == ["T", "T"], "stopped"
    assert not multiprocessing.active_children()


def test_a_process_that_dies_is_named(monkeypatch):
    with bench.processes.turns(["pointwise", "numpy"], 2) as (prepare, _):
        timers, _ = prepare(CASES[0], "NCHW")
        for child in multiprocessing.active_children():
            child.kill()
        with pytest.raises(cli.parser.CommandError, match="the process of numpy has ended"):
            timers["numpy"](1)


def test_what_goes_wrong_in_a_process_is_raised_here():
    impossible = bench.layers.Case("t", "huge", 1, 1 << 20, 1 << 20, 1 << 11, 1 << 11, 1, 1)
    with bench.processes.turns(["pointwise"], 2) as (prepare, _), pytest.raises(MemoryError):
        prepare(impossible, "NCHW")


def test_the_whole_stays_in_time(monkeypatch):
    """A slow layer leaves less time to the layers after it, because deadlines share the remaining time."""
    clock = [0.0]
    deadlines = []

    def blocks_in_turn(timers, deadline, effort):
        deadlines.append(deadline - clock[0])
        clock[0] += 25.0 if len(deadlines) == 2 else 10.0
        return {name: [Block(1.0)] for name in timers}

    monkeypatch.setattr(bench.measure.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(bench.measure, "blocks_in_turn", blocks_in_turn)
    monkeypatch.setattr(bench.measure, "disturbance", lambda *_: None)
    monkeypatch.setattr(bench.preparation, "fastest_form", lambda forms: next(iter(forms)))
    effort = bench.timing.Effort(seconds=10, block=0, rounds=1)
    assert len(list(bench.measure.measure(CASES[:4], ["NCHW"], ["numpy"], 1, effort))) == 4
    assert deadlines == [10, 10, 2.5, 0]


# tables


def test_installed_tables():
    default = ["googlenet", "mobilenet_v1", "mobilenet_v2", "resnet50", "seed", "squeezenet"]
    assert bench.layers.default_networks() == default
    assert bench.layers.networks() == sorted([*default, "images", "large"])
    cases = [case for name in default for case in bench.layers.read_network(name)]
    assert len(cases) == 92
    assert cases[0] == bench.layers.Case("googlenet", "conv2/3x3_reduce", 1, 64, 64, 56, 56, 1, 1)


def test_tables_that_run_on_request():
    """`images` covers few channels from a thumbnail to a frame of video; `large` has arrays beyond an L2 cache."""
    images = bench.layers.read_network("images")
    pairs = {(3, 3), (3, 1), (4, 3), (8, 8), (12, 3), (64, 1), (64, 2), (200, 1), (31, 1), (200, 10)}
    assert {(case.cin, case.cout) for case in images} == pairs
    assert min(case.h * case.w for case in images) == 64 * 64
    assert max(case.h * case.w for case in images) == 1920 * 1080
    for case in bench.layers.read_network("large"):
        assert case.cost().bytes > 1 << 20


def test_every_table_has_its_source():
    text = (ROOT / "bench" / "layers" / "README.md").read_text()
    for name in bench.layers.networks():
        assert f"| `{name}` |" in text
    for case in bench.layers.read_network("images"):
        assert f"`{case.layer}`" in text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1: the header must be network,layer,"),
        ("network,layer\n", "line 1: the header"),
        (HEADER + "\n", "no layers"),
        (TINY + "a,b,1,2\n", "line 6: expected 9 fields, got 4"),
        (TINY + "\na,b,1,2,3,4,5,6,x\n", "line 7: groups must be a whole number of at least 1, got 'x'"),
        (TINY + "a,b,1,2,3,0,5,1,1\n", "line 6: h must be"),
        (TINY + "a,b,1,-2,3,4,5,1,1\n", "line 6: cin must be"),
        (TINY + "a,b,1,2,3,4,5,1.0,1\n", "line 6: stride must be"),
        (TINY + "a,b,1,2,3,4,5,,1\n", "line 6: stride must be"),
        (TINY + "a,b,1,6,4,4,5,1,4\n", "line 6: groups must divide cin and cout"),
        (TINY + "a,b,1,4,6,4,5,1,4\n", "line 6: groups must divide cin and cout"),
        (TINY + f"a,b,1,{10**20},6,4,5,1,1\n", "line 6: "),
        (TINY + f"a,b,{10**9},{10**9},{10**9},4,5,1,1\n", "line 6: "),
        (TINY + 'a,"b,1,2,3,4,5,1,1\n', "line 6: "),
        (TINY + "a,\xff,1,2,3,4,5,1,1\n", "not a text file"),
    ],
)
def test_malformed_tables_are_refused(refused, tmp_path, text, words):
    (tmp_path / "bad.csv").write_bytes(text.encode("latin-1"))
    message = refused("--layers", "bad.csv")
    assert message.startswith("pointwise bench: bad.csv: ")
    assert words in message


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--network nope", "there is no network 'nope'; there are googlenet,"),
        ("--layers missing.csv", "missing.csv: cannot be read: No such file"),
        ("--layers .", ".: cannot be read"),
        ("--network seed --layers tiny.csv", "not allowed with"),
        ("--layer 1x64x56x56:128 --network seed", "not allowed with"),
        (
            "--layer 1x64x56x56",
            "--layer: expected images x channels x height x width : outputs, as in 1x64x56x56:128/2g4",
        ),
        ("--layer 64x56x56:128", "got '64x56x56:128'"),
        ("--layer 1x64x56x56:128g2/2", "got '1x64x56x56:128g2/2'"),
        ("--layer 1x64x56x56:128/-2", "got '1x64x56x56:128/-2'"),
        ("--layer 1x64x56x56:128/0", "--layer: stride must be a whole number of at least 1, got '0'"),
        ("--layer 1x64x56x56:0", "--layer: cout must be a whole number of at least 1, got '0'"),
        ("--layer 1x64x56x56:128g3", "--layer: groups must divide cin and cout, got 3 for 64 and 128"),
        ("--layer 1x99999999999999999999x5x5:1", "int64"),
        ("--layout NCW", "--layout"),
        ("--threads 0", "--threads: must be at least 1, got 0"),
        ("--threads -2", "--threads"),
        ("--threads 1000000", "--threads must be from 1 to"),
        ("--batch 0", "--batch: must be at least 1, got 0"),
        ("--batch 99999999999999999", "int64"),
        ("--vs nope", "'nope'"),
        ("--vs numpy,", "'numpy,'"),
        ("--vs pointwise", "'pointwise'"),
        ("--json nowhere/out.json", "nowhere/out.json: cannot be written"),
        ("--json .", "not the name of a file"),
        ("--plot nowhere/out.png", "nowhere/out.png: cannot be written"),
        ("--plot out.pdf", "must name a .png or .svg file, got 'out.pdf'"),
        ("--json out.png --plot ./out.png", "different files"),
    ],
)
def test_bad_arguments_are_refused_before_the_run(refused, arguments, words):
    assert words in refused(*arguments.split())


@pytest.mark.parametrize(("module", "argv"), [("rich", []), ("matplotlib", ["--plot", "out.png"])])
def test_missing_extras_are_named(refused, monkeypatch, module, argv):
    monkeypatch.setitem(sys.modules, module, None)
    assert f"needs {module}, which cannot be imported: pip install 'pointwise[bench]'" in refused(*argv)


@pytest.mark.parametrize(
    ("contender", "module"),
    [("torch", "torch"), ("onnxruntime", "onnx"), ("openvino", "openvino"), ("xnnpack", "ai_edge_litert")],
)
def test_missing_contenders_are_named(refused, monkeypatch, contender, module):
    find_spec = bench.command.importlib.util.find_spec
    monkeypatch.setattr(
        bench.command.importlib.util, "find_spec", lambda name: None if name == module else find_spec("json")
    )
    message = refused("--vs", f"numpy,{contender}")
    package = module.replace("_", "-")
    assert f"--vs {contender} needs {module}, which is not installed: pip install {package}" in message
    assert f'"{package}"' in (ROOT / "pyproject.toml").read_text(), "the extra that has all of them"


# figures


def test_the_lower_bound_is_the_one_that_is_shown():
    machine = bench.report.Machine("cpu", {}, "isa", 1, fma_peak=300e9, bandwidth=10e9, versions={})
    wide = bench.layers.Case("t", "many channels", 1, 256, 256, 16, 16, 1, 1)
    thin = bench.layers.Case("t", "few channels", 1, 2, 2, 16, 16, 1, 1)
    for case, bound in ((wide, "peak"), (thin, "bandwidth")):
        cost = case.cost()
        least = cost.flops / 100e9 if bound == "peak" else cost.bytes / 10e9
        blocks = {"pointwise": [Block(9 * least), Block(2 * least)], "numpy": [Block(6 * least)]}
        result = bench.measure.Result(case, "NCHW", cost, blocks, peak=100e9)
        name, fraction = bench.report.bound_of(result, machine)
        assert name == bound
        assert fraction == pytest.approx(0.5)
        assert result.ratio("numpy") == pytest.approx(3)
        assert result.ratio("torch") is None


def test_geometric_mean():
    assert bench.report.geometric_mean([1.0, 4.0, 16.0]) == pytest.approx(4)
    assert bench.report.geometric_mean([]) is None


def test_the_machine_is_measured():
    assert cli.info.cpu_name()
    assert all(size[:-1].isdigit() for size in cli.info.caches().values())
    for threads in (1, 2):
        assert 1e8 < bench.machine.fma_peak(threads) < math.inf


def test_bandwidth_counts_what_is_read_and_written(monkeypatch):
    clock = iter(float(i) for i in range(100))
    monkeypatch.setattr(bench.machine.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(bench.machine, "SMALLEST_COPY", 1 << 20)
    monkeypatch.setattr(bench.machine, "caches", lambda: {"L1d": "32K", "L3": "1M"})
    for threads in (1, 2, 3):  # every copy takes one second of this clock
        assert bench.machine.copy_bandwidth(threads, repetitions=2) == 2 * 4 * (1 << 20)
