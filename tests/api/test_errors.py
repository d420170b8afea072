"""Test the exceptions for wrong arguments. A message names the argument, what was expected and what was given."""

import inspect
import operator

import hypothesis.strategies as st
import numpy as np
import pointwise as pw
import pytest
import reference
from hypothesis import given
from junk import DOCUMENTED, documented, dtypes, junk, odd_arrays, only, parameters, swapped, whole

F = np.float32
MANY = 2**63
NAN = float("nan")
x0, w0, b0 = np.ones((1, 6, 2, 3), F), np.ones((4, 6), F), np.ones(4, F)


class Bad:
    def __repr__(self):
        return "Bad!"


NAMES = (
    *("relu", "relu6", "clip", "leaky_relu", "elu", "sigmoid", "tanh", "silu", "hardsigmoid", "hardswish"),
    *("gelu", "gelu_tanh", "softplus", "mish"),
)
WITH_ONE = ("leaky_relu", "elu")
WITHOUT = tuple(name for name in NAMES if name not in (*WITH_ONE, "clip"))

# (argument, value, exception, pattern of the message)
OF_THE_LAYER = [
    ("weight", np.ones((), F), ValueError, r"\bweight must .*output channels.*input channels.*\(\)"),
    ("weight", np.ones(6, F), ValueError, r"\bweight must .*\(6,\)"),
    ("weight", np.ones((4, 6, 3), F), ValueError, r"\bweight must .*length 1.*\(4, 6, 3\)"),
    ("weight", np.ones((4, 6, 1, 2), F), ValueError, r"\bweight must .*length 1.*\(4, 6, 1, 2\)"),
    ("weight", np.ones((4, 6, 0), F), ValueError, r"\bweight must .*length 1.*\(4, 6, 0\)"),
    ("weight", np.ones((4, 6), complex), TypeError, r"\bweight must .*float32.*got complex128"),
    ("weight", np.ones((4, 6), object), TypeError, r"\bweight must .*float32.*got object"),
    ("weight", np.ones((4, 6), "U1"), TypeError, r"\bweight must .*float32.*got <U1"),
    ("weight", np.ones((4, 6), "M8[s]"), TypeError, r"\bweight must .*float32.*got datetime64"),
    ("weight", np.zeros((4, 6), [("a", "f4")]), TypeError, r"\bweight must .*float32.*got .*'a'"),
    ("weight", None, TypeError, r"\bweight must .*float32.*got object"),
    ("weight", "weight", TypeError, r"\bweight must .*float32.*got <U6"),
    ("weight", np.ma.ones((4, 6), F), TypeError, r"\bweight must .*MaskedArray.*weight\.filled"),
    ("weight", swapped(w0), TypeError, r"\bweight must .*native byte order.*>f4.*weight\.astype"),
    ("weight", [[1.0, 2.0], [3.0]], ValueError, r"\bweight\b"),
    ("bias", np.ones(3, F), ValueError, r"\bbias must .*\(4,\).*\(3,\)"),
    ("bias", np.ones(5, F), ValueError, r"\bbias must .*\(4,\).*\(5,\)"),
    ("bias", np.ones((4, 1), F), ValueError, r"\bbias must .*output channels.*\(4, 1\)"),
    ("bias", 1.0, ValueError, r"\bbias must .*output channels.*\(\)"),
    ("bias", np.ones(4, complex), TypeError, r"\bbias must .*float32.*got complex128"),
    ("bias", np.ma.ones(4, F), TypeError, r"\bbias must .*MaskedArray.*bias\.filled"),
    ("bias", swapped(b0), TypeError, r"\bbias must .*native byte order.*>f4.*bias\.astype"),
    ("bias", object(), TypeError, r"\bbias must .*float32.*got object"),
    ("bias", [[1.0, 2.0], [3.0]], ValueError, r"\bbias\b"),
    ("layout", "nchwl", ValueError, r'\blayout must be one of NCHW, NHWC,.* C, got "nchwl"'),
    ("layout", "NCHWX", ValueError, r'\blayout must be one of NCHW.*got "NCHWX"'),
    ("layout", "", ValueError, r'\blayout must be one of NCHW.*got ""'),
    ("layout", "HW", ValueError, r'\blayout must be one of NCHW.*got "HW"'),
    ("layout", "NCHW\0", ValueError, r"\blayout must be one of NCHW"),
    ("layout", "\udc80", ValueError, r"\blayout must"),
    ("layout", None, TypeError, r"\blayout must be a string, got NoneType"),
    ("layout", b"NCHW", TypeError, r"\blayout must be a string, got bytes"),
    ("stride", 0, ValueError, r"\bstride must be at least 1, got 0"),
    ("stride", -1, ValueError, r"\bstride must be at least 1, got -1"),
    ("stride", (1, 0), ValueError, r"\bstride must be at least 1, got \(1, 0\)"),
    ("stride", False, ValueError, r"\bstride must be at least 1, got"),
    ("stride", (1, 2, 3), ValueError, r"\bstride must be one integer, or one for each of the 2 .*NCHW.*\(1, 2, 3\)"),
    ("stride", (2,), ValueError, r"\bstride must be one integer, or one for each of the 2 .*NCHW.*\(2,\)"),
    ("stride", (), ValueError, r"\bstride must be one integer, or one for each of the 2 .*NCHW.*\(\)"),
    ("stride", MANY, ValueError, r"\bstride must .*int64"),
    ("stride", -MANY - 1, ValueError, r"\bstride must .*int64"),
    ("stride", (1, 10**30), ValueError, r"\bstride must .*int64"),
    ("stride", 1.0, TypeError, r"\bstride must be an integer, got float"),
    ("stride", "1", TypeError, r"\bstride must be an integer, got str"),
    ("stride", None, TypeError, r"\bstride must be an integer, got NoneType"),
    ("stride", (1, 1.5), TypeError, r"\bstride must be an integer, got float"),
    ("stride", np.ones(2), TypeError, r"\bstride must be an integer, got numpy.float64"),
    ("stride", {1, 2}, TypeError, r"\bstride must be an integer, got set"),
    ("padding", -1, ValueError, r"\bpadding must be at least 0, got -1"),
    ("padding", (0, -3), ValueError, r"\bpadding must be at least 0, got \(0, -3\)"),
    ("padding", [1], ValueError, r"\bpadding must be one integer, or one for each of the 2 .*NCHW.*\[1\]"),
    ("padding", MANY, ValueError, r"\bpadding must .*int64"),
    ("padding", 0.5, TypeError, r"\bpadding must be an integer, got float"),
    ("padding", "same", TypeError, r"\bpadding must be an integer, got str"),
    ("groups", 0, ValueError, r"\bgroups must be at least 1, got 0"),
    ("groups", -2, ValueError, r"\bgroups must be at least 1, got -2"),
    ("groups", 3, ValueError, r"\bgroups must divide the 4 output channels, got 3"),
    ("groups", MANY, ValueError, r"\bgroups must .*int64"),
    ("groups", 2.0, TypeError, r"\bgroups must be an integer, got float"),
    ("groups", (1,), TypeError, r"\bgroups must be an integer, got tuple"),
    ("groups", None, TypeError, r"\bgroups must be an integer, got NoneType"),
    ("activation", "rule", ValueError, r"\bactivation must be .*relu, relu6, clip.*mish.*got 'rule'"),
    ("activation", "", ValueError, r"\bactivation must be .*relu.*got ''"),
    ("activation", ("rule", 1), ValueError, r"\bactivation must be .*relu.*got \('rule', 1\)"),
    *(
        ("activation", (name, 1), ValueError, rf"\bactivation '{name}' takes no parameters, got \('{name}', 1\)")
        for name in WITHOUT
    ),
    *(("activation", (name, 1, 2), ValueError, rf"\bactivation '{name}' takes a") for name in WITH_ONE),
    *(("activation", (name, "1"), TypeError, rf"\bactivation '{name}' takes real numbers") for name in WITH_ONE),
    *(("activation", (name, NAN), ValueError, rf"\bactivation {name}'s .*finite.*got nan") for name in WITH_ONE),
    *(("activation", (name, 1e300), ValueError, rf"\bactivation {name}'s .*finite.*got 1e\+300") for name in WITH_ONE),
    (
        "activation",
        "clip",
        ValueError,
        r"\bactivation 'clip' takes bounds lo and hi, as in \('clip', 0, 6\), got 'clip'",
    ),
    ("activation", ("clip", 1), ValueError, r"\bactivation 'clip' takes bounds lo and hi.*got \('clip', 1\)"),
    ("activation", ("clip", 1, 2, 3), ValueError, r"\bactivation 'clip' takes bounds lo and hi"),
    ("activation", ("clip", 1, 0), ValueError, r"\bactivation clip must have bounds lo <= hi.*got 1 and 0"),
    ("activation", ("clip", NAN, 1), ValueError, r"\bactivation clip must have bounds.*no NaN, got nan and 1"),
    ("activation", ("clip", 0, NAN), ValueError, r"\bactivation clip must have bounds.*no NaN, got 0 and nan"),
    ("activation", ("clip", 0, 1j), TypeError, r"\bactivation 'clip' takes real numbers"),
    ("activation", ("clip", 0, 10**400), ValueError, r"\bactivation 'clip' takes numbers within .*float64"),
    ("activation", 1, TypeError, r"\bactivation must be None, a name, or a tuple.*got 1"),
    ("activation", (), TypeError, r"\bactivation must be None, a name, or a tuple.*got \(\)"),
    ("activation", (1, "relu"), TypeError, r"\bactivation must be None, a name, or a tuple.*got \(1, 'relu'\)"),
    ("activation", Bad(), TypeError, r"\bactivation must be None, a name, or a tuple.*got Bad!"),
]

OF_X = [
    ("x", np.ones((6, 2, 3), F), ValueError, r"\bx must .*4 axes of layout NCHW.*\(6, 2, 3\)"),
    ("x", np.ones((), F), ValueError, r"\bx must .*4 axes of layout NCHW.*\(\)"),
    ("x", np.ones((1,) * 12, F), ValueError, r"\bx must .*4 axes of layout NCHW.*\(1, 1, 1"),
    ("x", np.ones((1, 5, 2, 3), F), ValueError, r"\bx must .*6 channels.*axis 1 of NCHW.*\(1, 5, 2, 3\)"),
    ("x", np.ones((1, 6, 2, 3), int), TypeError, r"\bx must be float32, float64, .* bits, got int64"),
    ("x", np.ones((1, 6, 2, 3), bool), TypeError, r"\bx must be float32, float64, .* bits, got bool"),
    ("x", np.ones((1, 6, 2, 3), np.uint32), TypeError, r"\bx must be float32, float64, .* bits, got uint32"),
    ("x", np.ones((1, 6, 2, 3), complex), TypeError, r"\bx must be float32, float64, .* bits, got complex128"),
    ("x", np.ones((1, 6, 2, 3), np.complex64), TypeError, r"\bx must be float32, float64, .* bits, got complex64"),
    ("x", np.ones((1, 6, 2, 3), object), TypeError, r"\bx must be float32, float64, .* bits, got object"),
    ("x", np.ones((1, 6, 2, 3), "m8[s]"), TypeError, r"\bx must be float32, float64, .* bits, got timedelta64"),
    ("x", [[[[1, 2]]]], TypeError, r"\bx must be float32, float64, .* bits, got int64"),
    ("x", None, TypeError, r"\bx must be float32, float64, .* bits, got object"),
    ("x", "x", TypeError, r"\bx must be float32, float64, .* bits, got <U1"),
    ("x", b"x", TypeError, r"\bx must be float32, float64, .* bits, got \|S1"),
    ("x", {}, TypeError, r"\bx must be float32, float64, .* bits, got object"),
    ("x", [[1.0], [2.0, 3.0]], ValueError, r"\bx\b"),
    ("x", np.ma.ones((1, 6, 2, 3), F), TypeError, r"\bx must .*MaskedArray.*x\.filled"),
    ("x", np.ma.masked_equal(x0, 0), TypeError, r"\bx must .*MaskedArray.*x\.filled"),
    ("x", np.ma.masked, TypeError, r"\bx must .*MaskedArray.*x\.filled"),
    ("x", swapped(x0), TypeError, r"\bx must .*native byte order.*>f4.*x\.astype"),
    ("x", swapped(x0.astype("f8")), TypeError, r"\bx must .*native byte order.*>f8.*x\.astype"),
]
if np.dtype(np.longdouble) != np.float64:
    OF_X.append(
        ("x", x0.astype(np.longdouble), TypeError, r"\bx must be float32, float64, .* bits, got (float|longdouble)")
    )

OF_THE_CALL = [
    (
        "residual",
        np.ones((1, 4, 3, 2), F),
        ValueError,
        r"\bresidual must have shape \(1, 4, 2, 3\), got \(1, 4, 3, 2\)",
    ),
    ("residual", np.ones((4, 2, 3), F), ValueError, r"\bresidual must .*4 axes of layout NCHW.*\(4, 2, 3\)"),
    ("residual", np.ones((1, 4, 2, 3)), TypeError, r"\bresidual must have dtype float32, got float64"),
    ("residual", np.ones((1, 4, 2, 3), int), TypeError, r"\bresidual must have dtype float32, got int64"),
    ("residual", swapped(np.ones((1, 4, 2, 3), F)), TypeError, r"\bresidual must .*native byte order.*>f4"),
    ("residual", np.ma.ones((1, 4, 2, 3), F), TypeError, r"\bresidual must .*MaskedArray"),
    ("residual", 1.0, (TypeError, ValueError), r"\bresidual must .*"),
    ("residual", "residual", TypeError, r"\bresidual must .*"),
    ("out", np.ones((1, 4, 3, 2), F), ValueError, r"\bout must have shape \(1, 4, 2, 3\), got \(1, 4, 3, 2\)"),
    ("out", np.ones((1, 5, 2, 3), F), ValueError, r"\bout must have shape \(1, 4, 2, 3\), got \(1, 5, 2, 3\)"),
    ("out", np.ones((1, 4, 2, 3, 1), F), ValueError, r"\bout must .*4 axes of layout NCHW.*\(1, 4, 2, 3, 1\)"),
    ("out", np.ones((1, 4, 2, 3)), TypeError, r"\bout must have dtype float32, float16 or bfloat16, got float64"),
    (
        "out",
        np.ones((1, 4, 2, 3), np.int32),
        TypeError,
        r"\bout must have dtype float32, float16 or bfloat16, got int32",
    ),
    ("out", swapped(np.ones((1, 4, 2, 3), F)), TypeError, r"\bout must .*native byte order.*>f4"),
    ("out", np.ma.ones((1, 4, 2, 3), F), TypeError, r"\bout must .*MaskedArray"),
    ("out", [[0.0]], TypeError, r"\bout must be a NumPy array, got list"),
    ("out", memoryview(np.ones((1, 4, 2, 3), F)), TypeError, r"\bout must be a NumPy array, got memoryview"),
    ("out", (np.ones((1, 4, 2, 3), F),), TypeError, r"\bout must be a NumPy array, got tuple"),
    ("out", np.broadcast_to(F(1), (1, 4, 2, 3)), ValueError, r"\bout must be writ.*read-only"),
]


def named(cases):
    return [pytest.param(*case, id=f"{case[0]}-{i}") for i, case in enumerate(cases)]


def bytes_of(thing):
    plain = type(thing) is np.ndarray and not thing.dtype.hasobject
    return thing.tobytes() if plain else None


def untouched():
    out = np.empty((1, 4, 2, 3), F)
    out.view(np.uint8)[...] = 0xA5
    return out


@pytest.mark.any_cpu
@pytest.mark.parametrize(("name", "value", "exception", "message"), named(OF_X + OF_THE_LAYER + OF_THE_CALL))
def test_conv(name, value, exception, message):
    out = untouched()
    arguments = {"x": x0, "weight": w0, "bias": b0, "out": out} | {name: value}
    value_before = bytes_of(value)
    with pytest.raises(exception, match=f"(?s){message}") as caught:
        pw.conv(**arguments)
    assert type(caught.value) in (exception if isinstance(exception, tuple) else (exception,))
    assert out.tobytes() == b"\xa5" * out.nbytes
    assert bytes_of(value) == value_before


@pytest.mark.any_cpu
@pytest.mark.parametrize(("name", "value", "exception", "message"), named(OF_THE_LAYER))
def test_making_a_layer(name, value, exception, message):
    with pytest.raises(exception, match=f"(?s){message}") as caught:
        pw.Conv(**({"weight": w0, "bias": b0, "dtype": "float32"} | {name: value}))
    assert type(caught.value) is exception


@pytest.mark.any_cpu
@pytest.mark.parametrize(("name", "value", "exception", "message"), named(OF_X + OF_THE_CALL))
def test_calling_a_layer(name, value, exception, message):
    layer, out = pw.Conv(w0, b0), untouched()
    with pytest.raises(exception, match=f"(?s){message}"):
        layer(**({"x": x0, "out": out} | {name: value}))
    assert out.tobytes() == b"\xa5" * out.nbytes


@pytest.mark.parametrize(
    ("arguments", "keywords", "message"),
    [
        ((), {}, "x"),
        ((x0, None, None, None), {}, "4"),
        ((x0,), {"x": x0}, "x"),
        ((x0,), {"weight": w0}, "weight"),
        ((), {"out": None}, "x"),
        ((x0, None), {"residual": None}, "residual"),
    ],
)
def test_the_signature_of_a_layers_call(arguments, keywords, message):
    with pytest.raises(TypeError, match=message):
        pw.Conv(w0)(*arguments, **keywords)


def test_dtypes_of_ml_dtypes():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    for call in (lambda x: pw.conv(x, w0), pw.Conv(w0)):
        with pytest.raises(TypeError, match=r"\bx must be float32, float64, .* bits, got float8_e5m2"):
            call(x0.astype(ml_dtypes.float8_e5m2))
    np.testing.assert_array_equal(pw.conv(x0, w0.astype(ml_dtypes.bfloat16)), pw.conv(x0, w0))
    with pytest.raises(
        TypeError, match=r"\bx must have the layer's dtype float32, got bfloat16: pass x\.astype\(numpy"
    ):
        pw.Conv(w0)(x0.astype(ml_dtypes.bfloat16))
    layer = pw.Conv(w0, dtype=ml_dtypes.bfloat16)
    with pytest.raises(
        TypeError, match=r"\bx must have the layer's dtype bfloat16, got .*x\.astype\(ml_dtypes\.bfloat16"
    ):
        layer(x0)
    with pytest.raises(TypeError, match=r"\bout must have dtype bfloat16, float32 or float16, got float64"):
        layer(x0.astype(ml_dtypes.bfloat16), out=np.ones((1, 4, 2, 3)))


def test_channels_that_groups_do_not_fit():
    with pytest.raises(ValueError, match=r"\bx must .*12 channels.*\(1, 6, 2, 3\)"):
        pw.conv(x0, w0, groups=2)
    with pytest.raises(ValueError, match=r"\bgroups must .*int64"):
        pw.conv(x0, w0[:0], groups=2**62)


def test_an_unknown_layout_is_said_before_what_its_axes_are():
    for window in ({"stride": (1, 2)}, {"padding": (1, 2, 3)}, {"stride": (1,)}, {"padding": ()}):
        for call in (
            lambda **how: pw.conv(x0, w0, layout="nchv", **how),
            lambda **how: pw.Conv(w0, layout="nchv", **how),
            lambda **how: pw.cost((1, 6, 2, 3), 4, layout="nchv", **how),
        ):
            with pytest.raises(ValueError, match=r'\blayout must be one of NCHW.*got "nchv"'):
                call(**window)
    with pytest.raises(ValueError, match=r'\blayout must be one of NCHW.*got "HW"'):
        pw.conv(x0, w0, layout="HW")


@pytest.mark.parametrize("dtype", ["int32", "bool", "complex64", "object", "U3"])
def test_the_dtype_of_a_layer(dtype):
    given = np.dtype(dtype)
    with pytest.raises(TypeError, match=rf"\bdtype\b.*{'<U3' if dtype == 'U3' else dtype}"):
        pw.Conv(w0, dtype=given)
    with pytest.raises(TypeError, match=rf"\bdtype\b.*{'<U3' if dtype == 'U3' else dtype}"):
        pw.cost((1, 6, 2, 3), 4, dtype=given)
    with pytest.raises(TypeError, match=rf"\bweight\b.*{'<U3' if dtype == 'U3' else dtype}"):
        pw.Conv(np.zeros((4, 6), given))


@pytest.mark.parametrize("dtype", ["nonsense", "f4,,", (1, 2, 3), 5, {"a": 1}, ">f4" if np.little_endian else "<f4"])
def test_a_dtype_that_is_none(dtype):
    with pytest.raises(TypeError, match=r"\bdtype\b"):
        pw.Conv(w0, dtype=dtype)
    with pytest.raises(TypeError, match=r"\bdtype\b"):
        pw.cost((1, 6, 2, 3), 4, dtype=dtype)


def test_x_must_have_the_dtype_of_the_layer():
    for of_layer, of_x in (("float32", "float64"), ("float64", "float32")):
        with pytest.raises(TypeError, match=rf"\bx must .*{of_layer}, got {of_x}"):
            pw.Conv(w0, dtype=of_layer)(x0.astype(of_x))


def test_a_result_beyond_any_memory():
    weight = np.ones((1, 1), F)
    for padding in (2**40, 2**61, 2**62 - 1, 2**62, 2**63 - 1):
        for x, layout in ((np.ones((1, 1, 1, 1), F), "NCHW"), (np.ones((0, 1, 3, 3), F), "NCHW")):
            with pytest.raises((ValueError, MemoryError)) as caught:
                pw.conv(x, weight, layout=layout, padding=padding)
            assert str(caught.value)
    with pytest.raises(ValueError, match=r"\bpadding must .*int64"):
        pw.conv(np.ones((1, 1, 1), F), weight, layout="NCW", padding=2**62)
    with pytest.raises(ValueError, match=r"\bpadding\b"):
        pw.conv(np.ones((1, 1, 1, 1), F), weight, padding=2**40)
    many = np.broadcast_to(F(1), (1, 2**50))
    with pytest.raises(MemoryError):
        pw.conv(many, weight, layout="CW")


def test_any_number_of_groups_without_a_channel(python):
    """A layer without channels takes no time, even with 2**40 groups."""
    script = """
import signal
signal.alarm(5)
import numpy as np, pointwise as pw
for shape in ((0, 0), (0, 3)):
    try:
        layer = pw.Conv(np.ones(shape, "f4"), np.ones(0, "f4"), groups=2**40)
        print(layer.weight.shape, layer.bias.shape)
        print(pw.conv(np.ones((1, 0, 2, 2), "f4"), np.ones((0, 0), "f4"), groups=2**40).shape)
    except ValueError as error:
        assert "groups" in str(error)
"""
    python(script)


def test_exceptions_of_the_arguments_themselves():
    class Angry:
        def __index__(self):
            raise KeyError("mine")

        def __array__(self, dtype=None, copy=None):
            raise KeyError("mine")

    for arguments in ({"x": Angry()}, {"weight": Angry()}, {"bias": Angry()}, {"stride": Angry()}, {"groups": Angry()}):
        with pytest.raises(KeyError, match="mine"):
            pw.conv(**({"x": x0, "weight": w0} | arguments))


def test_an_array_of_another_device():
    class Elsewhere:
        def __dlpack__(self, **_):
            raise BufferError("not on the CPU")

        def __dlpack_device__(self):
            return (2, 0)

    for name in ("x", "weight", "bias"):
        with pytest.raises(TypeError, match=rf"\b{name}\b.*CPU"):
            pw.conv(**({"x": x0, "weight": w0} | {name: Elsewhere()}))


def test_signatures():
    """Names, order and defaults of the parameters match the public contract."""
    expected = {
        "conv": "x, weight, bias=None, *, layout='NCHW', stride=1, padding=0, groups=1, activation=None, "
        "residual=None, out=None, input_scale=None, out_dtype=None",
        "Conv": "weight, bias=None, *, layout='NCHW', stride=1, padding=0, groups=1, activation=None, dtype=None, "
        "out_dtype=None, flush_subnormals=False, weight_dtype=None",
        "conv_backward": "grad, x, weight, *, y=None, v=None, activation=None, layout='NCHW', stride=1, padding=0, "
        "groups=1",
        "covariance": "x, *, axis=-1, layout=None, mean=None, ddof=1, dtype=None",
        "Covariance": "*, axis=-1, layout=None, dtype=None",
        "gram": "x, y=None, *, axis=-1, layout=None, dtype=None",
        "conv_grad_input": "grad, weight, x_shape, *, layout='NCHW', stride=1, padding=0, groups=1, out=None, "
        "accumulate=False",
        "conv_grad_weight": "grad, x, *, layout='NCHW', stride=1, padding=0, groups=1, out=None, accumulate=False",
        "conv_grad_bias": "grad, *, layout='NCHW', out=None, accumulate=False",
        "conv_integer": "x, weight, x_zero_point=0, weight_zero_point=0, *, layout='NCHW', stride=1, padding=0, "
        "groups=1, out=None",
        "qconv": "x, x_scale, x_zero_point, weight, weight_scale, weight_zero_point, y_scale, y_zero_point, bias=None, "
        "*, layout='NCHW', stride=1, padding=0, groups=1, activation=None, out=None",
        "QConv": "x_scale, x_zero_point, weight, weight_scale, weight_zero_point, y_scale, y_zero_point, bias=None, *, "
        "layout='NCHW', stride=1, padding=0, groups=1, activation=None",
        "quantize_weight": "weight, per_channel=True",
        "calibrate": "x, percentile=None, *, dtype='uint8'",
        "cost": "x_shape, c_out, *, layout='NCHW', stride=1, padding=0, groups=1, bias=False, dtype='float32', "
        "weight_dtype=None, out_dtype=None",
    }
    for name, text in expected.items():
        parameters = inspect.signature(getattr(pw, name)).parameters.values()
        plain = inspect.Signature([p.replace(annotation=inspect.Parameter.empty) for p in parameters])
        assert str(plain) == f"({text})"


def whole_numbers(window):
    """Return one integer, or one for each axis, as plain integers."""
    if isinstance(window, (tuple, list)) or getattr(window, "ndim", 0) == 1:
        return tuple(map(operator.index, window))
    return operator.index(window)


def check_junk(call, x, weight, bias=None, **keywords):
    out, residual = keywords.pop("out", None), keywords.pop("residual", None)
    before = bytes_of(out)
    try:
        kept = None if residual is None else np.array(residual)
        y = call(x, weight, bias, residual=residual, out=out, **keywords)
    except DOCUMENTED as error:
        documented(error)
        assert bytes_of(out) == before
        return
    activation = keywords.pop("activation", None)
    for name in {"stride", "padding"} & set(keywords):
        keywords[name] = whole_numbers(keywords[name])
    if "groups" in keywords:
        keywords["groups"] = operator.index(keywords["groups"])
    x = np.asarray(x)
    weight = np.asarray(weight).astype(x.dtype)
    weight = weight.reshape(weight.shape[:2])
    bias = None if bias is None else np.asarray(bias)
    value, bound = reference.exact(x, weight, bias, residual=kept, **keywords)
    assert (y.dtype, y.shape) == (x.dtype, value.shape)
    if activation not in (None, "relu"):  # the bound holds before other activations
        return
    with np.errstate(invalid="ignore"):
        special = ~np.isfinite(value)
    value, bound, y = (np.where(special, 0, a) for a in (value, bound, y))
    reference.assert_within_bound(y, value, bound, activation)


good = {
    "x": st.one_of(st.just(x0), st.just(np.ones((2, 6))), odd_arrays),
    "weight": st.one_of(st.just(w0), st.just(w0[:, :3]), odd_arrays),
}


@given(st.sampled_from(["x", "weight", "bias", "residual", "out"]), junk | odd_arrays, only(parameters))
def test_junk_for_an_array(name, value, keywords):
    check_junk(pw.conv, **({"x": x0, "weight": w0} | keywords | {name: value}))


@given(
    good["x"], good["weight"], st.none() | odd_arrays, only(parameters | {"out": odd_arrays, "residual": odd_arrays})
)
def test_junk_for_the_function(x, weight, bias, keywords):
    check_junk(pw.conv, x, weight, bias, **keywords)


@given(
    good["x"] | junk,
    good["weight"] | junk,
    st.none() | odd_arrays | junk,
    only(parameters | {"dtype": junk | dtypes}),
    st.none() | odd_arrays | junk,
)
def test_junk_for_a_layer(x, weight, bias, keywords, residual):
    def call(x, weight, bias, residual, out, **keywords):
        layer = pw.Conv(weight, bias, **keywords, dtype=dtype)
        return layer(x, residual, out)

    dtype = keywords.pop("dtype", None)
    check_junk(call, x, weight, bias, residual=residual, **keywords)


@given(
    st.lists(whole, max_size=6) | st.just((1, 6, 2, 3)) | junk,
    whole | junk,
    only({k: v for k, v in parameters.items() if k != "activation"} | {"bias": junk, "dtype": junk | dtypes}),
)
def test_junk_for_cost(x_shape, c_out, keywords):
    try:
        cost = pw.cost(x_shape, c_out, **keywords)
    except DOCUMENTED as error:
        documented(error)
        return
    assert cost.flops == 2 * cost.macs
    assert 0 <= cost.params < 2**63
    assert 0 <= cost.macs < 2**63
    assert 0 <= cost.bytes < 2**63
    assert len(cost.output_shape) == len(keywords.get("layout", "NCHW"))


@given(st.lists(whole, max_size=6) | st.just((1, 6, 2, 3)) | junk)
def test_junk_for_explain(x_shape):
    try:
        text = pw.Conv(w0).explain(x_shape)
    except DOCUMENTED as error:
        documented(error)
    else:
        assert "thread" in text


@given(st.sampled_from(["set_num_threads", "num_threads"]), junk)
def test_junk_for_threads(name, value):
    before = pw.get_num_threads()
    try:
        if name == "num_threads":
            with pw.num_threads(value):
                assert pw.get_num_threads() == operator.index(value)
        else:
            pw.set_num_threads(value)
            assert pw.get_num_threads() == operator.index(value)
            pw.set_num_threads(before)
    except (ValueError, TypeError) as error:
        message = str(error)
    else:
        message = "n must"
    assert "n must" in message
    assert pw.get_num_threads() == before


def test_advice_that_keeps_the_result():
    """Messages about `out` do not advise a copy, because the result would be written to the copy."""
    x, weight = np.ones((1, 1, 2, 2), F), np.ones((1, 1), F)
    with pytest.raises(TypeError, match=r"^out must have native byte order, got >f4: pass an array"):
        pw.conv(x, weight, out=np.ones((1, 1, 2, 2), ">f4"))
    with pytest.raises(TypeError, match=r"^out must be a plain array, got a MaskedArray: pass out\.data$"):
        pw.conv(x, weight, out=np.ma.ones((1, 1, 2, 2), F))
    built = "float32, float64, float16, bfloat16 or an integer of 8 or 16 bits"
    with pytest.raises(TypeError, match=rf"^x must be {built}, got int32: pass x\.astype\(numpy\.float32\)$"):
        pw.conv(np.ones((1, 1, 2, 2), np.int32), weight)


def test_cost_takes_no_array_for_bias():
    with pytest.raises(TypeError, match=r"^bias must be True or False, got ndarray"):
        pw.cost((1, 32, 10, 10), 16, bias=np.zeros(16))


def test_num_threads_refuses_before_the_block():
    with pytest.raises(ValueError, match="n must be from 1"):
        pw.num_threads(0)


def test_a_layer_of_float64_and_an_image():
    with pytest.raises(TypeError, match=r'got uint8: pass x.astype\(.*\), or create the layer with dtype="float32"$'):
        pw.Conv(np.eye(3), layout="HWC")(np.zeros((2, 2, 3), np.uint8))


def test_a_weight_of_keras():
    kernel = np.ones((1, 1, 3, 2), F)
    with pytest.raises(ValueError, match=r"got \(1, 1, 3, 2\); for a weight of Keras, pass weight\[0, 0\]\.T$"):
        pw.Conv(kernel)
    assert pw.Conv(kernel[0, 0].T).weight.shape == (2, 3)


@pytest.mark.parametrize(
    ("x_shape", "weight_shape", "layout", "groups", "end"),
    [
        ((1, 5, 2, 3), (4, 6), "NCHW", 1, r" for weight shape \(4, 6\)"),
        ((1, 5, 2, 3), (4, 6, 1, 1), "NCHW", 1, r" for weight shape \(4, 6\)"),
        ((1, 5, 2, 3), (4, 3), "NCHW", 2, r" for weight shape \(4, 3\) and groups 2"),
        ((1, 4, 2, 3), (4, 3), "NCHW", 2, r" for weight shape \(4, 3\) and groups 2"),
        ((1, 6, 2, 3), (4, 6), "NCHW", 2, r".* groups 2; .* all .*: pass groups=1, or a weight of shape \(4, 3\)"),
        ((6,), (4, 6, 1, 1), "C", 4, r" for weight shape \(4, 6\) and groups 4; .* all input channels: pass groups=1"),
        ((2, 3, 4), (4, 6), "HWC", 1, r".* transposed: pass weight\.swapaxes\(0, 1\)"),
        ((1, 4, 2, 3), (4, 6, 1, 1), "NCHW", 1, r".* transposed: pass weight\.swapaxes\(0, 1\)"),
        ((5, 6, 3), (3, 4), "HWC", 1, r".* an affine matrix: pass weight\[:, :3\] and bias=weight\[:, 3\]"),
        ((4,), (4, 5), "C", 1, r".* an affine matrix: pass weight\[:, :4\] and bias=weight\[:, 4\]"),
        ((5,), (5, 6), "C", 1, r".* transposed: pass weight\.swapaxes\(0, 1\)"),
        ((3, 5), (3, 3), "WC", 1, r' for weight shape \(3, 3\); pass layout="CW"'),
        ((4, 5), (3, 3), "WC", 1, r" for weight shape \(3, 3\)"),
    ],
)
def test_channels_that_do_not_fit_the_weight(x_shape, weight_shape, layout, groups, end):
    x, weight = np.ones(x_shape, F), np.ones(weight_shape, F)
    c_in = weight_shape[1] * groups
    got = str(x_shape).replace("(", r"\(").replace(")", r"\)")
    message = rf"^x must have {c_in} channels \(axis {layout.index('C')} of {layout}\), got shape {got}{end}$"
    for call in (
        lambda: pw.conv(x, weight, layout=layout, groups=groups),
        lambda: pw.Conv(weight, layout=layout, groups=groups)(x),
        lambda: pw.Chain([pw.Conv(weight, layout=layout, groups=groups)])(x),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_the_remedies_of_messages_work():
    weight = np.arange(24, dtype=F).reshape(4, 6, 1, 1)
    x = np.ones((1, 4, 2, 3), F)
    assert pw.conv(x, weight.swapaxes(0, 1)).shape == (1, 6, 2, 3)
    whole = np.arange(24, dtype=F).reshape(4, 6)
    np.testing.assert_array_equal(pw.conv(np.ones(6, F), whole, layout="C", groups=1), whole.sum(axis=1))
    assert pw.conv(np.ones(6, F), whole[:, :3], layout="C", groups=2).shape == (4,)
    affine, pixel = np.arange(12, dtype=F).reshape(3, 4), np.array([1, 2, 3], F)
    expected = affine @ np.append(pixel, F(1))
    np.testing.assert_array_equal(pw.conv(pixel, affine[:, :3], bias=affine[:, 3], layout="C"), expected)


def test_a_bias_that_fits_only_a_transposed_weight():
    message = r"^bias must have shape \(4,\), got \(6,\) for weight shape \(4, 6\); .* transposed: pass weight\."
    with pytest.raises(ValueError, match=message):
        pw.conv(x0, w0, np.ones(6, F))
    with pytest.raises(ValueError, match=r"^bias must have shape \(4,\), got \(5,\) for weight shape \(4, 6\)$"):
        pw.Conv(w0, np.ones(5, F))


@pytest.mark.parametrize(
    ("shape", "layout", "remedy"),
    [
        ((480, 640, 3), "NCHW", "HWC"),
        ((3, 480, 640), "NCHW", "CHW"),
        ((2, 480, 640, 3), "NCHW", "NHWC"),
        ((2, 3, 480, 640), "NHWC", "NCHW"),
        ((100, 3), "NCHW", "NC"),
        ((3, 100), "NC", "CW"),
        ((2, 3, 100), "NHWC", "NCW"),
        ((480, 640, 3), "CHW", "HWC"),
        ((2, 480, 640, 4), "NCHW", None),
        ((5,), "NCHW", None),
    ],
)
def test_another_layout_is_named(shape, layout, remedy):
    """If x fits another layout, the message names it, and the call with this layout works."""
    x, weight = np.ones(shape, np.float32), np.ones((7, 3), np.float32)
    with pytest.raises(ValueError, match=r"\bx must have") as caught:
        pw.conv(x, weight, layout=layout)
    if remedy is None:
        assert "pass layout" not in str(caught.value)
    else:
        assert str(caught.value).endswith(f'; pass layout="{remedy}"')
        assert pw.conv(x, weight, layout=remedy).size == x.size // 3 * 7


@pytest.mark.parametrize(
    ("given", "layout"), [("nhwc", "NHWC"), ("NLC", "NWC"), ("ncl", "NCW"), ("Hwc", "HWC"), ("CL", "CW"), ("c", "C")]
)
def test_other_spellings_of_layouts(given, layout):
    assert pw.Conv(np.ones((2, 3), np.float32), layout=given).layout == layout


@pytest.mark.parametrize("weight", [[[1.0, 2.0]], np.array([[1.0, 2.0]])])
def test_the_remedy_for_a_layer_of_another_dtype(weight):
    layer = pw.Conv(weight, layout="C")
    with pytest.raises(TypeError, match=r'got float32: pass x\.astype\(numpy\.float64\), or .* dtype="float32"$'):
        layer(np.ones(2, np.float32))
    assert pw.Conv(weight, layout="C", dtype="float32")(np.ones(2, np.float32)) == 3


def test_the_remedies_for_lists_of_integers():
    x, weight = [1, 2], [[3, 4]]
    with pytest.raises(TypeError, match=r"^weight must .*, got int64: pass numpy\.asarray\(weight, numpy\.float32\)$"):
        pw.Conv(weight, layout="C")
    with pytest.raises(TypeError, match=r"^x must .*, got int64: pass numpy\.asarray\(x, numpy\.float32\)$"):
        pw.conv(x, weight, layout="C")
    layer = pw.Conv(np.asarray(weight, np.float32), layout="C")
    with pytest.raises(TypeError, match=r"^x must .*, got int64: pass numpy\.asarray\(x, numpy\.float32\)$"):
        layer(x)
    assert layer(np.asarray(x, np.float32)).tolist() == [11]
    assert pw.conv(np.asarray(x, np.float32), weight, layout="C").tolist() == [11]


@pytest.mark.parametrize(
    ("alias", "name"),
    [("swish", "silu"), ("hard_swish", "hardswish"), ("hard_sigmoid", "hardsigmoid"), ("linear", None)],
)
def test_aliases_of_activations(alias, name):
    x, weight = np.linspace(-4, 4, 9, dtype=np.float32)[:, np.newaxis], np.ones((1, 1), np.float32)
    layer = pw.Conv(weight, layout="NC", activation=alias)
    assert layer.activation == name
    np.testing.assert_array_equal(layer(x), pw.conv(x, weight, layout="NC", activation=name))
    assert pw.Conv(weight, activation=(alias,)).activation == name
    with pytest.raises(ValueError, match=r"takes no parameters|must be None or one of"):
        pw.Conv(weight, activation=(alias, 1))
