"""Test the arguments of quantized convolutions: accepted forms, and messages for wrong ones."""

import re

import numpy as np
import pointwise as pw
import pytest

X, WEIGHT = np.ones((1, 6, 2, 3), np.uint8), np.ones((4, 6), np.int8)
GIVEN = {
    "x_scale": 0.5,
    "x_zero_point": np.uint8(1),
    "weight": WEIGHT,
    "weight_scale": 0.25,
    "weight_zero_point": 0,
    "y_scale": 2.0,
    "y_zero_point": np.uint8(3),
    "bias": None,
}


def test_accepted_forms():
    """Scalars may be arrays of one number, weights may have OIHW axes, and bias may be any integers in range."""
    y = pw.qconv(X, **GIVEN)
    assert y.dtype == np.uint8
    forms = {
        "x_scale": [np.float32(0.5), np.array(0.5), np.array([0.5]), [0.5]],
        "x_zero_point": [1, np.array(1, np.uint8), np.array([1], np.uint8)],
        "weight": [WEIGHT.reshape(4, 6, 1, 1), np.asfortranarray(WEIGHT)],
        "weight_scale": [np.full(4, 0.25, np.float32), [0.25] * 4, np.array([0.25])],
        "weight_zero_point": [np.int8(0), [0] * 4, np.zeros(4, np.int8)],
        "y_zero_point": [np.array(3, np.uint8), np.array([3], np.uint8)],
        "bias": [[0] * 4, np.zeros(4, np.int64), np.zeros(4, np.int32)],
    }
    for name, values in forms.items():
        for value in values:
            np.testing.assert_array_equal(pw.qconv(X, **(GIVEN | {name: value})), y)


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("x_scale", 0, ValueError, "x_scale must be positive and finite in float32, got 0"),
        ("x_scale", np.nan, ValueError, "x_scale must be positive and finite in float32, got nan"),
        ("y_scale", -1.0, ValueError, "y_scale must be positive and finite in float32, got -1.0"),
        ("y_scale", [1, 2], ValueError, "y_scale must be one number, got shape (2,)"),
        ("weight_scale", [1, 2, 3], ValueError, "weight_scale must have one number, or one for each of the 4 output"),
        ("weight_scale", [1, 1, 1, 1e-60], ValueError, "weight_scale must be positive and finite"),
        ("weight_scale", "1", TypeError, "weight_scale must be castable to float32"),
        ("weight_zero_point", 128, ValueError, "weight_zero_point must be within the range of int8, got 128"),
        ("weight_zero_point", np.uint8(1), TypeError, "weight_zero_point must have the dtype of its array, int8"),
        ("weight_zero_point", [1, 2], ValueError, "weight_zero_point must have one number, or one for each of the 4"),
        ("x_zero_point", np.int8(1), TypeError, "x_zero_point must have the dtype of its array, uint8, got np.int8(1)"),
        ("x_zero_point", 256, ValueError, "x_zero_point must be within the range of uint8, got 256"),
        ("x_zero_point", 1.0, TypeError, "x_zero_point must have the dtype of its array, uint8, got 1.0"),
        (
            "y_zero_point",
            3,
            TypeError,
            "y_zero_point must be uint8 or int8, which is the dtype of the array, got 3: pass",
        ),
        ("weight", WEIGHT.astype(float), TypeError, "weight must have dtype uint8 or int8, got float64: quantize it"),
        ("weight", WEIGHT[:, :5], ValueError, "x must have 5 channels (axis 1 of NCHW), got shape (1, 6, 2, 3)"),
        (
            "weight",
            WEIGHT.tolist(),
            TypeError,
            "weight must have dtype uint8 or int8, got int64: pass numpy.asarray(wei",
        ),
        ("bias", [1.5] * 4, TypeError, "bias must have dtype int32, got float64: pass numpy.rint(bias / (x_scale *"),
        ("bias", [2**31] * 4, ValueError, "bias must be within the range of int32"),
        ("bias", [1, 2, 3], ValueError, "bias must have shape (4,), got (3,)"),
        (
            "activation",
            "gelu",
            ValueError,
            "activation must be None, 'relu', 'relu6' or ('clip', low, high) in a quant",
        ),
        ("activation", ("clip", 2, 1), ValueError, "activation"),
        ("out", np.empty((1, 4, 2, 3), np.int8), TypeError, "out must have dtype uint8, got int8"),
        ("out", np.empty((1, 4, 2, 2), np.uint8), ValueError, "out must have shape (1, 4, 2, 3), got (1, 4, 2, 2)"),
    ],
)
def test_messages(name, value, error, message):
    with pytest.raises(error, match=re.escape(message).replace(r"np\.", r"(np\.)?")) as caught:
        pw.qconv(X, **(GIVEN | {name: value}))
    assert "%" not in str(caught.value)


def test_x_of_another_dtype():
    layer = pw.QConv(**GIVEN)
    with pytest.raises(TypeError, match="x must have dtype uint8, got int8"):
        layer(X.astype(np.int8))
    with pytest.raises(TypeError, match=r"x must have dtype uint8, got float32: quantize it, as QConv\.quantize"):
        layer(X.astype(np.float32))
    with pytest.raises(TypeError, match="x must have dtype uint8 or int8, got int32"):
        pw.conv_integer(X.astype(np.int32), WEIGHT)
    with pytest.raises(TypeError, match="x must be a plain array, got a MaskedArray"):
        layer(np.ma.array(X))
    with pytest.raises(TypeError, match=r"QConv.__call__|positional|argument"):
        layer()
    with pytest.raises(TypeError, match="x"):  # int32 has no floating-point convolution
        pw.conv(X.astype(np.int32), WEIGHT.astype(np.float32))
    with pytest.raises(TypeError, match="out"):
        pw.conv(X, WEIGHT.astype(np.float32), out=np.empty((1, 4, 2, 3), np.int32))


def test_out_must_not_overlap():
    memory = np.ones((2, 6, 4, 4), np.uint8)
    square = np.ones((6, 6), np.int8)
    given = GIVEN | {"weight": square}
    with pytest.raises(ValueError, match="out must share no element with x"):
        pw.qconv(memory, **given, out=memory)
    even, odd = memory[..., ::2], memory[..., 1::2]
    assert pw.qconv(even, **given, out=odd) is odd
    shared = np.zeros(36, np.uint8)
    given |= {"weight": shared.view(np.int8).reshape(6, 6)}
    before = shared.copy()
    with pytest.raises(ValueError, match="out must share no element with weight"):
        pw.qconv(np.ones((1, 6), np.uint8), **given, layout="NC", out=shared[:6].reshape(1, 6))
    np.testing.assert_array_equal(shared, before)
    with pytest.raises(ValueError, match="out must be writable"):
        pw.qconv(even, **given, out=np.broadcast_to(np.uint8(0), even.shape))


def test_a_failed_call_leaves_out():
    out = np.full((1, 4, 2, 3), 77, np.uint8)
    with pytest.raises(ValueError, match="x_scale"):
        pw.qconv(X, **(GIVEN | {"x_scale": np.inf}), out=out)
    assert (out == 77).all()


def test_from_float_refuses():
    weight = np.ones((4, 6), np.float32)
    x = X.astype(np.float32)
    for conv, error, message in [
        (weight, TypeError, "conv must be a Conv of dtype float32, got ndarray"),
        (pw.Conv(weight.astype(float)), TypeError, "conv must be a Conv of dtype float32, got Conv(6 -> 4, float64"),
        (pw.Conv(weight, out_dtype="uint8"), TypeError, "conv must have float32 results, got out_dtype uint8"),
        (pw.Conv(weight, activation="gelu"), ValueError, "activation must be None, 'relu'"),
        (pw.Conv(weight, np.full(4, 1e30, "f4")), ValueError, "conv must have a bias within the range of int32"),
    ]:
        with pytest.raises(error, match=re.escape(message)):
            pw.QConv.from_float(conv, x)
    with pytest.raises(ValueError, match="x must have at least one number"):
        pw.QConv.from_float(pw.Conv(weight), x[:0])
    with pytest.raises(ValueError, match=r"error needs a layer made by QConv.from_float"):
        pw.QConv(**GIVEN).error(x)


def test_subclasses_and_copies():
    import copy
    import pickle

    class Mine(pw.QConv):
        pass

    globals()["Mine"] = Mine
    Mine.__qualname__ = "Mine"
    layer = Mine(**GIVEN)
    layer.note = "kept"
    for same in (copy.copy(layer), copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert type(same) is Mine
        assert same.note == "kept"
        np.testing.assert_array_equal(same(X), layer(X))
    assert repr(layer) == "Mine(6 -> 4, uint8 -> uint8, layout='NCHW')"
