"""Test the operation with all shapes, strides, paddings, groups, biases, residuals and activations.

Axes of length 0 are included.
"""

import collections

import hypothesis.strategies as st
import numpy as np
import pointwise as pw
import pytest
import reference
import views
from hypothesis import example, given

pytestmark = pytest.mark.kernels


def check(x, weight, bias=None, *, activation=None, residual=None, out=None, **how):
    """Check that `conv` and `Conv` give exactly the result of the reference for small integers. Return the result."""
    value, _ = reference.exact(x, weight, bias, residual=residual, **how)
    expected = (reference.relu(value) if activation else value).astype(x.dtype)
    layer = pw.Conv(weight, bias, activation=activation, dtype=x.dtype, **how)
    for y in (
        pw.conv(x, weight, bias, activation=activation, residual=residual, **how),
        layer(x, residual),
    ):
        assert type(y) is np.ndarray
        assert y.flags.c_contiguous
        assert y.dtype == x.dtype
        assert y.shape == expected.shape
        np.testing.assert_array_equal(y, expected)
    return expected


SIZES = {"N": 2, "C": 6, "D": 2, "H": 3, "W": 9}


def shape_of(layout, **sizes):
    return tuple((SIZES | sizes)[axis] for axis in layout)


def out_shape(x_shape, c_out, **how):
    return pw.cost(x_shape, c_out, **how).output_shape


@pytest.mark.parametrize("layout", reference.LAYOUTS)
@pytest.mark.parametrize("activation", [None, "relu"])
@pytest.mark.parametrize("groups", [1, 2])
def test_every_layout(layout, activation, groups, dtype, integers):
    x, weight, bias = integers(shape_of(layout), dtype), integers((20, 6 // groups), dtype), integers(20, dtype)
    for window in ({}, {"stride": 2}, {"padding": 1}, {"stride": 3, "padding": 2}):
        how = {"layout": layout, "groups": groups, **window}
        shape = check(x, weight, **how).shape
        check(x, weight, bias, activation=activation, residual=integers(shape, dtype), **how)


@pytest.mark.parametrize(("layout", "spatial"), [(name, reference.spatial(name)) for name in reference.LAYOUTS])
def test_stride_and_padding_for_each_axis(layout, spatial, integers):
    x, weight, bias = integers(shape_of(layout)), integers((5, 6)), integers(5)
    stride, padding = tuple(range(2, 2 + len(spatial))), tuple(range(len(spatial)))[::-1]
    expected = check(x, weight, bias, layout=layout, stride=stride, padding=padding)
    for sequence in (list, np.array) if spatial else (list,):
        y = pw.conv(x, weight, bias, layout=layout, stride=sequence(stride), padding=sequence(padding))
        np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("layout", ["NC", "C"])
def test_one_stride_or_padding_means_nothing_without_spatial_axes(layout, integers):
    x, weight = integers(shape_of(layout)), integers((5, 6))
    y = pw.conv(x, weight, layout=layout, stride=3, padding=7)
    np.testing.assert_array_equal(y, pw.conv(x, weight, layout=layout))


def test_integers_are_what_operator_index_takes(integers):
    class Two:
        def __index__(self):
            return 2

    x, weight = integers((1, 6, 5, 5)), integers((4, 3))
    expected = check(x, weight, stride=2, padding=2, groups=2)
    for two in (Two(), np.int8(2), np.array(2), np.uint64(2)):
        np.testing.assert_array_equal(pw.conv(x, weight, stride=two, padding=two, groups=two), expected)
        np.testing.assert_array_equal(pw.Conv(weight, stride=(two, 2), padding=[2, two], groups=two)(x), expected)
    np.testing.assert_array_equal(pw.conv(x, integers((4, 6)), stride=True).shape, (1, 4, 5, 5))


@pytest.mark.parametrize("stride", [1, 2, 3, 7, 8, 2**62, 2**63 - 1, (1, 2**40), (2**63 - 1, 3)])
@pytest.mark.parametrize("padding", [0, 1, 2, 3, 9, (0, 5), (11, 1)])
@pytest.mark.parametrize("layout", ["NCHW", "HWC"])
def test_stride_and_padding_of_any_size(stride, padding, layout, integers):
    """Strides and paddings of any size work, even if no pixel of the image is read."""
    x, bias = integers(shape_of(layout, C=3, H=7, W=7)), integers(18)
    check(x, integers((18, 3)), bias, layout=layout, stride=stride, padding=padding, activation="relu")


def test_outside_the_image_is_bias_and_residual_whatever_the_weights(integers):
    weight = np.array([[np.inf, 1], [np.nan, 2], [-np.inf, 3]], np.float32)
    x, bias = np.ones((1, 2, 2, 2), np.float32), np.array([1, -2, 3], np.float32)
    residual = integers((1, 3, 6, 6))
    y = pw.conv(x, weight, bias, padding=2, residual=residual, activation="relu")
    expected = np.maximum(bias[:, None, None] + residual, 0)
    inside = np.zeros((6, 6), bool)
    inside[2:4, 2:4] = True
    np.testing.assert_array_equal(y[..., ~inside], expected[..., ~inside])
    np.testing.assert_array_equal(np.isnan(y[:, 1, inside]), True)
    np.testing.assert_array_equal(y[:, 0, inside], np.inf)
    np.testing.assert_array_equal(y[:, 2, inside], 0)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_stride_skips_pixels_that_are_not_numbers(layout, integers):
    x = integers(shape_of(layout, H=9, W=40))
    poisoned = np.full_like(x, np.nan)
    rows = (slice(None),) * layout.index("H") + (slice(1, None, 3), slice(1, None, 3))
    poisoned[rows] = x[rows]
    weight = integers((33, 6))
    y = pw.conv(poisoned, weight, layout=layout, stride=3, padding=2)
    np.testing.assert_array_equal(y, pw.conv(np.nan_to_num(poisoned), weight, layout=layout, stride=3, padding=2))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize(
    ("layout", "sizes", "c_out"),
    [
        ("NCHW", {"N": 0}, 5),
        ("NHWC", {"N": 0}, 5),
        ("NCHW", {"H": 0}, 5),
        ("NHWC", {"W": 0}, 5),
        ("CDHW", {"D": 0, "W": 0}, 5),
        ("NCHW", {"C": 0}, 5),
        ("NHWC", {"C": 0}, 40),
        ("C", {"C": 0}, 5),
        ("NC", {"N": 0, "C": 0}, 5),
        ("NCHW", {}, 0),
        ("NHWC", {}, 0),
        ("NWC", {"C": 0}, 0),
        ("NCHW", {"C": 0, "H": 0}, 5),
    ],
)
def test_zero_size_axes(layout, sizes, c_out, bias, residual, padding, dtype, integers):
    x = integers(shape_of(layout, **sizes), dtype)
    weight, b = integers((c_out, (SIZES | sizes)["C"]), dtype), integers(c_out, dtype) if bias else None
    for stride in (1, 2):
        how = {"layout": layout, "stride": stride, "padding": padding}
        r = integers(out_shape(x.shape, c_out, **how), dtype) if residual else None
        check(x, weight, b, residual=r, activation="relu", **how)
        y = np.full(out_shape(x.shape, c_out, **how), np.nan, dtype)
        assert pw.conv(x, weight, b, residual=r, out=y, **how) is y
        np.testing.assert_array_equal(y, pw.conv(x, weight, b, residual=r, **how))


def test_output_size_is_zero_only_without_any_pixel():
    weight = np.ones((1, 1), np.float32)
    for size, padding, stride, expected in [(0, 0, 1, 0), (0, 0, 5, 0), (0, 1, 1, 2), (0, 1, 2, 1), (1, 0, 9, 1)]:
        y = pw.conv(np.ones((1, 1, size), np.float32), weight, layout="NCW", stride=stride, padding=padding)
        assert y.shape == (1, 1, expected)


@pytest.mark.parametrize("groups", [1, 2, 3, 7])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize(("c_in", "c_out"), [(1, 1), (1, 3), (3, 1), (5, 17)])
def test_groups_see_their_own_channels_only(groups, layout, c_in, c_out, dtype, integers):
    x = integers(shape_of(layout, C=groups * c_in, H=5, W=7), dtype)
    weight, bias = integers((groups * c_out, c_in), dtype), integers(groups * c_out, dtype)
    expected = check(x, weight, bias, layout=layout, groups=groups)
    axis = layout.index("C")
    parts = [
        pw.conv(a, w, b, layout=layout)
        for a, w, b in zip(np.split(x, groups, axis), np.split(weight, groups), np.split(bias, groups), strict=True)
    ]
    np.testing.assert_array_equal(np.concatenate(parts, axis), expected)


def test_weight_of_one_channel_scales_each_channel_with_as_many_groups(integers):
    x, weight = integers((2, 37, 5, 5)), integers((37, 1))
    np.testing.assert_array_equal(pw.conv(x, weight, groups=37), x * weight[:, 0, None, None])


@pytest.mark.parametrize("ones", [(), (1,), (1, 1), (1, 1, 1), (1,) * 20])
def test_weight_may_have_further_axes_of_length_1(ones, integers):
    x, weight = integers((2, 6, 3, 3)), integers((4, 6))
    shaped = weight.reshape(weight.shape + ones)
    np.testing.assert_array_equal(pw.conv(x, shaped), check(x, weight))
    assert pw.Conv(shaped).weight.shape == (4, 6)


@pytest.mark.parametrize("way", views.WAYS)
def test_weight_and_bias_may_lie_in_any_way(way, dtype, integers):
    x, weight, bias = integers((2, 6, 3, 3), dtype), integers((35, 6), dtype), integers(35, dtype)
    expected = check(x, weight, bias)
    given_weight, given_bias = views.put(way, weight), views.put(way, bias)
    for array in (given_weight, given_bias):
        array.flags.writeable = False
    np.testing.assert_array_equal(pw.conv(x, given_weight, given_bias), expected)
    np.testing.assert_array_equal(pw.Conv(given_weight, given_bias)(x), expected)
    np.testing.assert_array_equal(pw.conv(x, np.broadcast_to(weight[:1], (35, 6))), check(x, weight[[0] * 35]))
    np.testing.assert_array_equal(pw.conv(x, np.broadcast_to(weight[:, :1], (35, 6))), check(x, weight[:, [0] * 6]))


def test_weight_and_bias_are_cast_to_the_dtype_of_x(integers):
    x32, x64 = integers((1, 6, 3, 3)), integers((1, 6, 3, 3), "float64")
    for kind in ("float64", "float32", "float16", "int64", "uint8", "int8", "bool", "longdouble"):
        weight, bias = np.abs(integers((4, 6), most=1)).astype(kind), np.abs(integers(4, most=1)).astype(kind)
        for x in (x32, x64):
            y = pw.conv(x, weight, bias)
            assert y.dtype == x.dtype
            np.testing.assert_array_equal(y, pw.conv(x, weight.astype(x.dtype), bias.astype(x.dtype)))
    third = np.full((1, 1), 1 / 3)
    assert pw.conv(np.ones((1, 1), np.float32), third, layout="NC")[0, 0] == np.float32(1 / 3)


@st.composite
def problems(draw):
    """Draw any small problem: shapes, keywords, dtype and views."""
    layout = draw(st.sampled_from(reference.LAYOUTS))
    axes = len(reference.spatial(layout))
    small = draw(st.booleans())
    size = st.integers(0, 5 if axes > 1 else 40) if small else st.integers(1, {0: 40, 1: 130, 2: 20, 3: 8}[axes])
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    per_group = draw(st.integers(0, 40))
    sizes = {"N": draw(st.integers(0, 3)), "C": groups * per_group, **{axis: draw(size) for axis in "DHW"}}
    x_shape = tuple(sizes[axis] for axis in layout)
    weight_shape = (groups * draw(st.integers(0, 40)), per_group)

    def window(least, most):
        one = st.integers(least, most)
        return draw(st.one_of(st.just(least), one, st.tuples(*[one] * axes)))

    how = {"layout": layout, "stride": window(1, 4), "padding": window(0, 3), "groups": groups}
    ways = st.sampled_from(list(views.WAYS))
    return {
        "x_shape": x_shape,
        "weight_shape": weight_shape,
        "how": how,
        "dtype": draw(st.sampled_from(["float32", "float64"])),
        "bias": draw(st.booleans()),
        "residual": draw(st.sampled_from([None, "apart", "in place"])),
        "activation": draw(st.sampled_from([None, "relu"])),
        "ways": [draw(ways) for _ in range(3)],
        "seed": draw(st.integers(0, 1000)),
    }


@given(problems())
@example(
    {
        "x_shape": (1, 3, 60, 70),
        "weight_shape": (70, 3),
        "how": {"layout": "NCHW", "stride": 1, "padding": 2, "groups": 1},
        "dtype": "float32",
        "bias": True,
        "residual": "in place",
        "activation": "relu",
        "ways": ["record", "misaligned", "negative"],
        "seed": 0,
    }
)
def test_anything_small(problem):
    rng = np.random.default_rng(problem["seed"])
    dtype, how = np.dtype(problem["dtype"]), problem["how"]

    def integers(shape):
        return rng.integers(-8, 9, shape).astype(dtype)

    x = views.put(problem["ways"][0], integers(problem["x_shape"]))
    weight = integers(problem["weight_shape"])
    bias = integers(len(weight)) if problem["bias"] else None
    shape = reference.exact_value(x, weight, **how).shape
    residual = views.put(problem["ways"][1], integers(shape)) if problem["residual"] else None
    expected = check(x, weight, bias, activation=problem["activation"], residual=residual, **how)

    out, base = views.empty(problem["ways"][2], shape, dtype)
    if problem["residual"] == "in place":
        out[...] = residual
        residual = out
    layer = pw.Conv(weight, bias, activation=problem["activation"], **how)
    assert layer(x, residual, out) is out
    views.assert_wrote_only(problem["ways"][2], base, expected)


def test_any_sequence_of_integers_will_do():
    x, weight = np.ones((1, 3, 4, 6), np.float32), np.ones((2, 3), np.float32)
    expected = pw.conv(x, weight, stride=(1, 2))
    for stride in (range(1, 3), [1, 2], np.array([1, 2]), collections.deque([1, 2]), (np.int8(1), np.int64(2))):
        assert np.array_equal(pw.conv(x, weight, stride=stride), expected)
    for stride in (np.int16(2), np.array(2), True):
        assert pw.conv(x, weight, stride=stride).shape == pw.conv(x, weight, stride=int(stride)).shape


def test_an_activation_without_parameters_may_be_a_tuple():
    x, weight = np.ones((1, 1, 1, 1), np.float32), -np.ones((1, 1), np.float32)
    assert pw.conv(x, weight, activation=("relu",)) == 0
