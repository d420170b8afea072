"""Test x of 8-bit and 16-bit integers with float32 weights. Results must be exact in every layout, view and call."""

import pickle

import numpy as np
import pointwise as pw
import pytest
import reference
import views

pytestmark = pytest.mark.kernels

DTYPES = ("uint8", "int8", "uint16", "int16")
F = np.float32


def extremes(rng, shape, dtype):
    """Return numbers from the whole range of the dtype, including both ends."""
    info = np.iinfo(dtype)
    numbers = rng.integers(info.min, info.max + 1, shape).astype(dtype)
    flat = numbers.reshape(-1)
    flat[:1], flat[-1:] = info.min, info.max
    return numbers


def weights(rng, c_out, c_in):
    return rng.integers(-3, 4, (c_out, c_in)).astype(F)


def shape_of(layout, n, c, size):
    spatial = dict(zip("DHW", size[-3:], strict=False)) if len(size) == 3 else dict(zip("HW", size, strict=True))
    return tuple({"N": n, "C": c}.get(axis, spatial.get(axis)) for axis in layout)


def to_integers(y, dtype):
    return y.clip(np.iinfo(dtype).min, np.iinfo(dtype).max).astype(dtype)


def expected(x, weight, bias, **how):
    """Return the exact result as float32."""
    return reference.exact_value(x.astype(F), weight, bias, **how).astype(F)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", reference.LAYOUTS)
def test_every_layout(layout, dtype, rng):
    """Results are exact in every layout, because float32 holds these sums: 40 * 3 * 65535 < 2**24."""
    for c_in, c_out, size in ((1, 1, (1, 1, 1)), (3, 5, (2, 3, 7)), (16, 33, (1, 7, 7)), (40, 24, (2, 6, 11))):
        x = extremes(rng, shape_of(layout, 2, c_in, size), dtype)
        weight, bias = weights(rng, c_out, c_in), rng.integers(-9, 10, c_out).astype(F)
        y = expected(x, weight, bias, layout=layout)
        layer = pw.Conv(weight, bias, layout=layout)
        for result in (layer(x), pw.conv(x, weight, bias, layout=layout)):
            assert result.dtype == F
            np.testing.assert_array_equal(result, y)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("c_out", [*range(1, 10), 17])
def test_every_remainder_of_few_outputs(c_out, dtype, rng):
    """Kernels for few outputs read 16 bytes of each pixel. Other channels, or nothing, may follow the last pixel."""
    for c_in in (1, 2, 3, 4, 7, 12, 15, 16, 17, 31, 33, 64, 255, 256, 257, 300):
        weight, bias = weights(rng, c_out, c_in), rng.integers(-9, 10, c_out).astype(F)
        layer = pw.Conv(weight, bias, layout="NWC")
        for pixels in (1, 7, 8, 9, 15, 16, 17, 40, 255, 300):
            x = extremes(rng, (1, pixels, c_in), dtype)
            padded = extremes(rng, (1, pixels, c_in + 5), dtype)
            padded[..., :c_in] = x
            y = expected(x, weight, bias, layout="NWC")
            np.testing.assert_array_equal(layer(x), y)
            np.testing.assert_array_equal(layer(padded[..., :c_in]), y)
            out = np.empty(y.shape, dtype)
            np.testing.assert_array_equal(layer(x, out=out), to_integers(y, dtype))
        any_weights = pw.Conv(rng.standard_normal((c_out, c_in), F), bias, layout="NWC")
        reference.assert_same_bits(any_weights(x), any_weights(x.astype(F)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("way", views.WAYS)
def test_every_view(way, dtype, rng):
    for layout in ("NCHW", "NHWC"):
        x = extremes(rng, shape_of(layout, 2, 20, (5, 9)), dtype)
        weight = weights(rng, 17, 20)
        y = expected(x, weight, None, layout=layout)
        np.testing.assert_array_equal(pw.Conv(weight, layout=layout)(views.put(way, x)), y)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_stride_padding_and_groups(layout, dtype, rng):
    for stride, padding, groups in ((2, 0, 1), (1, 2, 1), (3, 1, 2), ((2, 1), (0, 3), 4)):
        x = extremes(rng, shape_of(layout, 2, 8, (7, 10)), dtype)
        weight, bias = weights(rng, 12, 8 // groups), rng.integers(-9, 10, 12).astype(F)
        how = {"layout": layout, "stride": stride, "padding": padding, "groups": groups}
        y = expected(x, weight, bias, **how)
        np.testing.assert_array_equal(pw.Conv(weight, bias, **how)(x), y)
        np.testing.assert_array_equal(pw.conv(x, weight, bias, **how), y)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_what_follows_the_sum(layout, dtype, rng):
    """Residual, activation, out and input_scale are float32. The result has the same bits as for a float32 x."""
    x = extremes(rng, shape_of(layout, 2, 24, (6, 7)), dtype)
    weight = rng.standard_normal((40, 24), F)
    layer = pw.Conv(weight, rng.standard_normal(40, F), layout=layout, activation="gelu")
    scale = rng.random((2, 24), F)
    residual = rng.standard_normal(layer(x).shape, F)
    out = np.empty_like(residual)
    y = layer(x, residual, out, input_scale=scale)
    assert y is out
    np.testing.assert_array_equal(y, layer(x.astype(F), residual, input_scale=scale))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(layer))(x), layer(x.astype(F)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC", "NWC"])
def test_same_bits_as_float32(layout, dtype, rng):
    """Integer x gives the same bits as float32 x in long sums, in large images and on several threads."""
    for c_in, c_out, size in ((1600, 24, (1, 30)), (64, 64, (40, 41)), (7, 130, (1, 1))):
        size = size if "H" in layout else (1, size[0] * size[1])
        x = extremes(rng, tuple({"N": 1, "C": c_in, "H": size[0], "W": size[1]}[a] for a in layout), dtype)
        layer = pw.Conv(rng.standard_normal((c_out, c_in), F), layout=layout)
        for threads in (1, 3):
            with pw.num_threads(threads):
                np.testing.assert_array_equal(layer(x), layer(x.astype(F)))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_a_chain(layout, dtype, rng):
    """The first layer of a chain takes integers. The arrays between layers are float32."""
    x = extremes(rng, shape_of(layout, 2, 12, (30, 31)), dtype)
    chain = pw.Chain([pw.Conv(weights(rng, 40, 12), layout=layout), pw.Conv(weights(rng, 5, 40), layout=layout)])
    np.testing.assert_array_equal(chain(x), chain(x.astype(F)))


@pytest.mark.parametrize("dtype", DTYPES)
def test_empty(dtype):
    layer = pw.Conv(np.ones((3, 2), F), np.arange(3, dtype=F))
    assert layer(np.ones((0, 2, 4, 4), dtype)).shape == (0, 3, 4, 4)
    nothing = pw.conv(np.ones((1, 0, 2, 2), dtype), np.ones((3, 0), F), np.arange(3, dtype=F))
    np.testing.assert_array_equal(nothing, np.broadcast_to(np.arange(3, dtype=F)[:, None, None], (1, 3, 2, 2)))


@pytest.mark.parametrize("weight", [[[1, 2]], np.array([[1, 2]], np.int8), np.array([[1.0, 2.0]])])
def test_the_weight_of_conv_becomes_float32(weight):
    y = pw.conv(np.array([[[[3]], [[200]]]], np.uint8), weight)
    assert y.dtype == F
    assert y.item() == 403


class TestErrors:
    X = np.ones((1, 2, 3, 3), np.uint8)

    def test_a_float64_layer(self):
        layer = pw.Conv(np.ones((1, 2)))
        with pytest.raises(TypeError, match=r"^x must have the layer's dtype float64, got uint8: pass x\.astype"):
            layer(self.X)
        with pytest.raises(TypeError, match=r"^x must have the chain's dtype float64, got uint8: pass x\.astype"):
            pw.Chain([layer])(self.X)

    def test_the_residual_is_float32(self):
        layer = pw.Conv(np.ones((1, 2), F))
        with pytest.raises(TypeError, match=r"^residual must have dtype float32, got uint8$"):
            layer(self.X, residual=np.ones((1, 1, 3, 3), np.uint8))

    @pytest.mark.parametrize("dtype", ["int32", "uint32", "int64", "bool"])
    def test_integers_that_float32_does_not_hold(self, dtype):
        with pytest.raises(
            TypeError, match=r"^x must be float32, float64, float16, bfloat16 or an integer of 8 or 16 bits, got"
        ):
            pw.conv(self.X.astype(dtype), np.ones((1, 2), F))

    def test_weights_are_floating(self):
        with pytest.raises(TypeError, match=r"^weight must be float32, float64, float16 or bfloat16, got int8"):
            pw.Conv(np.ones((1, 2), np.int8))

    def test_byte_order(self):
        with pytest.raises(TypeError, match="native byte order"):
            pw.conv(np.ones((1, 2, 3, 3), ">u2"), np.ones((1, 2), F))
