"""Test ``bench --explain``: the alternatives, and the report of their times. No test asserts a time."""

import json
import math
import os

import numpy as np
import pointwise as pw
import pytest
import reference
from pointwise import bench
from pointwise.__main__ import main

TINY = """network,layer,n,cin,cout,h,w,stride,groups
tiny,plain,2,8,16,6,5,1,1
tiny,strided,1,8,4,7,6,2,1
tiny,grouped,2,12,8,5,5,2,4
"""
CASE = bench.layers.Case("t", "plain", 1, 32, 16, 10, 10, 1, 1)
FLEETING = bench.timing.Effort(seconds=0.0, block=1e-4, rounds=1)


def command(line):
    """Run a command line and return its exit status."""
    return main(line.split())


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Make a table in the working directory, with few generated layers and very short measurements."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bench.explain, "QUICK", FLEETING)
    monkeypatch.setattr(bench.explain, "GENERATED_QUICK", 3)
    (tmp_path / "tiny.csv").write_text(TINY)
    return tmp_path


# alternatives


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize(("stride", "padding", "groups"), [(1, 0, 1), (2, 1, 1), (1, 2, 3)])
def test_alternatives_have_the_bits_of_the_layer(layout, stride, padding, groups, dtype, rng):
    shape = (2, 30, 9, 7) if layout == "NCHW" else (2, 9, 7, 30)
    x = rng.standard_normal(shape).astype(dtype)
    weight, bias = rng.standard_normal((21, 30 // groups)).astype(dtype), rng.standard_normal(21).astype(dtype)
    how = {"layout": layout, "stride": stride, "padding": padding, "groups": groups, "activation": "relu"}
    layer = pw.Conv(weight, bias, **how)
    expected = layer(x)
    ways = layer._alternatives(shape)
    assert len({words for words, _, _ in ways}) == len(ways) >= 2
    assert ways[0][1] == min(cycles for _, cycles, _ in ways)
    assert f"kernel {ways[0][0].split(',')[0]}, " in layer.explain(shape)
    for _, _, run in ways:
        out = np.full_like(expected, np.nan)
        assert run(x, out) is None
        reference.assert_same_bits(out, expected)


def test_alternatives_outlive_their_layer(rng):
    x = rng.standard_normal((1, 3, 4, 5)).astype(np.float32)
    weight = rng.standard_normal((2, 3)).astype(np.float32)
    expected = pw.conv(x, weight)
    run = pw.Conv(weight)._alternatives(x.shape)[-1][2]
    out = np.empty_like(expected)
    run(x, out)
    reference.assert_same_bits(out, expected)


def test_alternatives_refuse_what_they_were_not_made_for():
    x, out = np.zeros((1, 3, 4, 5), np.float32), np.zeros((1, 2, 4, 5), np.float32)
    read_only = out.copy()
    read_only.flags.writeable = False
    layer = pw.Conv(np.zeros((2, 3), np.float32))
    run = layer._alternatives(x.shape)[0][2]
    for arguments, error, words in (
        ((x,), TypeError, "takes x and out, got 1 arguments"),
        ((x.tolist(), out), TypeError, r"x must be a C-contiguous float32 array of shape \(1, 3, 4, 5\), got list"),
        ((out, out), ValueError, r"x must be .* got float32 of shape \(1, 2, 4, 5\)$"),
        ((x.astype(np.float64), out), ValueError, "x must be .* got float64"),
        ((x.astype(">f4"), out), ValueError, "x must be .* got >f4"),
        ((x[..., ::-1], out), ValueError, "x must be .*, not C-contiguous$"),
        ((x, x), ValueError, r"out must be a C-contiguous, writable float32 array .* got float32 of shape \(1, 3,"),
        ((x, read_only), ValueError, "out must be .*, read-only$"),
    ):
        with pytest.raises(error, match=words):
            run(*arguments)
    with pytest.raises(ValueError, match="x_shape must have 3 channels"):
        layer._alternatives((1, 4, 4, 5))
    assert layer._alternatives((0, 3, 4, 5)) == []


# a whole run


@pytest.mark.parametrize("layout", ["both", "NHWC"])
def test_everything_is_reported(tiny, capsys, layout):
    assert command(f"bench --explain 7 --layers tiny.csv --layout {layout} --batch 3 --quick --json out.json") == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert sorted(os.listdir()) == ["out.json", "tiny.csv"]
    found = json.loads((tiny / "out.json").read_text())
    assert set(found) == {"machine", "settings", "results", "summary"}
    assert found["settings"] == {"batch": 3, "quick": True, "seed": 7, "within": 2.0, "dtype": "float32"}
    assert found["machine"]["isa"] == pw.isa()

    layouts = ["NCHW", "NHWC"] if layout == "both" else [layout]
    results = {group: [r for r in found["results"] if r["group"] == group] for group in ("tables", "generated")}
    names = ["plain", "strided", "grouped"]
    assert [(r["layout"], r["case"]["layer"], r["case"]["n"]) for r in results["tables"]] == [
        (layout, name, 3) for layout in layouts for name in names
    ]
    assert [r["layout"] for r in results["generated"]] == (layouts * 3)[:3]
    for row in found["results"]:
        words = [alternative["words"] for alternative in row["alternatives"]]
        assert words[0] == row["chosen"]
        assert row["best"] in words
        assert row["regret"] >= 1
        assert row["best"] != row["chosen"] or row["regret"] == 1
        seconds = {alternative["words"]: alternative["seconds"] for alternative in row["alternatives"]}
        assert seconds[row["best"]] == min(seconds.values()) > 0
        cycles = [alternative["cycles"] for alternative in row["alternatives"]]
        assert cycles[0] == min(cycles)
        assert max(cycles) <= 2 * cycles[0]

    for group, rows in results.items():
        parts = found["summary"][group]
        assert set(parts) == {*layouts, *(["both"] if len(layouts) > 1 else [])}
        for name, part in parts.items():
            regrets = [row["regret"] for row in rows if name in ("both", row["layout"])]
            assert part["layers"] == len(regrets)
            assert part["geometric_mean_regret"] == pytest.approx(math.prod(regrets) ** (1 / len(regrets)))
            assert part["maximum_regret"] == max(regrets)
            assert part["noticed"] == sum(regret >= 1.01 for regret in regrets)
    lines = out.splitlines()
    assert sum("times as long as the best" in line for line in lines) == sum(map(len, found["summary"].values()))
    assert lines[-1].endswith("generated layers: seed 7")


def choice(regret, layer="it", best="gemm_f32_6x64_pixels_isa, source in place"):
    alternatives = [
        bench.choice.Alternative("gemm_f32_8x48_channels_isa, source packed by channels", 100.0, 2e-6 * regret),
        bench.choice.Alternative(best, 125.0, 2e-6),
    ]
    case = bench.layers.Case("t", layer, 1, 32, 16, 10, 10, 2, 1)
    return bench.choice.Choice(case, "NCHW", alternatives[0].words, best, regret, alternatives)


def test_the_table_has_the_choices_that_are_not_the_best(monkeypatch):
    monkeypatch.setattr(bench.explain._core, "isa", "isa")
    table = bench.explain.table("t", [choice(1.005), choice(1.25, "bad"), choice(2.5, "worst")])
    lines = bench.tables.rendered([table], 160).rstrip().splitlines()
    rows = [line.split() for line in lines if line.startswith("t ") and "regret" not in line]
    assert [(row[1], row[-2], row[-1]) for row in rows] == [("worst", "0.80", "2.50"), ("bad", "0.80", "1.25")]
    assert lines[4].strip() == "NCHW 1x32x10x10 -> 16 /2"
    assert "8x48_channels, packed by channels" in lines[3]
    assert "6x64_pixels, in place" in lines[3]
    assert "left out: 1 within 1%" in " ".join(lines[-2:])


def test_the_summary_in_lines():
    summary = {"tables": {"NCHW": bench.explain.summarize([choice(1.0), choice(1.0), choice(8.0, "worst")])}}
    assert bench.explain.summary_lines(summary) == [
        "tables, NCHW: the choice takes 2.000 times as long as the best (geometric mean of 3 layers), "
        "at most 8.00 (t worst, NCHW), within 1% of it on 2 of 3"
    ]


# measurement


@pytest.mark.parametrize(("again", "regret"), [((6.0, 5.0), 1.2), ((5.0, 6.0), 1.0)])
def test_the_regret_is_measured_again(monkeypatch, again, regret):
    """The fastest alternative is timed again in turn with the choice, and only these times give the regret."""
    turns = []

    def time_in_turn(timers, deadline, effort):
        turns.append(list(timers))
        if len(turns) == 1:
            return {words: float(len(timers) - i) for i, words in enumerate(timers)}
        return dict(zip(timers, again, strict=True))

    monkeypatch.setattr(bench.choice, "time_in_turn", time_in_turn)
    (found,) = bench.choice.measure_choices([(CASE, "NCHW")], FLEETING)
    assert turns[1] == [turns[0][0], turns[0][-1]] == [found.chosen, found.best]
    assert found.regret == regret
    assert [alternative.words for alternative in found.alternatives] == turns[0]


def test_a_choice_that_is_the_best_has_no_regret(monkeypatch):
    monkeypatch.setattr(bench.choice, "time_in_turn", lambda timers, *_: {w: 1.0 + i for i, w in enumerate(timers)})
    (found,) = bench.choice.measure_choices([(CASE, "NHWC")], FLEETING)
    assert found.chosen == found.best == found.alternatives[0].words
    assert found.regret == 1


def with_alternatives(monkeypatch, change):
    """Make the benchmark use layers whose alternatives are changed by `change`."""

    class Changed(pw.Conv):
        def _alternatives(self, x_shape):
            return change(super()._alternatives(x_shape))

    monkeypatch.setattr(bench.choice, "Conv", Changed)


def test_alternatives_that_are_expected_to_be_slow_are_not_timed(monkeypatch):
    def change(ways):
        return [(words, (1.0, 2.0, 2.1, 9.0)[i], run) for i, (words, _, run) in enumerate(ways[:4])]

    with_alternatives(monkeypatch, change)
    (found,) = bench.choice.measure_choices([(CASE, "NCHW")], FLEETING)
    assert [alternative.cycles for alternative in found.alternatives] == [1.0, 2.0]


def test_a_wrong_bit_is_an_error(monkeypatch, tiny, capsys):
    def wrong(run):
        def call(x, out):
            run(x, out)
            out.reshape(-1).view(np.int32)[-1] ^= 1

        return call

    with_alternatives(monkeypatch, lambda ways: [ways[0], *((words, c, wrong(run)) for words, c, run in ways[1:])])
    assert command("bench --explain --layers tiny.csv --quick --json out.json") == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert "differ in bits on tiny plain in NCHW" in err
    assert err.count("\n") == 1
    assert os.listdir() == ["tiny.csv"]


def test_the_whole_stays_in_time(monkeypatch):
    clock, deadlines = [0.0], []

    def time_in_turn(timers, deadline, effort):
        deadlines.append(deadline - clock[0])
        clock[0] += 10.0
        return {words: 1.0 / (1 + i) for i, words in enumerate(timers)}

    monkeypatch.setattr(bench.choice.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(bench.choice, "time_in_turn", time_in_turn)
    effort = bench.timing.Effort(seconds=16.0, block=0, rounds=1)
    assert len(list(bench.choice.measure_choices([(CASE, "NCHW")] * 2, effort))) == 2
    assert deadlines == [8.0, 6.0, 6.0, 2.0]


# generated layers


def test_generated_layers_are_as_described():
    known = [case for name in bench.layers.networks() for case in bench.layers.read_network(name)]
    cases = bench.choice.generated_cases(400, 1, known)
    assert cases == bench.choice.generated_cases(400, 1, known)
    assert cases != bench.choice.generated_cases(400, 2, known)
    sizes = bench.choice._sizes
    assert len({sizes(case) for case in [*cases, *known]}) == 400 + len({*map(sizes, known)})
    for case in cases:
        assert 1 <= case.cin <= 2048
        assert 1 <= case.cout <= 2048
        pixels = case.h // case.stride * (case.w // case.stride)
        assert 1 <= pixels <= 12544
        assert case.h <= case.w
        assert case.cost().flops <= 300e6
        assert 4 * (math.prod(case.shape("NCHW")) + case.cout * case.cin + case.n * pixels * case.cout) <= 64e6
    for share in (sum(case.stride == 2 for case in cases), sum(case.n > 1 for case in cases)):
        assert 15 <= share <= 70
    assert sum(case.cin < 46 for case in cases) > 120  # sizes are drawn on a logarithmic scale, whose middle is 45
    assert sum(case.cout > 45 for case in cases) > 120


def test_known_layers_are_left_out():
    first, *_ = bench.choice.generated_cases(1, 1)
    assert bench.choice.generated_cases(1, 1, [first])[0] != first


# arguments


@pytest.mark.parametrize("option", ["--vs numpy", "--plot out.png", "--threads 2"])
def test_options_that_do_not_go_together(tiny, capsys, monkeypatch, option):
    monkeypatch.setattr(bench.explain, "measure_choices", lambda *_: pytest.fail("the run has started"))
    assert command(f"bench --explain --layers tiny.csv {option}") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "pointwise bench: --explain compares kernels of pointwise with each other, on one thread and without a plot, "
        f"so it cannot be combined with {option.split()[0]}\n"
    )


@pytest.mark.parametrize("option", ["--activation relu", "--residual", "--no-bias"])
def test_choices_are_compared_with_bias_and_relu(tiny, capsys, monkeypatch, option):
    monkeypatch.setattr(bench.explain, "measure_choices", lambda *_: pytest.fail("the run has started"))
    assert command(f"bench --explain --layers tiny.csv {option}") == 2
    words = "--explain compares kernels of pointwise with bias and ReLU, so it cannot be combined with"
    assert capsys.readouterr().err == f"pointwise bench: {words} {option.split()[0]}\n"


def test_a_seed_is_a_whole_number(tiny, capsys):
    assert command("bench --explain x --layers tiny.csv") == 2
    assert "--explain: expected a whole number, got 'x'" in capsys.readouterr().err
