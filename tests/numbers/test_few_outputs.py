"""Test layers with few output channels, for which there are special kernels (quads and long rows)."""

import numpy as np
import pointwise as pw
import pytest
import reference
import views

INPUTS = (1, 2, 3, 4, 5, 8, 31, 257, 520)
PIXELS = ((1, 1), (1, 5), (1, 15), (1, 17), (4, 8), (3, 111), (30, 77))

pytestmark = pytest.mark.kernels


def shape_of(layout, channels, pixels):
    return (*pixels, channels) if layout == "HWC" else (channels, *pixels)


@pytest.mark.parametrize("outputs", [1, 2, 3, 4, 5, 8, 9, 16])
@pytest.mark.parametrize("layout", ["HWC", "CHW"])
def test_every_number_of_outputs(layout, outputs, dtype, integers):
    for inputs in INPUTS:
        weight, bias = integers((outputs, inputs), dtype), integers(outputs, dtype)
        layer = pw.Conv(weight, bias, layout=layout, activation="relu")
        for pixels in PIXELS:
            x = integers(shape_of(layout, inputs, pixels), dtype)
            expected = reference.exact_value(x, weight, bias, layout=layout).astype(dtype)
            np.testing.assert_array_equal(layer(x), np.maximum(expected, 0), err_msg=f"{inputs} inputs, {pixels}")


@pytest.mark.parametrize("way", views.WAYS)
@pytest.mark.parametrize("outputs", [1, 3])
@pytest.mark.parametrize("layout", ["HWC", "CHW"])
def test_results_in_every_view(layout, outputs, way, dtype, integers):
    """Results are right in every view, with a residual in place and an activation, and nothing else is written."""
    weight, bias = integers((outputs, 37), dtype), integers(outputs, dtype)
    x = integers(shape_of(layout, 37, (6, 70)), dtype)
    start = integers(shape_of(layout, outputs, (6, 70)), dtype)
    expected = reference.exact_value(x, weight, bias, layout=layout).astype(dtype) + start
    out, base = views.empty(way, start.shape, dtype)
    out[...] = start
    result = pw.conv(x, weight, bias, layout=layout, activation=("leaky_relu", 0.5), residual=out, out=out)
    assert result is out
    views.assert_wrote_only(way, base, np.where(expected < 0, expected / 2, expected))


@pytest.mark.parametrize("layout", ["HWC", "CHW"])
def test_images_of_several_strips(layout, dtype, integers):
    for inputs in (3, 30, 300):
        x, weight = integers(shape_of(layout, inputs, (90, 101)), dtype), integers((16, inputs), dtype)
        expected = reference.exact_value(x, weight, layout=layout).astype(dtype)
        for outputs in (3, 16):
            y = pw.Conv(weight[:outputs], layout=layout)(x)
            np.testing.assert_array_equal(y, expected[..., :outputs] if layout == "HWC" else expected[:outputs])
