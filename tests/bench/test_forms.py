"""Test the forms of NumPy: the expressions that compute a layer. The fastest one is the baseline.

No test asserts a time.
"""

import functools

import numpy as np
import pytest
from pointwise import bench
from pointwise.bench import preparation, processes

CASES = {
    "several images": (2, 6, 4, 5, 7, 1, 1),
    "one image": (1, 6, 4, 5, 7, 1, 1),
    "one output": (2, 6, 1, 5, 7, 1, 1),
    "one output of one image": (1, 6, 1, 5, 7, 1, 1),
    "strided": (2, 6, 4, 5, 7, 2, 1),
    "grouped": (2, 6, 4, 5, 7, 2, 2),
    "depthwise": (2, 6, 6, 5, 7, 2, 6),
    "one channel": (1, 1, 1, 5, 7, 1, 1),
}
EXPECTED = {
    ("several images", "NCHW"): {"m @ x", "per-image matmul", "tensordot"},
    ("one image", "NCHW"): {"m @ x", "per-image matmul", "tensordot", "dot"},
    ("one output", "NCHW"): {"m @ x", "per-image matmul", "tensordot", "v @ x"},
    ("grouped", "NCHW"): {"grouped matmul"},
    ("depthwise", "NCHW"): {"grouped matmul", "x * k"},
    ("grouped", "NHWC"): {"grouped matmul"},
    ("depthwise", "NHWC"): {"grouped matmul", "x * k"},
}
EVERY = {"flattened x @ m", "x @ m", "flattened x @ m.T", "x @ m.T", "dot", "dot with m.T", "tensordot"}
EXPECTED[("several images", "NHWC")] = EVERY | {"per-image matmul"}
EXPECTED[("one output", "NHWC")] = EVERY | {"per-image matmul", "x @ v", "flattened x @ v"}


def forms_of(name, layout, epilogue=bench.epilogue.BIAS_RELU):
    case = bench.layers.Case("t", name, *CASES[name], epilogue=epilogue)
    arrays = bench.operands.operands(case, layout)
    return case, arrays, bench.numpy_baseline.numpy_baseline(case, layout, arrays, 1)


@pytest.mark.parametrize(("name", "layout"), EXPECTED)
def test_the_forms_of_a_layer(name, layout):
    assert set(forms_of(name, layout)[2]) == EXPECTED[name, layout]


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("layout", bench.layers.LAYOUTS)
@pytest.mark.parametrize("name", CASES)
def test_every_form_computes_the_layer(name, layout, bias, residual):
    """For small integers, each form returns the exact result in a new, contiguous array, and keeps its operands."""
    epilogue = bench.epilogue.Epilogue(bench.epilogue.RELU, residual, bias)
    case, arrays, _ = forms_of(name, layout, epilogue)
    arrays = bench.operands.Operands(*(None if array is None else np.rint(2 * array) for array in arrays))
    kept = [None if array is None else array.copy() for array in arrays]
    x = arrays.x if layout == "NCHW" else arrays.x.transpose(0, 3, 1, 2)
    x = x[:, :, :: case.stride, :: case.stride]
    groups = zip(np.split(x, case.groups, 1), np.split(arrays.weight, case.groups), strict=True)
    expected = np.concatenate([np.einsum("oi,nihw->nohw", weight, part) for part, weight in groups], 1)
    expected = expected if layout == "NCHW" else expected.transpose(0, 2, 3, 1)
    if bias:
        expected = expected + (arrays.bias[:, None, None] if layout == "NCHW" else arrays.bias)
    if residual:
        expected = expected + arrays.residual
    expected = np.maximum(expected, 0)
    assert expected.any()
    for form, call in bench.numpy_baseline.numpy_baseline(case, layout, arrays, 1).items():
        result = call()
        np.testing.assert_array_equal(result, expected, err_msg=form)
        assert result.dtype == np.float32
        assert result.flags.c_contiguous, form
        assert not any(array is not None and np.shares_memory(result, array) for array in arrays), form
    for before, after in zip(kept, arrays, strict=True):
        assert before is None or np.array_equal(before, after)


def test_the_first_form_defines_the_sum():
    case, arrays, _ = forms_of("several images", "NHWC", bench.epilogue.Epilogue(bench.epilogue.NO_ACTIVATION))
    total = bench.numpy_baseline.numpy_sum(case, "NHWC", arrays.magnitudes())
    assert total.dtype == np.float64
    assert (total > 0).all()


def test_the_fastest_form_is_chosen(monkeypatch):
    """Single calls exclude the slow forms. Timing blocks choose among the other forms."""
    # seconds of a single call, and seconds per call in timing blocks
    seconds = {"slow": (2.1e-5, 1e-9), "near": (1.9e-5, 1e-6), "fast": (1e-5, 2e-6)}
    turns = []

    def time_block(call, repetitions):
        turns.append((call(), repetitions))
        return bench.timing.Block(seconds[call()][repetitions > 1])

    monkeypatch.setattr(bench.forms, "time_block", time_block)
    forms = {form: functools.partial(str, form) for form in seconds}
    assert bench.forms.fastest_form(forms, block=1e-4, rounds=2) == "near"
    singles = [(form, 1) for form in seconds for _ in range(2)]
    assert turns == singles + [("near", 10), ("fast", 10)] * 2


def test_a_form_that_is_much_faster_is_not_timed_again(monkeypatch):
    seconds = iter([9.0, 8.0, 10.0, 1.0])
    monkeypatch.setattr(bench.forms, "time_block", lambda *_: bench.timing.Block(next(seconds)))
    assert bench.forms.fastest_form(dict.fromkeys("ab", lambda: None)) == "b"


def test_a_single_form_is_not_timed():
    assert bench.forms.fastest_form({"": lambda: pytest.fail("the call was timed")}) == ""


@pytest.mark.parametrize("threads", [1, 2])
def test_the_chosen_form_is_timed(monkeypatch, threads):
    """One thread runs in this process, where the test replaces the choice. Two threads run in other processes."""
    monkeypatch.setattr(preparation, "fastest_form", lambda forms: list(forms)[-1])
    case = bench.layers.Case("t", "plain", *CASES["several images"])
    with processes.turns(["pointwise", "numpy"], threads) as (prepare, _):
        timers, forms = prepare(case, "NHWC")
        assert set(timers) == {"pointwise", "numpy"}
        assert forms["pointwise"] == ""
        assert forms["numpy"] in EXPECTED["several images", "NHWC"]
        assert forms["numpy"] == "per-image matmul" or threads > 1
