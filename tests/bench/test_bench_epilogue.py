"""Test --activation and --residual of the benchmark: parsing, checks, and the results of contenders."""

import argparse
import itertools
import json
import math
import os
import sys
import types

import numpy as np
import pytest
from pointwise import bench
from pointwise.__main__ import main

TINY = """network,layer,n,cin,cout,h,w,stride,groups
tiny,plain,2,8,16,6,5,1,1
tiny,strided,1,8,4,7,6,2,1
tiny,grouped,2,12,8,5,5,2,4
"""
CASES = [
    bench.layers.Case("t", "plain", 2, 8, 16, 6, 5, 1, 1),
    bench.layers.Case("t", "grouped and strided", 2, 12, 8, 5, 5, 2, 2),
]


def softplus(v):
    return max(v, 0.0) + math.log1p(math.exp(-abs(v)))


def sigmoid(v):
    return 1 / (1 + math.exp(-v))


def hardsigmoid(v):
    return min(max(v / 6 + 0.5, 0.0), 1.0)


def leaky_relu(v, slope=0.01):
    return slope * v if v < 0 else v


def elu(v, alpha=1.0):
    return alpha * math.expm1(v) if v < 0 else v


# Definitions for a single number, by the argument of --activation.
DEFINITIONS = {
    "none": lambda v: v,
    "relu": lambda v: max(v, 0.0),
    "relu6": lambda v: min(max(v, 0.0), 6.0),
    "clip,-0.5,0.75": lambda v: min(max(v, -0.5), 0.75),
    "clip,-inf,1": lambda v: min(v, 1.0),
    "leaky_relu": leaky_relu,
    "leaky_relu,1.5": lambda v: leaky_relu(v, 1.5),
    "leaky_relu,-0.5": lambda v: leaky_relu(v, -0.5),
    "elu": elu,
    "elu,0.25": lambda v: elu(v, 0.25),
    "sigmoid": sigmoid,
    "tanh": math.tanh,
    "silu": lambda v: v * sigmoid(v),
    "hardsigmoid": hardsigmoid,
    "hardswish": lambda v: v * hardsigmoid(v),
    "gelu": lambda v: v / 2 * (1 + math.erf(v / math.sqrt(2))),
    "gelu_tanh": lambda v: v / 2 * (1 + math.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3))),
    "softplus": softplus,
    "mish": lambda v: v * math.tanh(softplus(v)),
}


def epilogue(text="relu", residual=False, bias=True):
    return bench.epilogue.Epilogue(bench.epilogue.parse_activation(text), residual, bias)


def expected_of(case, layout, arrays, text):
    """Return the expected result in float64, computed in another way than by the contenders."""
    x = arrays.x if layout == "NCHW" else arrays.x.transpose(0, 3, 1, 2)
    x = x[:, :, :: case.stride, :: case.stride].astype(np.float64)
    groups = zip(np.split(arrays.weight, case.groups), np.split(x, case.groups, axis=1), strict=True)
    total = np.concatenate([np.einsum("oi,nihw->nohw", *group) for group in groups], axis=1)
    total += 0 if arrays.bias is None else arrays.bias[:, None, None]
    total = total if layout == "NCHW" else total.transpose(0, 2, 3, 1)
    if arrays.residual is not None:
        total = total + arrays.residual
    return np.vectorize(DEFINITIONS[text], otypes=[float])(total)


@pytest.fixture
def scipy(monkeypatch):
    """Provide SciPy's erf, or an equivalent if SciPy is not installed."""
    try:
        import scipy.special  # noqa: F401
    except ImportError:
        of_one = np.vectorize(math.erf, otypes=[float])
        fake = types.SimpleNamespace(erf=lambda t, out: np.copyto(out, of_one(t), casting="same_kind"))
        monkeypatch.setitem(sys.modules, "scipy.special", fake)


@pytest.fixture
def no_scipy(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.special", None)


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Make a table in the working directory, with round figures for the machine and very short measurements."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bench.command, "fma_peak", lambda threads, dtype="float32": 50e9 * threads)
    monkeypatch.setattr(bench.command, "copy_bandwidth", lambda threads: 10e9)
    monkeypatch.setattr(bench.processes, "fma_peak", lambda threads, blocks, block, dtype="float32": 40e9)
    monkeypatch.setattr(bench.command, "QUICK", bench.timing.Effort(seconds=0.0, block=1e-4, rounds=1))
    (tmp_path / "tiny.csv").write_text(TINY)
    return tmp_path


def run(line, found="out.json"):
    """Run a benchmark of the tiny table and return its JSON document."""
    assert main(["bench", "--quick", "--layers", "tiny.csv", "--json", found, *line.split()]) == 0
    with open(found) as file:
        return json.load(file)


# the words of the command line


@pytest.mark.parametrize(
    ("text", "argument", "again"),
    [
        ("none", None, "none"),
        ("relu", "relu", "relu"),
        ("swish", "silu", "silu"),
        ("linear", None, "none"),
        ("leaky_relu", ("leaky_relu", float(np.float32(0.01))), "leaky_relu,0.01"),
        ("leaky_relu,-2", ("leaky_relu", -2.0), "leaky_relu,-2"),
        ("elu", ("elu", 1.0), "elu,1"),
        ("clip,-1e-3,inf", ("clip", float(np.float32(-1e-3)), math.inf), "clip,-0.001,inf"),
        ("clip,2,2", ("clip", 2.0, 2.0), "clip,2,2"),
    ],
)
def test_activations_are_parsed(text, argument, again):
    activation = bench.epilogue.parse_activation(text)
    assert activation.argument() == argument
    assert str(activation) == again
    assert bench.epilogue.parse_activation(again) == activation


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "activation must be None or one of relu, relu6, clip, leaky_relu, prelu, elu, sigmoid,"),
        ("hard_tanh", "activation must be None or one of relu,"),
        ("RELU", "activation must be None or one of relu,"),
        ("none,1", "activation must be None or one of relu,"),
        ("relu,", "expected a name, or a name and numbers as in clip,0,6"),
        ("gelu,1", "activation 'gelu' takes no parameters"),
        ("clip", "activation 'clip' takes bounds lo and hi"),
        ("clip,1", "activation 'clip' takes bounds lo and hi"),
        ("clip,1,2,3", "activation 'clip' takes bounds lo and hi"),
        ("clip:1,2", "activation must be None or one of relu,"),
        ("elu,x", "expected a name, or a name and numbers as in clip,0,6"),
        ("elu,1,2", "activation 'elu' takes alpha"),
        ("prelu,0.5", "prelu has random slopes, one for each output channel: omit the numbers"),
    ],
)
def test_what_is_no_activation_is_refused(tiny, capsys, text, words):
    with pytest.raises(argparse.ArgumentTypeError):
        bench.epilogue.parse_activation(text)
    assert main(["bench", "--layers", "tiny.csv", f"--activation={text}"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"pointwise bench: argument --activation: {words}")
    assert err.count("\n") == 1


@pytest.mark.parametrize("text", ["clip,1,nan", "clip,2,1", "leaky_relu,inf", "elu,1e39"])
def test_parameters_that_no_layer_takes_are_refused(tiny, capsys, text):
    assert main(["bench", "--layers", "tiny.csv", f"--activation={text}"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("pointwise bench: activation ")
    assert err.count("\n") == 1


def test_what_our_own_layers_lack_is_refused_before_the_run(tiny, monkeypatch, capsys):
    def refuse(weight, activation):
        raise NotImplementedError(f"activation {activation!r} is not built yet")

    monkeypatch.setattr(bench.command, "Conv", refuse)
    monkeypatch.setattr(bench.command, "measure", lambda *arguments: pytest.fail("the run has started"))
    assert main(["bench", "--layers", "tiny.csv", "--activation", "elu,2"]) == 2
    assert capsys.readouterr().err == "pointwise bench: activation ('elu', 2.0) is not built yet\n"


@pytest.mark.parametrize(
    ("text", "residual", "bias", "words"),
    [
        ("none", False, True, "bias"),
        ("none", True, True, "bias and residual"),
        ("relu", False, True, "bias and ReLU"),
        ("relu", True, True, "bias, residual and ReLU"),
        ("clip,0,1", True, True, "bias, residual and clip,0,1"),
        ("none", False, False, "no bias"),
        ("relu", False, False, "no bias, ReLU"),
        ("clip,0,1", True, False, "no bias, residual, clip,0,1"),
    ],
)
def test_the_words_of_headlines(text, residual, bias, words):
    assert epilogue(text, residual, bias).words() == words


# a whole run


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("text", DEFINITIONS)
def test_a_run(tiny, capsys, text, residual):
    """A run checks every contender, and leaves out NumPy for gelu if SciPy is not installed."""
    found = run(f"--activation {text}" + " --residual" * residual)
    activation = bench.epilogue.parse_activation(text)
    assert found["settings"]["activation"] == str(activation)
    assert found["settings"]["residual"] is residual
    left_out = bench.numpy_activations.lacking(activation) is not None
    for row in found["results"]:
        assert row["seconds"]["pointwise"] > 0
        assert (row["seconds"]["numpy"] is None) == left_out
        assert "epilogue" not in row
        plain = bench.layers.Case(*(row[column] for column in bench.layers.HEADER)).cost(row["layout"])
        assert row["cost"]["flops"] == plain.flops
        assert row["cost"]["bytes"] == plain.bytes + residual * 4 * math.prod(plain.output_shape)
    out = capsys.readouterr().out
    assert f"NCHW, float32, {epilogue(text, residual).words()}" in [line.rstrip() for line in out.splitlines()]
    assert ("numpy cannot compute gelu: it lacks erf" in out) == left_out


def test_a_run_with_threads(tiny):
    found = run("--threads 2 --layout NHWC --residual")
    assert [set(row["seconds"]) for row in found["results"]] == [{"pointwise", "numpy"}] * 3


def test_the_plot_names_the_epilogue(tiny, monkeypatch):
    titles = []

    def save(file, results, machine, kind):
        titles.append(results[0].case.epilogue.words())
        bench.roofline.save_roofline(file, results, machine, kind)

    monkeypatch.setattr(bench.command, "save_roofline", save)
    run("--residual --activation none --plot out.svg")
    assert titles == ["bias and residual"]
    assert os.path.getsize("out.svg") > 1000


def test_numpy_without_erf_is_left_out_by_default(tiny, monkeypatch, capsys):
    reason = ": it lacks erf, which scipy has: pip install scipy"
    for module in (bench.numpy_activations, bench.numpy_baseline):
        monkeypatch.setattr(module, "lacking", lambda activation: reason)
    found = run("--activation none --layout NCHW")
    assert all(row["seconds"]["numpy"] is None for row in found["results"])
    out = capsys.readouterr().out
    assert "NCHW: numpy cannot compute these layers\n" in out
    assert "numpy cannot compute none: it lacks erf, which scipy has: pip install scipy\n" in out
    for asked in ("--vs numpy", "--neighbour"):
        assert main(f"bench --layers tiny.csv --activation none {asked}".split()) == 2
        err = capsys.readouterr().err
        assert err == f"pointwise bench: --vs numpy cannot compute --activation none{reason}\n"


def test_without_scipy_numpy_lacks_gelu_alone(no_scipy):
    lacked = [text for text in DEFINITIONS if bench.numpy_activations.lacking(bench.epilogue.parse_activation(text))]
    assert lacked == ["gelu"]
    case = CASES[0].with_epilogue(epilogue("gelu"))
    assert bench.numpy_baseline.numpy_baseline(case, "NCHW", bench.operands.operands(case, "NCHW"), 1) == {}


def test_what_xnnpack_lacks_is_refused(tiny, monkeypatch, capsys):
    monkeypatch.setattr(bench.command.importlib.util, "find_spec", lambda name: types.SimpleNamespace())
    lacked = [text for text in DEFINITIONS if bench.frameworks.xnnpack_lacking(bench.epilogue.parse_activation(text))]
    assert lacked == ["clip,-0.5,0.75", "clip,-inf,1", "elu,0.25", "silu", "hardsigmoid", "softplus", "mish"]
    for text in lacked:
        assert main(f"bench --layers tiny.csv --vs xnnpack --activation {text}".split()) == 2
        assert capsys.readouterr().err == f"pointwise bench: --vs xnnpack cannot compute --activation {text}\n"


# the reference and the check


@pytest.mark.parametrize("text", DEFINITIONS)
def test_the_reference_is_the_definition(text):
    v = np.concatenate([np.linspace(-30, 30, 3001), [-0.0, 1e-12, -1e-12, 3, -3, 6]])
    definition = bench.definitions.define(bench.epilogue.parse_activation(text))
    found = definition.function(v)
    expected = np.array([DEFINITIONS[text](value) for value in v])
    # The tolerance allows for parameters that are rounded to float32.
    np.testing.assert_allclose(found, expected, rtol=3e-8, atol=1e-10)
    steps = np.abs(np.diff(found[:3001])) / np.diff(v[:3001])
    assert steps.max() <= definition.lipschitz * (1 + 1e-9)
    assert steps.max() > 0.98 * definition.lipschitz, "the bound must not be larger than necessary"
    assert np.isnan(definition.function(np.array([np.nan]))).all()


def test_the_error_function():
    t = np.random.default_rng(1).uniform(-8, 8, 20000)
    t = np.concatenate([t, [0.0, np.inf, -np.inf, 1 / 128, -6, 6, 1e-300]])
    expected = np.array([math.erf(value) for value in t])
    assert np.abs(bench.definitions.erf(t) - expected).max() < 1e-11


def wrong_builder(text, residual=True):
    """Return a builder of a contender that computes another epilogue."""

    def build(case, layout, arrays, threads):
        arrays = arrays if residual else arrays._replace(residual=None)
        return bench.numpy_baseline.numpy_baseline(case.with_epilogue(epilogue(text)), layout, arrays, threads)

    return build


@pytest.mark.parametrize("text", DEFINITIONS)
def test_the_check_tells_activations_apart(scipy, text):
    for other in DEFINITIONS:
        if other == text or text in ("none", "relu"):
            continue
        with pytest.raises(
            bench.verify.WrongResult, match=r"wrong result of it \(m @ x\) on a layer of two channels in NCHW: "
        ):
            bench.verify.check_few_channels("it", wrong_builder(other), "NCHW", epilogue(text), 1)
    bench.verify.check_few_channels("it", wrong_builder(text), "NCHW", epilogue(text), 1)


@pytest.mark.parametrize("text", ["gelu", "gelu_tanh"])
def test_every_contender_is_checked_on_few_channels(scipy, monkeypatch, text):
    """Contenders are also checked on two channels: with 1024, gelu and gelu_tanh differ by less than the bound."""
    case = bench.layers.Case("t", "many channels", 1, 1024, 4, 8, 8, 1, 1, epilogue=epilogue(text))
    arrays = bench.operands.operands(case, "NHWC")
    wrong = wrong_builder("gelu" if text == "gelu_tanh" else "gelu_tanh")
    bench.verify.check(case, "NHWC", arrays, wrong(case, "NHWC", arrays, 1))
    monkeypatch.setitem(bench.contenders.CONTENDERS, "numpy", wrong)
    seen = pytest.raises(bench.verify.WrongResult, match="two channels in NHWC")
    with bench.processes.turns(["numpy"], 1) as (prepare, _), seen:
        prepare(case, "NHWC")


@pytest.mark.parametrize("text", DEFINITIONS)
def test_the_check_misses_no_residual(scipy, text):
    case = CASES[0].with_epilogue(epilogue(text, residual=True))
    arrays = bench.operands.operands(case, "NHWC")
    for form, wrong in wrong_builder(text, residual=False)(case, "NHWC", arrays, 1).items():
        with pytest.raises(bench.verify.WrongResult, match=f"wrong result of {form} on"):
            bench.verify.check(case, "NHWC", arrays, {form: wrong})


@pytest.mark.parametrize("text", ["none", "relu", "tanh"])
@pytest.mark.parametrize("layout", bench.layers.LAYOUTS)
def test_the_check_finds_a_bias_that_should_not_be_there(text, layout):
    case = CASES[0].with_epilogue(epilogue(text, bias=False))
    arrays = bench.operands.operands(case, layout)
    assert arrays.bias is None
    forms = bench.numpy_baseline.numpy_baseline(case, layout, arrays, 1)
    bench.verify.check(case, layout, arrays, forms)
    bias = bench.operands.operands(CASES[0], layout).bias
    for form, wrong in bench.numpy_baseline.numpy_baseline(case, layout, arrays._replace(bias=bias), 1).items():
        with pytest.raises(bench.verify.WrongResult):
            bench.verify.check(case, layout, arrays, {form: wrong})


# With C = 1 and ones, |w| |x| + |b| + |residual| = 3. 2 * gamma_4 * 3 is 24 u, or 6 steps of float32 at 3.
# Hardswish of 3 is 3. Its bound is 1.5 * 24 u, plus 16 u * 3 for the rounding of hardswish: 84 u, or 21 steps.
@pytest.mark.parametrize(("text", "most"), [("none", 6), ("relu", 6), ("hardswish", 21)])
def test_the_check_has_the_derived_bound(text, most):
    case = bench.layers.Case("t", "one channel", 1, 1, 1, 2, 2, 1, 1, epilogue=epilogue(text, residual=True))
    one = np.ones((1, 1, 2, 2), np.float32)
    arrays = bench.operands.Operands(one, one[0, 0, :1, :1], one[0, 0, 0, :1], one)
    for steps in (-most, most):
        bench.verify.check(case, "NCHW", arrays, {"it": lambda steps=steps: one * np.float32(3 + steps * 2.0**-22)})
        over = np.float32(3 + (steps + math.copysign(1, steps)) * 2.0**-22)
        with pytest.raises(bench.verify.WrongResult, match="4 of 4 elements"):
            bench.verify.check(case, "NCHW", arrays, {"it": lambda over=over: one * over})


def test_the_operands_without_a_residual_are_those_with_it():
    for layout in bench.layers.LAYOUTS:
        without = bench.operands.operands(CASES[1], layout)
        case = CASES[1].with_epilogue(epilogue(residual=True))
        arrays = bench.operands.operands(case, layout)
        assert without.residual is None
        for one, other in zip(without[:3], arrays[:3], strict=True):
            assert np.array_equal(one, other)
        assert arrays.residual.shape == case.cost(layout).output_shape
        assert arrays.magnitudes().residual.min() >= 0


# contenders


@pytest.mark.parametrize(("residual", "bias"), [(False, True), (True, True), (True, False)])
@pytest.mark.parametrize("text", DEFINITIONS)
@pytest.mark.parametrize(
    ("name", "layout"),
    [
        pair
        for pair in itertools.product(bench.contenders.CONTENDERS, bench.layers.LAYOUTS)
        if pair not in {("xnnpack", "NCHW"), ("pointwise", "NCHW"), ("pointwise", "NHWC")}
    ],
)
def test_contenders_compute_the_epilogue(scipy, name, layout, text, residual, bias):
    for module in bench.contenders.MODULES.get(name, ()):
        pytest.importorskip(module)
    if bench.contenders.left_out(name, bench.epilogue.parse_activation(text)) is not None:
        assert name == "xnnpack"
        return  # a run refuses this contender
    how = epilogue(text, residual, bias)
    bench.verify.check_few_channels(name, bench.contenders.CONTENDERS[name], layout, how, 1)
    for case in CASES:
        case = case.with_epilogue(how)
        arrays = bench.operands.operands(case, layout)
        kept = [array.copy() for array in arrays if array is not None]
        forms = bench.contenders.CONTENDERS[name](case, layout, arrays, 1)
        bench.verify.check(case, layout, arrays, forms)
        for call in forms.values():
            first, second = call(), call()
            assert first.dtype == np.float32
            np.testing.assert_allclose(first, expected_of(case, layout, arrays, text), rtol=2e-5, atol=1e-5)
            np.testing.assert_array_equal(first, second)
            if name != "openvino":  # reuses its result array, which makes it faster
                assert not np.shares_memory(first, second), "the result must be a new array"
        for before, after in zip(kept, [array for array in arrays if array is not None], strict=True):
            assert np.array_equal(before, after), "operands must not change"


@pytest.mark.parametrize(("residual", "bias"), [(False, True), (True, True), (True, False)])
@pytest.mark.parametrize(
    ("name", "layout"),
    [
        pair
        for pair in itertools.product(bench.contenders.CONTENDERS, bench.layers.LAYOUTS)
        if pair != ("xnnpack", "NCHW")
    ],
)
def test_contenders_compute_prelu(name, layout, residual, bias):
    for module in bench.contenders.MODULES.get(name, ()):
        pytest.importorskip(module)
    how = epilogue("prelu", residual, bias)
    bench.verify.check_few_channels(name, bench.contenders.CONTENDERS[name], layout, how, 1)
    for case in CASES:
        case = case.with_epilogue(how)
        arrays = bench.operands.operands(case, layout)
        assert arrays.slopes.shape == (case.cout,)
        total = bench.numpy_baseline.numpy_sum(case, layout, arrays)
        slopes = arrays.slopes if layout == "NHWC" else arrays.slopes.reshape(1, -1, 1, 1)
        assert (total < 0).any()
        for call in bench.contenders.CONTENDERS[name](case, layout, arrays, 1).values():
            np.testing.assert_allclose(call(), np.where(total < 0, slopes * total, total), rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("layout", bench.layers.LAYOUTS)
def test_another_prelu_is_a_wrong_result(layout):
    case = CASES[0].with_epilogue(epilogue("prelu"))
    arrays = bench.operands.operands(case, layout)
    (call,) = bench.contenders.CONTENDERS["pointwise"](case, layout, arrays, 1).values()
    bench.verify.check(case, layout, arrays, {"right": call})
    other = arrays._replace(slopes=arrays.slopes[::-1].copy())
    (call,) = bench.contenders.CONTENDERS["pointwise"](case, layout, other, 1).values()
    with pytest.raises(bench.verify.WrongResult):
        bench.verify.check(case, layout, arrays, {"wrong": call})


def test_a_run_with_prelu(tiny):
    assert (
        main(["bench", "--layers", "tiny.csv", "--quick", "--activation", "prelu", "--residual", "--json", "out.json"])
        == 0
    )
    found = json.loads((tiny / "out.json").read_text())
    assert found["settings"]["activation"] == "prelu"
    assert all(row["ratio"]["numpy"] > 0 for row in found["results"])


@pytest.mark.parametrize("text", ["relu", "gelu"])
def test_xnnpack_computes_the_epilogue_by_its_delegate(text):
    pytest.importorskip("ai_edge_litert")
    pytest.importorskip("flatbuffers")
    from ai_edge_litert.interpreter import Interpreter

    case = CASES[0].with_epilogue(epilogue(text, residual=True))
    model = bench.frameworks._tflite_model(case, bench.operands.operands(case, "NHWC"))
    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    names = [op["op_name"] for op in interpreter._get_ops_details()]
    assert names == ["CONV_2D", "ADD", *(["GELU"] if text == "gelu" else []), "DELEGATE"]
