"""Test layers with one input channel and one output channel in each group: a scale for each channel."""

import numpy as np
import pointwise as pw
import pytest
import reference
import views

SIZES = {"N": 2, "C": 37, "D": 2, "H": 5, "W": 33}

pytestmark = pytest.mark.kernels


def shape_of(layout, channels):
    return tuple(channels if axis == "C" else SIZES[axis] for axis in layout)


@pytest.mark.parametrize("channels", [2, 3, 16, 37, 128, 300])
@pytest.mark.parametrize("layout", reference.LAYOUTS)
def test_every_layout(layout, channels, dtype, integers):
    x = integers(shape_of(layout, channels), dtype)
    weight, bias = integers((channels, 1), dtype), integers(channels, dtype)
    for how in ({}, {"stride": 2}, {"padding": 1}):
        expected = reference.exact_value(x, weight, bias, layout=layout, groups=channels, **how).astype(dtype)
        layer = pw.Conv(weight, bias, layout=layout, groups=channels, **how)
        np.testing.assert_array_equal(layer(x), expected)
        borrowed = pw.conv(x, weight[::-1][::-1], bias, layout=layout, groups=channels, activation="relu", **how)
        np.testing.assert_array_equal(borrowed, np.maximum(expected, 0))


@pytest.mark.parametrize("way", views.WAYS)
@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
def test_every_view(layout, way, dtype, integers):
    """Every view of x and of the result is right, with a residual in place and an activation."""
    shape = shape_of(layout, 37)
    x, weight, start = integers(shape, dtype), integers((37, 1), dtype), integers(shape, dtype)
    expected = reference.exact_value(x, weight, layout=layout, groups=37).astype(dtype) + start
    out, base = views.empty(way, shape, dtype)
    out[...] = start
    how = {"layout": layout, "groups": 37, "activation": ("leaky_relu", 0.5)}
    pw.conv(views.put(way, x), weight, residual=out, out=out, **how)
    views.assert_wrote_only(way, base, np.where(expected < 0, expected / 2, expected))


def test_integers_and_scales_take_another_way(integers):
    """Types that are converted, and x that is scaled, give the same result."""
    x, weight, scale = integers((2, 5, 6, 40)), integers((40, 1)), integers((2, 40))
    layer = pw.Conv(weight, layout="NHWC", groups=40)
    np.testing.assert_array_equal(layer(x.astype(np.int8)), layer(x))
    np.testing.assert_array_equal(layer(x, input_scale=scale), layer(x * scale[:, None, None]))


def test_threads_change_no_bit(rng):
    x, weight = rng.standard_normal((200, 200, 96), np.float32), rng.standard_normal((96, 1), np.float32)
    layer = pw.Conv(weight, layout="HWC", groups=96)
    with pw.num_threads(1):
        alone = layer(x)
    np.testing.assert_array_equal(alone, x * weight[:, 0])
    with pw.num_threads(3):
        np.testing.assert_array_equal(layer(x), alone)
