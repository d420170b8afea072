"""Test junk values for the arguments that test_errors.py omits.

These are arguments of scales, chains, batch normalization, gradients, statistics, memory and planned functions.
"""

import itertools
import operator
import re

import hypothesis.strategies as st
import numpy as np
import pointwise as pw
import pytest
import reference
from hypothesis import given
from junk import DOCUMENTED, dtypes, junk, odd_arrays, only, parameters
from pointwise import _core

F = np.float32
x0, w0 = np.ones((1, 6, 2, 3), F), np.ones((4, 6), F)
ones = [np.ones(4, F), np.ones(4), [1, 1, 1, 1], np.ones(4, np.int8), np.ones((4, 1)), np.float64(1)]
of_channels = st.sampled_from(ones) | odd_arrays | junk


def names(error, allowed):
    """Check that a message begins with the name of an argument. A MemoryError of Python has no message."""
    assert isinstance(error, MemoryError) or re.match(rf"({'|'.join(allowed)})\b", str(error)), repr(error)


@given(
    odd_arrays | junk,
    st.sampled_from([np.ones((1, 6), F), np.ones((1, 6, 1, 1)), [[1] * 6]]) | odd_arrays | junk,
    st.sampled_from([x0, x0[..., ::-1], np.ones((1, 6, 2, 3))]),
)
def test_input_scale(out, scale, x):
    before = out.tobytes() if isinstance(out, np.ndarray) and not out.dtype.hasobject else None
    for call in (pw.conv, lambda x, weight, **how: pw.Conv(weight, dtype=x.dtype)(x, **how)):
        try:
            y = call(x, w0, input_scale=scale, out=out)
        except DOCUMENTED as error:
            names(error, ["input_scale", "out"])
            assert before is None or out.tobytes() == before
            continue
        factors = 1 if scale is None else np.asarray(scale).astype(x.dtype)
        if np.ndim(factors) == 2:
            factors = factors[:, :, None, None]
        value, bound = reference.exact(x * factors, w0)
        reference.assert_within_bound(np.asarray(y), value, bound)


layers = [
    pw.Conv(w0),
    pw.Conv(np.ones((6, 4), F)),
    pw.Conv(np.ones((4, 4), F), stride=2),
    pw.Conv(np.ones((4, 4))),
    pw.Conv(np.ones((4, 4), F), layout="NHWC"),
    pw.Conv(np.ones((4, 4), F), padding=1),
    pw.Conv(np.ones((0, 4), F)),
]


@given(
    st.lists(st.sampled_from(layers) | junk, max_size=4) | st.lists(st.sampled_from(layers[:2]), max_size=9) | junk,
    st.sampled_from([x0, x0, np.ones((2, 6, 0, 3), F)]) | odd_arrays | junk,
    st.none() | odd_arrays | junk,
    st.none() | odd_arrays | junk,
)
def test_chain(parts, x, residual, out):
    before = out.tobytes() if isinstance(out, np.ndarray) and not out.dtype.hasobject else None
    try:
        y = pw.Chain(parts)(x, residual, out)
    except DOCUMENTED as error:
        names(error, ["layers", "x", "residual", "out"])
        assert before is None or out.tobytes() == before
        return
    for i, part in enumerate(parts):
        x = part(x, residual if i + 1 == len(parts) else None)
    reference.assert_same_bits(np.asarray(y), x)


def test_a_chain_of_very_many_layers():
    eye = pw.Conv(np.eye(6, dtype=F))
    chain = pw.Chain(itertools.repeat(eye, 5000))
    np.testing.assert_array_equal(chain(x0), x0)
    with pytest.raises(ValueError, match="layer 5000 must have layer 0's layout"):
        pw.Chain([*chain.layers, pw.Conv(np.eye(6, dtype=F), layout="NHWC")])


@given(
    st.sampled_from([w0, w0.astype(float), np.ones((4, 6), F)[:, :3]]) | odd_arrays | junk,
    st.tuples(st.none() | of_channels, of_channels, of_channels, st.none() | of_channels, st.none() | of_channels),
    st.sampled_from([1e-5, 0, 1, np.float32(1e-3), np.array(1e-5)]) | junk,
    only(parameters | {"dtype": junk | dtypes}),
)
def test_batchnorm(weight, statistics, eps, keywords):
    allowed = ["weight", "bias", "mean", "variance", "gamma", "beta", "eps"]
    given = dict(zip(allowed[1:], (*statistics, eps), strict=True))
    try:
        w, b = pw.fold_batchnorm(weight, **given)
    except DOCUMENTED as error:
        names(error, allowed)
    else:
        assert w.dtype == b.dtype == np.asarray(weight).dtype
        assert w.shape == np.shape(weight)
        assert b.shape == (len(w),)
    try:
        layer = pw.Conv.from_batchnorm(weight, **given, **keywords)
    except DOCUMENTED as error:
        names(error, [*allowed, *keywords])
    else:
        assert layer.bias.shape == (len(layer.weight),)


@given(junk)
def test_memory_limit(value):
    try:
        pw.set_memory_limit(value)
    except (TypeError, ValueError) as error:
        names(error, ["nbytes"])
    else:
        assert 0 <= operator.index(value) < 2**63
        assert _core._testing.idle_bytes() <= operator.index(value)
    finally:
        pw.set_memory_limit(128 << 20)


grads = st.sampled_from([np.ones((1, 4, 2, 3), F), np.ones((1, 4, 1, 2)), np.ones((1, 4, 2, 3), "u1")])
adding = st.fixed_dictionaries({}, optional={"accumulate": st.sampled_from([True, False, np.True_]) | junk})


@given(
    st.sampled_from(["input", "weight", "bias"]),
    grads | odd_arrays | junk,
    st.sampled_from([w0, x0, x0.astype("i2"), np.ones((4, 6, 1, 1))]) | odd_arrays | junk,
    st.sampled_from([(1, 6, 2, 3), [1, 6, 2, 3]]) | junk,
    st.none() | odd_arrays | junk,
    adding,
    only({name: value for name, value in parameters.items() if name != "activation"}),
)
def test_gradients(kind, grad, other, x_shape, out, add, keywords):
    before = out.tobytes() if isinstance(out, np.ndarray) and not out.dtype.hasobject else None
    arguments = {"input": (grad, other, x_shape), "weight": (grad, other), "bias": (grad,)}[kind]
    if kind == "bias":
        keywords = {name: value for name, value in keywords.items() if name == "layout"}
    allowed = [*("grad", "weight", "x_shape", "x", "out", "accumulate"), *keywords]
    try:
        result = getattr(pw, f"conv_grad_{kind}")(*arguments, out=out, **add, **keywords)
    except DOCUMENTED as error:
        names(error, allowed)
        assert before is None or out.tobytes() == before
        return
    assert out is None or result is out
    if keywords or add or np.ndim(grad) != 4:
        return
    g = np.asarray(grad)
    if kind == "bias":
        expected = g.sum((0, 2, 3))
    elif kind == "weight":
        expected = np.einsum("nohw,nihw->oi", g, np.asarray(other))
    else:
        expected = np.einsum("nohw,oi->nihw", g, np.asarray(other).reshape(np.shape(other)[:2]))
    np.testing.assert_array_equal(result, expected)


@given(
    st.sampled_from([x0, x0.astype("u1"), np.ones((4, 6)), np.ones((2,) * 6, F)]) | odd_arrays | junk,
    st.none() | st.sampled_from([x0, np.ones((4, 5))]) | odd_arrays | junk,
    only({"axis": st.sampled_from([0, 1, -1]) | junk, "dtype": st.sampled_from(["f4", "f8", None]) | dtypes | junk}),
    only({"ddof": st.sampled_from([0, 1]) | junk, "mean": st.sampled_from([np.ones(6), np.ones(3)]) | junk}),
)
def test_statistics(x, y, keywords, of_covariance):
    words = ["x", "y", "axis", "dtype", "ddof", "mean"]
    try:
        result = pw.gram(x, y, **keywords)
    except DOCUMENTED as error:
        names(error, words)
    else:
        assert result.shape[0] == np.shape(x)[keywords.get("axis", -1)]
    try:
        result = pw.covariance(x, **keywords, **of_covariance)
    except DOCUMENTED as error:
        names(error, words)
    else:
        assert result.shape == (np.shape(x)[keywords.get("axis", -1)],) * 2


@given(
    st.sampled_from([x0.astype("u1"), x0.astype("i1")]) | odd_arrays | junk,
    st.sampled_from([np.ones((4, 6), "i1"), np.full((4, 6), 9, "u1")]) | odd_arrays | junk,
    st.sampled_from([0, np.uint8(3), np.int8(0)]) | junk,
    st.sampled_from([0, np.uint8(3), np.int8([1, 2, 3, 4])]) | junk,
    st.sampled_from([0.5, np.float32(2)]) | junk,
    st.sampled_from([0.1, np.float32([1, 2, 3, 4])]) | junk,
    st.sampled_from([np.uint8(3), np.int8(-1)]) | junk,
    st.none() | st.sampled_from([np.arange(4), np.ones(4)]) | odd_arrays | junk,
    only({"activation": st.sampled_from([None, "relu", ("clip", 0, 1), "gelu"]) | junk, "groups": st.just(1) | junk}),
)
def test_quantized(x, weight, x_zero, weight_zero, scale, weight_scale, y_zero, bias, keywords):
    """Any argument gives a result or an error that names an argument."""
    words = ["x", "weight", "bias", "activation", "groups"]
    words += [f"{a}_{word}" for a in ("x", "weight", "y") for word in ("scale", "zero_point")]
    calls = [
        lambda: pw.conv_integer(x, weight, x_zero, weight_zero),
        lambda: pw.qconv(x, scale, x_zero, weight, weight_scale, weight_zero, scale, y_zero, bias, **keywords),
        lambda: pw.QConv(scale, x_zero, weight, weight_scale, weight_zero, scale, y_zero, bias, **keywords)(x),
    ]
    for call in calls:
        try:
            result = call()
        except DOCUMENTED as error:
            names(error, words)
        else:
            assert result.dtype.name in ("int32", "uint8", "int8")


@given(odd_arrays | junk, junk | st.sampled_from([None, 99, True, False]), dtypes | junk)
def test_scales(array, option, dtype):
    calls = [
        (lambda: pw.quantize_weight(array, option), ["weight", "per_channel"]),
        (lambda: pw.calibrate(array, option), ["x", "percentile"]),
        (lambda: pw.calibrate(array, dtype=dtype), ["x", "dtype"]),
        (lambda: pw.QConv.from_float(array, array), ["conv"]),
    ]
    for call, words in calls:
        try:
            call()
        except DOCUMENTED as error:
            names(error, words)


@given(junk)
def test_the_mode_of_show_config(value):
    try:
        pw.show_config(value)
    except (TypeError, ValueError) as error:
        names(error, ["mode"])
    else:
        assert value in ("stdout", "dicts")
