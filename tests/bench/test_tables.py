"""Test that every table of ``pointwise bench`` fits 100 columns, even with the longest names and figures."""

import dataclasses
import functools
import re

import pytest
from pointwise import bench
from pointwise.bench import command  # noqa: F401  (imports the other modules)

WIDTH = 100
CONTENDERS = [name for name in bench.contenders.CONTENDERS if name != "pointwise"]
MACHINE = bench.report.Machine("cpu", {}, "isa", 16, fma_peak=9e12, bandwidth=1e9, versions={})
EVERY = [case for name in bench.layers.networks() for case in bench.layers.read_network(name)]
# of the layers of all networks: those with the longest names, and those with the longest shapes
LONG = sorted(EVERY, key=lambda case: -len(case.layer))[:12]
LONG += sorted(EVERY, key=lambda case: -len(bench.tables.shape_words(case, "NHWC")))[:12]
LONGEST = bench.layers.parse_layer("128x2048x1024x1024:2048/2g64")
BIG = bench.layers.Case("mobilenet_v2_1.4_224", "expanded_conv_16/expand", 128, 2048, 2048, 1024, 1024, 2, 64)
EXTREME = [*LONG, LONGEST, BIG]
MODERATE, SLOW = 0.05, 12.3456  # seconds of a call


def block(seconds):
    return bench.timing.Block(seconds)


def result(case, layout, contenders, seconds=MODERATE, measurements=1, disturbance=None):
    others = {name: [block(99.99 * seconds)] for name in contenders}
    blocks = {"pointwise": [block(seconds), block(2 * seconds)], **others}
    forms = {"numpy": "flattened x @ m.T"}
    cost = case.cost(layout)
    peak = cost.flops / (1.5 * seconds)
    return bench.measure.Result(case, layout, cost, blocks, peak, forms, measurements, disturbance)


def layer_results(contenders, cases, seconds):
    marks = [(1, None), (2, None), (3, "other work took the CPU")]
    return [result(case, "NHWC", contenders, seconds, *marks[i % 3]) for i, case in enumerate(cases)]


def neighbour_results(contenders, cases, seconds):
    calls = bench.contention.Calls(10**6, seconds, 3 * seconds)
    fast = bench.contention.Calls(10**6, seconds / 99, seconds)
    every = ("pointwise", *contenders)
    return [
        bench.contention.NeighbourResult(
            case, "NHWC", dict.fromkeys(every, fast), dict.fromkeys(every, calls), dict.fromkeys(every, calls)
        )
        for case in cases
    ]


def choices(cases):
    words = [
        "gemm_f32_14x32_channels_avx512, source packed by channels, weights packed by channels, 16 x 1024",
        "gemm_f32_6x64_pixels_avx512, source in place",
    ]
    alternatives = [bench.choice.Alternative(text, 1.0, 1.0) for text in words]
    return [bench.choice.Choice(case, "NHWC", *words, 12.34, alternatives) for case in cases]


def company_results(seconds):
    work = "MobileNetV2, 128x3x1024x1024"
    return [
        bench.company.Company(library, work, "NHWC", seconds, 2 * seconds, threading)
        for library in ("numpy", "torch")
        for threading in ("workers", "openmp")
    ]


def neighbour_tables(contenders, cases, seconds):
    found = neighbour_results(contenders, cases, seconds)
    document = bench.contention_report.neighbour_document(found, contenders, MACHINE, {})
    return bench.contention_report.neighbour_tables(found, contenders, MACHINE, document)


def layer_tables(contenders, cases, seconds):
    found = layer_results(contenders, cases, seconds)
    tables = bench.report_tables.layer_tables(found, contenders, MACHINE)
    return [*tables, *bench.report_tables.network_tables(found, contenders)]


# Each function takes layers and the seconds of a call, and returns tables.
TABLES = {
    "layers, NumPy": functools.partial(layer_tables, ["numpy"]),
    "layers, one other peer": functools.partial(layer_tables, ["onnxruntime"]),
    "layers, two peers": functools.partial(layer_tables, ["numpy", "onnxruntime"]),
    "layers, every peer": functools.partial(layer_tables, CONTENDERS),
    "neighbour, NumPy": functools.partial(neighbour_tables, ["numpy"]),
    "neighbour, every peer": functools.partial(neighbour_tables, CONTENDERS),
    "explain": lambda cases, seconds: [bench.explain.table("generated", choices(cases))],
    "company": lambda cases, seconds: [bench.company.company_table(company_results(seconds), 16)],
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize(("cases", "seconds"), [(EXTREME, SLOW), (LONG, MODERATE)], ids=["extreme", "moderate"])
def test_a_table_fits_100_columns(name, cases, seconds):
    text = bench.tables.rendered(TABLES[name](cases, seconds), WIDTH)
    lines = [line.rstrip() for line in text.splitlines()]
    assert len(lines) > 5
    assert max(map(len, lines)) <= WIDTH
    assert "…" not in text, "a figure is cut off"


@pytest.mark.parametrize("name", [name for name in TABLES if name != "company"])
def test_names_of_installed_layers_are_not_broken(name):
    words = bench.tables.rendered(TABLES[name](LONG, MODERATE), WIDTH).split()
    for case in LONG:
        assert any(word.rstrip("*!") == case.layer for word in words), case.layer


@pytest.mark.parametrize("name", TABLES)
def test_figures_are_in_one_piece(name):
    """The tables show the same figures at a width of 100 columns as in a wide terminal."""

    def figures(width):
        text = bench.tables.rendered(TABLES[name](EXTREME, SLOW), width)
        return sorted(re.findall(r"(?<=\s)\d+\.\d+(?=\s)", text))

    assert figures(WIDTH) == figures(400)


def test_the_width_of_a_file_is_100_columns(monkeypatch, capsys):
    assert bench.tables.WIDTH == WIDTH
    table = bench.tables.Grid("title " * 30, ["words"], ["figure"])
    table.add_row("many words " * 40, "1.00")
    bench.tables.print_tables([table])
    assert max(map(len, capsys.readouterr().out.splitlines())) == WIDTH


def test_a_row_of_a_layer():
    case = bench.layers.Case("t", "layer", 1, 8, 16, 10, 10, 2, 2)
    rows = [
        result(case, "NHWC", ["numpy"], seconds=1.5e-5),
        result(dataclasses.replace(case, layer="again"), "NHWC", ["numpy"], measurements=2),
        result(dataclasses.replace(case, layer="spoilt"), "NHWC", ["numpy"], measurements=3, disturbance="a reason"),
    ]
    text = bench.tables.rendered(bench.report_tables.layer_tables(rows, ["numpy"], MACHINE), WIDTH)
    lines = [line.split() for line in text.splitlines()]
    assert ["t"] in lines
    shape = ["1x10x10x8", "->", "16", "/2", "g2"]
    times = ["15.0", "22.5", "29.2"]  # the best, the median and the 95th percentile of 15 and 30 us
    assert ["layer", *shape, *times, "0.2", "150%", "peak", "99.99"] in lines
    names = [line[0] for line in lines if line[1:3] == ["1x10x10x8", "->"]]
    assert names == ["layer", "again*", "spoilt!"]
    words = " ".join(text.split())
    for explanation in ("/2: stride 2", "g4: 4 groups", "*: disturbed, so measured again", "!: disturbed in every"):
        assert explanation in words
    plain = bench.tables.rendered(bench.report_tables.layer_tables(rows[:1], ["numpy"], MACHINE), WIDTH)
    assert "disturbed" not in plain


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, "-"),
        (1.2344e-6, "1.23"),
        (9.994e-6, "9.99"),
        (9.996e-6, "10.0"),
        (99.94e-6, "99.9"),
        (99.96e-6, "100"),
        (1.5, "1500000"),
        (1e-9, "0.00"),
    ],
)
def test_microseconds(seconds, words):
    assert bench.tables.microseconds(seconds) == words
