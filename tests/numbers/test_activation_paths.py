"""Test that every way to compute a sum and its activation gives the same bits as the simplest way.

The simplest way has two calls. The first call computes the sums without an activation. The second call has no input
channels. It takes each sum as a bias, and applies the activation. test_activations.py compares the second call with the
definitions.
"""

import itertools

import definitions
import numpy as np
import pointwise as pw
import pytest
import reference
import views

each_activation = pytest.mark.parametrize("activation", definitions.ACTIVATIONS, ids=definitions.label)
# One activation of each kind. Most kernels apply relu to sums in registers, as a floor of 0. Separate functions apply
# other activations to sums in memory.
FEW = ["relu", "gelu", ("clip", -0.5, 0.5)]
few_activations = pytest.mark.parametrize("activation", FEW, ids=definitions.label)
SIZES = {"N": 2, "C": 6, "D": 2, "H": 3, "W": 9}


def apply(activation, v):
    flat = np.ascontiguousarray(v).reshape(-1)
    empty = np.zeros((flat.size, 0), v.dtype)
    return pw.conv(np.zeros(0, v.dtype), empty, flat, layout="C", activation=activation).reshape(v.shape)


def shape_of(layout, **sizes):
    return tuple((SIZES | sizes)[axis] for axis in layout)


def numbers(rng, shape, dtype):
    return rng.standard_normal(shape).astype(dtype)


def check(activation, x, weight, bias=None, residual=None, **how):
    """Check `conv` and `Conv` with results in a new array, in `out` and in `residual`. Return the result."""
    plain = pw.conv(x, weight, bias, residual=residual, **how)
    expected = apply(activation, plain)
    layer = pw.Conv(weight, bias, activation=activation, **how)
    reference.assert_same_bits(layer(x, residual), expected)
    reference.assert_same_bits(pw.conv(x, weight, bias, residual=residual, activation=activation, **how), expected)
    out = np.full_like(expected, np.nan)
    layer(x, residual, out)
    reference.assert_same_bits(out, expected)
    if residual is not None:
        out = residual.copy()
        assert layer(x, out, out) is out
        reference.assert_same_bits(out, expected)
    return expected


class TestEveryActivation:
    @each_activation
    @pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
    def test_sums_with_bias_and_residual(self, activation, layout, dtype, rng):
        x, weight = numbers(rng, shape_of(layout, C=5), dtype), numbers(rng, (35, 5), dtype)
        bias, residual = numbers(rng, 35, dtype), numbers(rng, shape_of(layout, C=35), dtype)
        for b, r in itertools.product((None, bias), (None, residual)):
            check(activation, x, weight, b, r, layout=layout)

    @each_activation
    def test_no_input_channels(self, activation, dtype, rng):
        bias, residual = numbers(rng, 19, dtype), numbers(rng, (2, 19, 3, 7), dtype)
        x, weight = np.zeros((2, 0, 3, 7), dtype), np.zeros((19, 0), dtype)
        y = check(activation, x, weight, bias, residual)
        reference.assert_same_bits(y, apply(activation, bias[:, None, None] + residual))
        y = check(activation, x, weight, bias)
        reference.assert_same_bits(y, np.broadcast_to(apply(activation, bias)[:, None, None], y.shape))
        y = check(activation, x, weight)
        reference.assert_same_bits(y, apply(activation, np.zeros(y.shape, dtype)))

    @each_activation
    def test_padding(self, activation, dtype, rng):
        """In the padding, the result is the activation of bias + residual, for any weights."""
        x, weight, bias = numbers(rng, (2, 5, 4, 6), dtype), numbers(rng, (19, 5), dtype), numbers(rng, 19, dtype)
        weight[3] = np.nan
        residual = numbers(rng, (2, 19, 8, 12), dtype)
        y = check(activation, x, weight, bias, residual, padding=(2, 3))
        around = apply(activation, bias[:, None, None] + residual)
        around[:, :, 2:6, 3:9] = y[:, :, 2:6, 3:9]
        reference.assert_same_bits(y, around)
        check(activation, x, weight, bias, padding=3, stride=2)


@few_activations
@pytest.mark.parametrize("layout", reference.LAYOUTS)
class TestEveryLayout:
    def test_strides_padding_and_groups(self, layout, activation, dtype, rng):
        for groups, how in itertools.product((1, 2), ({}, {"stride": 2, "padding": 1})):
            x, weight = numbers(rng, shape_of(layout), dtype), numbers(rng, (22, 6 // groups), dtype)
            y = pw.conv(x, weight, layout=layout, groups=groups, **how)
            residual = numbers(rng, y.shape, dtype)
            check(activation, x, weight, numbers(rng, 22, dtype), residual, layout=layout, groups=groups, **how)

    def test_views(self, layout, activation, rng):
        """x, residual and out may be views of every kind, and a call writes nothing outside `out`."""
        dtype = np.dtype(np.float32)
        x, weight, bias = numbers(rng, shape_of(layout), dtype), numbers(rng, (35, 6), dtype), numbers(rng, 35, dtype)
        residual = numbers(rng, shape_of(layout, C=35), dtype)
        layer = pw.Conv(weight, bias, layout=layout, activation=activation)
        plain, expected = (
            apply(activation, pw.conv(x, weight, bias, layout=layout, residual=add)) for add in (None, residual)
        )
        for way in views.WAYS:
            given, out, base = views.put(way, x), *views.empty(way, expected.shape, dtype)
            assert layer(given, None, out) is out
            views.assert_wrote_only(way, base, plain)
            assert layer(given, views.put(way, residual), out) is out
            views.assert_wrote_only(way, base, expected)
            out[...] = residual
            assert layer(given, out, out) is out
            views.assert_wrote_only(way, base, expected)


@pytest.mark.kernels
@few_activations
@pytest.mark.parametrize("layout", ["NCW", "NWC"])
class TestEveryTail:
    def test_pixels_and_channels(self, layout, activation, dtype, rng):
        """Results are right for all counts near the sizes of tiles, also if `out` is a slice of a larger array."""
        pixels, channels = [1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 29, 31, 33, 48, 49, 63, 65], [*range(1, 36), 48, 63, 65]
        x, weight, bias = numbers(rng, (1, 3, 65), dtype), numbers(rng, (65, 3), dtype), numbers(rng, 65, dtype)
        residual = numbers(rng, (1, 65, 65), dtype)
        full = apply(activation, pw.conv(x, weight, bias, layout="NCW", residual=residual))
        turn = (0, *(1 + "CW".index(axis) for axis in layout[1:]))
        for c_out in channels:
            layer = pw.Conv(weight[:c_out], bias[:c_out], layout=layout, activation=activation)
            for count in pixels:
                source = x[..., :count].transpose(turn)
                add, expected = (a[:, :c_out, :count].transpose(turn) for a in (residual, full))
                out = np.full((1, 66, 66), np.nan, dtype)
                part = out[:, : expected.shape[1], : expected.shape[2]]
                layer(source, add, part)
                assert part.tobytes() == expected.tobytes(), (c_out, count)
                part[...] = np.nan
                assert np.isnan(out).all(), f"wrote beside out: {(c_out, count)}"
                y = layer(np.ascontiguousarray(source), np.ascontiguousarray(add))
                assert y.tobytes() == expected.tobytes(), (c_out, count)

    @pytest.mark.parametrize(("c_in", "c_out", "pixels"), [(1537, 19, 33), (2051, 40, 5), (4100, 3, 1)])
    def test_sums_over_several_calls(self, layout, activation, c_in, c_out, pixels, dtype, rng):
        """A split sum is activated once, after its last block of input channels."""
        x = numbers(rng, tuple({"N": 2, "C": c_in, "W": pixels}[axis] for axis in layout), dtype)
        weight = numbers(rng, (c_out, c_in), dtype) / dtype.type(c_in**0.5)
        residual = numbers(rng, tuple({"N": 2, "C": c_out, "W": pixels}[axis] for axis in layout), dtype)
        check(activation, x, weight, numbers(rng, c_out, dtype), residual, layout=layout)
        check(activation, x, weight, layout=layout)

    @pytest.mark.parametrize("threads", [1, 2, 5])
    def test_threads(self, layout, activation, threads, dtype, rng):
        x = numbers(rng, tuple({"N": 3, "C": 33, "W": 700}[axis] for axis in layout), dtype)
        weight, bias = numbers(rng, (70, 33), dtype), numbers(rng, 70, dtype)
        residual = numbers(rng, tuple({"N": 3, "C": 70, "W": 700}[axis] for axis in layout), dtype)
        with pw.num_threads(1):
            expected = apply(activation, pw.conv(x, weight, bias, layout=layout, residual=residual))
        with pw.num_threads(threads):
            y = pw.Conv(weight, bias, layout=layout, activation=activation)(x, residual)
        reference.assert_same_bits(y, expected)


@pytest.mark.kernels
@few_activations
class TestEveryPath:
    @pytest.mark.parametrize(
        ("layout", "x_shape", "c_out"),
        [
            ("NCHW", (2, 37, 7, 7), 45),
            ("NHWC", (2, 7, 7, 37), 45),
            ("NHWC", (1, 5, 29, 24), 24),  # a half vector after a whole one: pairs of pixels
            ("NCHW", (1, 64, 14, 14), 130),  # whole vectors, and a remainder of the pixels
            ("NCHW", (1, 300, 3, 5), 33),
        ],
    )
    def test_every_alternative(self, layout, x_shape, c_out, activation, dtype, rng):
        """Each kernel gives the same bits with each way of packing, chosen or not."""
        x, c_in = numbers(rng, x_shape, dtype), x_shape[layout.index("C")]
        weight, bias = numbers(rng, (c_out, c_in), dtype), numbers(rng, c_out, dtype)
        residual = numbers(rng, [c_out if axis == "C" else n for axis, n in zip(layout, x_shape, strict=True)], dtype)
        expected = check(activation, x, weight, bias, layout=layout)
        check(activation, x, weight, bias, residual, layout=layout)
        alternatives = pw.Conv(weight, bias, layout=layout, activation=activation)._alternatives(x_shape)
        assert len(alternatives) > 3
        for words, _, run in alternatives:
            out = np.full_like(expected, np.nan)
            run(x, out)
            assert out.tobytes() == expected.tobytes(), words

    def test_the_transposing_store(self, activation, dtype, rng):
        """Results are right if x is in NHWC order and `out` in NCHW order, so that tiles are stored transposed."""
        for c_out, size in itertools.product((3, 16, 37), ((1, 1), (3, 5), (9, 13))):
            x = numbers(rng, (2, *size, 19), dtype).transpose(0, 3, 1, 2)
            residual = numbers(rng, (2, c_out, *size), dtype)
            check(activation, x, numbers(rng, (c_out, 19), dtype), numbers(rng, c_out, dtype), residual)

    def test_scattered_pixels_of_out(self, activation, dtype, rng):
        x, weight, bias = numbers(rng, (2, 9, 5, 7), dtype), numbers(rng, (21, 9), dtype), numbers(rng, 21, dtype)
        residual = numbers(rng, (2, 21, 5, 7), dtype)
        expected = check(activation, x, weight, bias, residual)
        for order in ((0, 1, 2, 3), (3, 2, 1, 0), (0, 2, 3, 1), (2, 0, 3, 1)):
            shape = tuple(expected.shape[axis] for axis in order)
            memory = np.full(tuple(3 * n for n in shape), np.nan, dtype)
            out = memory[::3, ::3, ::3, ::3].transpose(np.argsort(order))
            pw.conv(x, weight, bias, residual=residual, activation=activation, out=out)
            reference.assert_same_bits(out, expected)
            assert np.isnan(memory).sum() == memory.size - out.size

    @pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
    def test_results_past_the_caches(self, layout, activation, rng):
        """Non-temporal stores give the same bits. A result of 32 MiB is larger than half of L3 on most machines."""
        x = numbers(rng, (1, 2, 512, 512) if layout == "NCHW" else (1, 512, 512, 2), np.float32)
        layer = pw.Conv(
            numbers(rng, (32, 2), np.float32), numbers(rng, 32, np.float32), layout=layout, activation=activation
        )
        y = layer(x)
        for rows in (slice(0, 40), slice(200, 217), slice(480, 512)):
            part = (slice(None),) * layout.index("H") + (rows,)
            reference.assert_same_bits(y[part], layer(x[part]))
            plain = pw.conv(x[part], layer.weight, layer.bias, layout=layout)
            reference.assert_same_bits(y[part], apply(activation, plain))
