"""Test the promises about numbers: exact integers, error bound, bits of the canonical order, NaN and infinities."""

import math
import threading

import guarded
import hypothesis.strategies as st
import numpy as np
import pointwise as pw
import pytest
import reference
import views
from hypothesis import given

pytestmark = pytest.mark.kernels

# Counts around multiples of tile sizes. Tiles have up to 28 rows, vectors have 4 to 16 lanes, and panels have 8 or 16
# output channels.
PIXELS = [*range(1, 61), 95, 96, 97, 98, 111, 112, 113, 143, 144, 145]
CHANNELS = [*range(1, 36), 47, 48, 49, 50, 63, 64, 65, 66]
INPUT_CHANNELS = [0, 1, 2, 3, 15, 16, 17, 31, 64, 65, 129]
LAYOUTS = ["NCW", "NWC"]

canonical_only = pytest.mark.skipif(
    pw.isa() == "portable", reason="the portable kernels keep the bound, not the bits of the canonical order"
)


def shaped(layout, n, c, w):
    return tuple({"N": n, "C": c, "W": w}[axis] for axis in layout)


class TestExactIntegers:
    """Sums of small integers are exact in any order, at every edge of the kernels' tiles."""

    def sweep(self, layout, dtype, integers, pixels, channels, c_in, **how):
        x, weight, bias = integers((1, c_in, max(pixels)), dtype), integers((max(channels), c_in), dtype), None
        bias, residual = integers(max(channels), dtype), integers((1, max(channels), max(pixels)), dtype)
        full = reference.exact_value(x, weight, bias, layout="NCW", residual=residual)
        full = reference.relu(full).astype(dtype)
        to_layout = (0, *(1 + "CW".index(axis) for axis in layout[1:]))
        for c_out in channels:
            layer = pw.Conv(weight[:c_out], bias[:c_out], layout=layout, activation="relu")
            for count in pixels:
                out = np.full(shaped(layout, 1, c_out + 1, count + 1), np.nan, dtype)
                part = out[:, : shaped(layout, 1, c_out, count)[1], : shaped(layout, 1, c_out, count)[2]]
                expected = full[:, :c_out, :count].transpose(to_layout)
                y = layer(
                    np.ascontiguousarray(x[..., :count].transpose(to_layout)),
                    np.ascontiguousarray(residual[:, :c_out, :count].transpose(to_layout)),
                )
                assert np.array_equal(y, expected), (c_in, c_out, count)
                layer(x[..., :count].transpose(to_layout), residual[:, :c_out, :count].transpose(to_layout), part)
                assert np.array_equal(part, expected), (c_in, c_out, count)
                part[...] = np.nan
                assert np.isnan(out).all(), f"wrote beside out: {(c_in, c_out, count)}"

    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("c_in", [1, 17])
    def test_every_count_of_pixels_and_channels(self, layout, c_in, dtype, integers):
        self.sweep(layout, dtype, integers, PIXELS, CHANNELS, c_in)

    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("c_in", INPUT_CHANNELS)
    def test_every_count_of_input_channels(self, layout, c_in, dtype, integers):
        self.sweep(layout, dtype, integers, [1, 7, 15, 16, 29, 49, 96, 97], [1, 2, 15, 16, 17, 33, 65], c_in)

    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_many_input_channels(self, layout, dtype, integers):
        self.sweep(layout, dtype, integers, [1, 49], [1, 17, 40], 2051)

    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize(
        ("n", "c_in", "c_out", "pixels"),
        [(1, 3, 5, 9000), (3, 64, 64, 784), (5, 2, 300, 33), (2, 700, 24, 1), (130, 16, 20, 1), (40, 20, 130, 4)],
    )
    def test_large(self, layout, n, c_in, c_out, pixels, dtype, integers):
        """Sums are exact if there is work for several threads and several blocks."""
        x, weight = integers(shaped(layout, n, c_in, pixels), dtype), integers((c_out, c_in), dtype)
        expected = reference.exact_value(x, weight, layout=layout)
        for threads in (1, 2, 5):
            with pw.num_threads(threads):
                np.testing.assert_array_equal(pw.conv(x, weight, layout=layout), expected)


class TestBound:
    """The error of every element is within the bound, and no element is NaN."""

    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("decades", [0, 3, 15, 30])
    @pytest.mark.parametrize(("c_in", "c_out", "pixels"), [(0, 3, 5), (1, 17, 33), (40, 35, 50), (513, 20, 17)])
    def test_random(self, layout, decades, c_in, c_out, pixels, dtype, rng):
        if decades == 30 and dtype == np.float32:
            decades = 18.5  # keeps products between 1e-37 and 1e37; the next test goes beyond

        def numbers(*shape):
            return (rng.standard_normal(shape) * 10.0 ** rng.uniform(-decades, decades, shape)).astype(dtype)

        x, weight, bias = numbers(*shaped(layout, 2, c_in, pixels)), numbers(c_out, c_in), numbers(c_out)
        residual = numbers(*shaped(layout, 2, c_out, pixels))
        for activation in (None, "relu"):
            y = pw.conv(x, weight, bias, layout=layout, residual=residual, activation=activation)
            reference.assert_within_bound(
                y, *reference.exact(x, weight, bias, layout=layout, residual=residual), activation
            )

    @pytest.mark.parametrize("layout", LAYOUTS)
    def test_magnitudes_over_sixty_decades(self, layout, dtype, rng):
        """The bound holds for x from 1e-30 to 1e30 with products that underflow to subnormals and zero."""
        c_in, c_out, pixels = 40, 35, 50
        powers = 10.0 ** rng.uniform(-30, 30, c_in)
        x = rng.standard_normal((2, c_in, pixels)) * powers[:, None]
        weight = rng.standard_normal((c_out, c_in)) / powers * 10.0 ** rng.uniform(-45, 5, (c_out, c_in))
        x, weight = np.ascontiguousarray(x.transpose(0, *(1 + "CW".index(a) for a in layout[1:]))), weight.astype(dtype)
        x = x.astype(dtype)
        for scale in (1, 1e-30):
            w = (weight * dtype.type(scale)).astype(dtype)
            y = pw.conv(x, w, layout=layout)
            reference.assert_within_bound(y, *reference.exact(x, w, layout=layout))

    def test_subnormals(self, dtype, rng):
        tiny = np.finfo(dtype).smallest_subnormal
        x = (rng.integers(-1000, 1000, (2, 7, 33)) * tiny).astype(dtype)
        weight = rng.integers(-3, 4, (18, 7)).astype(dtype)
        expected = np.einsum("oi,nip->nop", weight, (x / tiny)).astype(dtype) * tiny
        np.testing.assert_array_equal(pw.conv(x, weight, layout="NCW"), expected)
        half = pw.conv(x, weight / 2, layout="NCW")
        reference.assert_within_bound(half, *reference.exact(x, weight / 2, layout="NCW"))
        assert (half != 0).any()


def hard_numbers(rng, shape, dtype):
    """Return numbers whose sums cancel, and round in both directions."""
    numbers = np.ldexp(rng.standard_normal(shape), rng.integers(-12, 13, shape))
    numbers[rng.random(shape) < 0.1] *= 1e-30
    numbers[rng.random(shape) < 0.05] = -0.0
    return numbers.astype(dtype)


@canonical_only
class TestCanonicalOrder:
    """Results have the bits of the canonical order, see `reference.canonical`."""

    @pytest.mark.parametrize("layout", reference.LAYOUTS)
    @pytest.mark.parametrize("groups", [1, 2])
    def test_every_layout(self, layout, groups, dtype, rng):
        sizes = {"N": 2, "C": 2 * (10 if dtype == np.float32 else 3), "D": 2, "H": 3, "W": 5}
        x = hard_numbers(rng, [sizes[axis] for axis in layout], dtype)
        weight, bias = hard_numbers(rng, (18, sizes["C"] // groups), dtype), hard_numbers(rng, 18, dtype)
        for how in ({}, {"stride": 2, "padding": 1}):
            how = {"layout": layout, "groups": groups, **how}
            plain = pw.conv(x, weight, **how)
            reference.assert_same_bits(plain, reference.canonical(x, weight, **how))
            full = how | {"activation": "relu", "residual": hard_numbers(rng, plain.shape, dtype)}
            reference.assert_same_bits(pw.conv(x, weight, bias, **full), reference.canonical(x, weight, bias, **full))

    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize(
        ("c_in", "c_out", "pixels"),
        [
            *((1, 70, 150), (3, 3, 700), (16, 33, 49), (65, 17, 29), (129, 66, 97), (256, 5, 40), (257, 40, 49)),
            *((300, 20, 1), (512, 9, 33), (513, 24, 49), (2051, 20, 30)),
        ],
    )
    def test_float32(self, layout, c_in, c_out, pixels, rng):
        x = hard_numbers(rng, shaped(layout, 2, c_in, pixels), np.float32)
        weight, bias = hard_numbers(rng, (c_out, c_in), np.float32), hard_numbers(rng, c_out, np.float32)
        residual = hard_numbers(rng, shaped(layout, 2, c_out, pixels), np.float32)
        how = {"layout": layout, "residual": residual}
        y = pw.conv(x, weight, bias, **how)
        reference.assert_same_bits(y, reference.canonical(x, weight, bias, **how))
        reference.assert_same_bits(pw.conv(x, weight, bias, activation="relu", **how), reference.relu(y))

    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize(("c_in", "c_out", "pixels"), [(1, 17, 33), (17, 9, 15), (65, 3, 9), (300, 9, 2)])
    def test_float64(self, layout, c_in, c_out, pixels, rng):
        x = hard_numbers(rng, shaped(layout, 1, c_in, pixels), np.float64)
        weight, bias = hard_numbers(rng, (c_out, c_in), np.float64), hard_numbers(rng, c_out, np.float64)
        y = pw.conv(x, weight, bias, layout=layout)
        reference.assert_same_bits(y, reference.canonical(x, weight, bias, layout=layout))

    def test_overflow_happens_where_the_order_has_it(self):
        """3e38 + 3e38 - 3e38 is infinity in the canonical order, and 3e38 in other orders."""
        x = np.ones((3, 40), np.float32)
        weight = np.tile(np.array([3e38, 3e38, -3e38], np.float32), (20, 1))
        assert (pw.conv(x, weight, layout="CW") == np.inf).all()
        assert (pw.conv(x, weight[:, [0, 2, 1]], layout="CW") == np.float32(3e38)).all()
        big = np.full(20, 3e38, np.float32)  # the bias comes first, the residual last
        assert (pw.conv(x, weight[:, [2, 0, 1]], big, layout="CW") == np.inf).all()
        residual = np.full((20, 40), -3e38, np.float32)
        assert (pw.conv(x[:1], weight[:, :1], big, layout="CW", residual=residual) == np.inf).all()
        assert (pw.conv(x[:1], weight[:, 2:], big, layout="CW", residual=residual) == np.float32(-3e38)).all()

    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("pixels", [1, 30])
    def test_chunks_of_256_channels(self, layout, pixels, dtype):
        """Each chunk is summed alone: big - big in both of two chunks gives 0, but big in both of them overflows."""
        big = np.finfo(dtype).max / dtype.type(1.5)
        x = np.ones(shaped(layout, 1, 768, pixels), dtype)
        weight = np.zeros((20, 768), dtype)
        weight[:, [0, 256]] = big
        weight[:, [1, 257]] = -big
        assert (pw.conv(x, weight, layout=layout) == 0).all()
        weight[:, [1, 257]] = 0
        assert (pw.conv(x, weight, layout=layout) == np.inf).all()
        weight[:, 0] = -0.0  # a later chunk starts at +0 and is added to the total, so -0.0 does not stay
        weight[:, 256] = 0
        assert not np.signbit(pw.conv(x, weight, np.full(20, -0.0, dtype), layout=layout)).any()

    @pytest.mark.parametrize(("channels", "bar"), [(4096, 2.6e-6), (65536, 3.6e-6)])
    def test_long_sums(self, channels, bar):
        """The relative error stays small in a long sum of products 0.1 * 1."""
        y = pw.conv(np.ones((1, channels, 2, 3), np.float32), np.full((5, channels), np.float32(0.1)))
        exact = channels * float(np.float32(0.1))
        assert (abs(y - exact) <= bar * exact).all()


@canonical_only
class TestTheSameBits:
    """Bits do not depend on threads, batch, position of a pixel, layout or view."""

    @pytest.fixture
    def problem(self, rng, dtype):
        x, weight = hard_numbers(rng, (3, 67, 31, 29), dtype), hard_numbers(rng, (83, 67), dtype)
        bias, residual = hard_numbers(rng, 83, dtype), hard_numbers(rng, (3, 83, 31, 29), dtype)
        return x, weight, bias, residual

    @pytest.fixture
    def y(self, problem):
        x, weight, bias, residual = problem
        with pw.num_threads(1):
            return pw.conv(x, weight, bias, residual=residual, activation="relu")

    @pytest.mark.parametrize("threads", [1, 2, 3, 7])
    def test_threads(self, threads, problem, y):
        x, weight, bias, residual = problem
        with pw.num_threads(threads):
            for _ in range(3):
                again = pw.conv(x, weight, bias, residual=residual, activation="relu")
                reference.assert_same_bits(again, y)

    def test_batch_sizes(self, problem, y):
        x, weight, bias, residual = problem
        layer = pw.Conv(weight, bias, activation="relu")
        for n in (1, 2):
            reference.assert_same_bits(layer(x[:n], residual[:n]), y[:n])
        many = np.concatenate([x[:, :, :4, :4]] * 9)
        reference.assert_same_bits(
            layer(many, np.concatenate([residual[:, :, :4, :4]] * 9)), np.concatenate([y[:, :, :4, :4]] * 9)
        )

    def test_a_pixels_place(self, problem, y):
        x, weight, bias, residual = problem
        layer = pw.Conv(weight, bias, activation="relu")
        for begin, end in [(0, 1), (3, 4), (1, 8), (0, 14), (13, 29), (28, 29)]:
            part = np.s_[:, :, 5:9, begin:end]
            reference.assert_same_bits(layer(x[part], residual[part]), y[part])
            copies = np.ascontiguousarray(x[part]), np.ascontiguousarray(residual[part])
            reference.assert_same_bits(layer(*copies), y[part])
        turned = layer(x[:, :, ::-1, ::-1], residual[:, :, ::-1, ::-1])
        reference.assert_same_bits(turned[:, :, ::-1, ::-1], y)
        strided = pw.Conv(weight, bias, activation="relu", stride=(3, 2))(x, residual[:, :, ::3, ::2].copy())
        reference.assert_same_bits(strided, y[:, :, ::3, ::2])

    def test_an_output_channels_place(self, problem, y):
        x, weight, bias, residual = problem
        for begin, end in [(0, 1), (5, 6), (16, 33), (80, 83)]:
            part = pw.conv(x, weight[begin:end], bias[begin:end], residual=residual[:, begin:end], activation="relu")
            reference.assert_same_bits(part, y[:, begin:end])

    @pytest.mark.parametrize("layout", ["NHWC", "NCW", "NWC", "NCDHW", "NDHWC", "NC"])
    def test_layouts(self, layout, problem, y):
        x, weight, bias, residual = problem
        axes = [1, -1] if layout[1] == "C" else [-1, 1]
        counts = {"NHWC": (31, 29), "NCW": (899,), "NWC": (899,), "NCDHW": (1, 31, 29), "NDHWC": (31, 1, 29)}

        def convert(a):
            if layout == "NC":
                return np.moveaxis(a, 1, -1).reshape(-1, a.shape[1])
            a = a.reshape(*a.shape[:2], *counts[layout])
            return np.ascontiguousarray(np.moveaxis(a, 1, axes[0]))

        z = pw.conv(convert(x), weight, bias, layout=layout, residual=convert(residual), activation="relu")
        reference.assert_same_bits(z, np.ascontiguousarray(convert(y)))

    @pytest.mark.parametrize("way", views.WAYS)
    def test_views(self, way, problem, y):
        x, weight, bias, residual = problem
        x, residual, y = x[:2, :, :9], residual[:2, :, :9], y[:2, :, :9]
        out, base = views.empty(way, y.shape, y.dtype)
        layer = pw.Conv(weight, bias, activation="relu")
        layer(views.put(way, x), views.put(way, residual), out)
        views.assert_wrote_only(way, base, y)


class TestNotANumber:
    """NaN, infinities and signed zeros propagate as IEEE 754 requires, and change no other result."""

    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize(("c_in", "c_out", "pixels"), [(1, 1, 1), (5, 17, 33), (17, 35, 50), (16, 16, 14)])
    @pytest.mark.parametrize("activation", [None, "relu"])
    def test_one_nan_touches_what_depends_on_it(self, layout, c_in, c_out, pixels, activation, dtype, integers):
        x, weight = integers((1, c_in, pixels), dtype), integers((c_out, c_in), dtype)
        bias, residual = integers(c_out, dtype), integers((1, c_out, pixels), dtype)
        weight[:, 0] = 0  # terms with weight 0 must not be skipped
        to_layout = (0, *(1 + "CW".index(axis) for axis in layout[1:]))

        def run(x=x, weight=weight, bias=bias, residual=residual):
            how = {"layout": layout, "residual": residual.transpose(to_layout), "activation": activation}
            y = pw.conv(np.ascontiguousarray(x.transpose(to_layout)), weight, bias, **how)
            return y.transpose(np.argsort(to_layout))

        good = run()
        assert np.isfinite(good).all()

        def check(y, at):
            touched = np.zeros(y.shape, bool)
            touched[at] = True
            np.testing.assert_array_equal(np.isnan(y), touched)
            np.testing.assert_array_equal(y[~touched], good[~touched])

        for p in {0, pixels // 2, pixels - 1}:
            for i in {0, c_in - 1}:
                for bad in (np.nan, np.inf):
                    if bad == np.inf and i != 0:
                        continue  # only the zero weights of channel 0 turn it into NaN
                    spoiled = x.copy()
                    spoiled[0, i, p] = bad
                    check(run(x=spoiled), np.s_[:, :, p])
        for o in {0, c_out // 2, c_out - 1}:
            spoiled = weight.copy()
            spoiled[o, c_in - 1] = np.nan
            check(run(weight=spoiled), np.s_[:, o])
            spoiled = bias.copy()
            spoiled[o] = np.nan
            check(run(bias=spoiled), np.s_[:, o])
            spoiled = residual.copy()
            spoiled[0, o, pixels - 1] = np.nan
            check(run(residual=spoiled), np.s_[0, o, pixels - 1])

    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("pixels", [1, 3, 16, 50])
    def test_ieee(self, layout, pixels, dtype):
        special = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan], dtype)
        weight, values, bias = (a.ravel()[:, None] for a in np.meshgrid(special, special, special))
        x = np.ones(shaped(layout, 1, 1, pixels), dtype)
        for value in special:
            y = pw.conv(x * value, weight, bias[:, 0], layout=layout)
            expected = reference.canonical(x * value, weight, bias[:, 0], layout=layout)
            reference.assert_same_bits(y, expected)
            y = pw.conv(x * value, weight, bias[:, 0], layout=layout, activation="relu")
            reference.assert_same_bits(y, reference.relu(expected))
        assert len(values) == len(weight)

    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("pixels", [1, 2, 17, 40])
    def test_relu_keeps_nan_and_negative_zero(self, layout, pixels, dtype):
        v = np.array([np.nan, -0.0, 0.0, -1.0, 1.0, -np.inf, np.inf, -np.finfo(dtype).smallest_subnormal], dtype)
        v = np.tile(v, 5)
        expected = np.tile(np.array([np.nan, -0.0, 0.0, 0.0, 1.0, 0.0, np.inf, 0.0], dtype), 5)
        expected = np.broadcast_to(expected[None, :, None], (1, 40, pixels))
        expected = expected.transpose(0, *(1 + "CW".index(axis) for axis in layout[1:]))
        x = np.zeros(shaped(layout, 1, 0, pixels), dtype)
        none = np.zeros((40, 0), dtype)
        reference.assert_same_bits(pw.conv(x, none, v, layout=layout, activation="relu"), expected)
        zero = np.full(shaped(layout, 1, 1, pixels), -0.0, dtype)  # -0.0 * 1 + v is v
        reference.assert_same_bits(
            pw.conv(zero, np.ones((40, 1), dtype), v, layout=layout, activation="relu"), expected
        )
        residual = np.array(
            np.broadcast_to(v[None, :, None], (1, 40, pixels)).transpose(
                0, *(1 + "CW".index(axis) for axis in layout[1:])
            )
        )
        minus = np.full(40, -0.0, dtype)
        reference.assert_same_bits(
            pw.conv(x, none, minus, layout=layout, residual=residual, activation="relu"), expected
        )

    def test_without_a_bias_the_sum_begins_at_positive_zero(self, dtype):
        x, weight = np.full((1, 2, 20), -0.0, dtype), np.ones((3, 2), dtype)
        for c in (0, 2):
            y = pw.conv(x[:, :c], weight[:, :c], layout="NCW")
            reference.assert_same_bits(y, np.zeros((1, 3, 20), dtype))
            y = pw.conv(x[:, :c], weight[:, :c], np.full(3, -0.0), layout="NCW", padding=1)
            reference.assert_same_bits(y, np.full((1, 3, 22), -0.0, dtype))  # without a residual no +0 is added

    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("pixels", [1, 5, 16, 33, 50])
    def test_scales(self, layout, pixels, dtype):
        """A special scale and a special number give the same bits as their rounded product, at every pixel."""
        tiny, info = np.finfo(dtype).smallest_subnormal, np.finfo(dtype)
        special = np.array(
            [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, tiny, -tiny, info.tiny, info.max, 0.5], dtype
        )
        n, channels = len(special), len(special)
        x = special[(np.arange(n)[:, None, None] + np.arange(pixels)) % n + np.zeros((1, channels, 1), int)]
        scale, weight = np.broadcast_to(special, (n, channels)), np.eye(channels, dtype=dtype)[::-1]
        if layout == "NWC":
            x = np.ascontiguousarray(x.transpose(0, 2, 1))
        with np.errstate(all="ignore"):
            product = x * (scale[:, :, None] if layout == "NCW" else scale[:, None])
        for some in (weight, weight[:5], np.ones((19, channels), dtype)):
            layer = pw.Conv(some, layout=layout)
            reference.assert_same_bits(layer(x, input_scale=scale), layer(product))
        for c in range(channels):  # one at a time, as the sum of all is NaN
            alone, one = np.moveaxis(product, layout.index("C"), 0)[c], np.moveaxis(x, layout.index("C"), 0)[c]
            y = pw.conv(
                np.expand_dims(one, layout.index("C")),
                np.ones((1, 1), dtype),
                layout=layout,
                input_scale=scale[:, c : c + 1],
            )
            reference.assert_same_bits(y, np.expand_dims(alone, layout.index("C")) + dtype.type(0))

    @pytest.mark.parametrize("layout", LAYOUTS)
    @pytest.mark.parametrize("activation", [None, "relu", "gelu", "tanh", ("clip", -9, 9), "mish"])
    def test_one_nan_in_a_chain(self, layout, activation, dtype, integers):
        """A NaN stays in its pixel through every layer of a chain of several strips."""
        c, pixels = 5, 1100
        layers = [
            pw.Conv(integers((m, n), dtype), integers(m, dtype), layout=layout, activation=activation)
            for n, m in ((c, 400), (400, 3), (3, 17))
        ]
        x = integers((1, c, pixels), dtype)
        bad = [*range(0, 60), *range(500, 620, 3), *range(pixels - 60, pixels)]
        spoiled = x.copy()
        spoiled[0, np.arange(len(bad)) % c, bad] = np.nan
        chain = pw.Chain(layers)
        for threads in (1, 2):
            with pw.num_threads(threads):
                good, y = (
                    chain(np.ascontiguousarray(a if layout == "NCW" else a.transpose(0, 2, 1))) for a in (x, spoiled)
                )
                good, y = (a if layout == "NCW" else a.transpose(0, 2, 1) for a in (good, y))
                assert np.isnan(y[..., bad]).all()
                rest = np.setdiff1d(np.arange(pixels), bad)
                reference.assert_same_bits(y[..., rest], good[..., rest])
                assert np.isfinite(good).all()

    def test_a_weight_beyond_the_range_of_x_is_infinity(self):
        x = np.ones((1, 1), np.float32)
        assert pw.conv(x, np.array([[1e300]]), layout="NC")[0, 0] == np.inf
        assert pw.conv(x, np.array([[-1e300]]), np.array([1.0]), layout="NC")[0, 0] == -np.inf


@given(
    st.lists(st.floats(width=32, allow_nan=True, allow_infinity=True), min_size=3, max_size=24),
    st.sampled_from(LAYOUTS),
    st.sampled_from([1, 5, 16, 31]),
)
@canonical_only
def test_any_float(values, layout, pixels):
    """Any float32 numbers give the bits of the canonical order."""
    c = len(values) // 3
    values = np.array(values, np.float32)
    weight, x, bias = values[:c][None], values[c : 2 * c], values[2 * c : 2 * c + 1]
    x = np.ascontiguousarray(np.broadcast_to(x[:, None], (c, pixels)) if layout == "NCW" else np.tile(x, (pixels, 1)))
    y = pw.conv(x[None], weight, bias, layout=layout)
    reference.assert_same_bits(y, reference.canonical(x[None], weight, bias, layout=layout))


def test_threads_at_once(rng):
    """Python threads that call at once do not disturb each other's workspace."""
    problems = []
    for c_in, c_out, pixels in [(3, 70, 5000), (300, 20, 60), (64, 64, 900), (17, 5, 3000)]:
        x, weight = rng.standard_normal((pixels, c_in)), rng.standard_normal((c_out, c_in))
        problems.append((x, weight, pw.conv(x, weight, layout="NC")))
    failures = []

    def work(x, weight, expected):
        try:
            for _ in range(5):
                reference.assert_same_bits(pw.conv(x, weight, layout="NC"), expected)
        except BaseException as error:
            failures.append(error)

    workers = [threading.Thread(target=work, args=problem) for problem in problems]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures
    assert math.isfinite(sum(float(y.sum()) for _, _, y in problems))


def wider(weight, row, dtype):
    """Return the weights as a view of a wider array, one element after its start. Rows are `row` bytes apart."""
    numbers = row // dtype.itemsize
    wide = np.full(weight.shape[0] * numbers + 1, np.nan, dtype)[1:].reshape(-1, numbers)
    wide[:, : weight.shape[1]] = weight
    return wide[:, : weight.shape[1]]


@pytest.mark.parametrize("dtype", [np.dtype(np.float32), np.dtype(np.float64)], ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_one_pixel_with_weights_as_they_are(layout, dtype):
    """A call for one pixel may use weights without packing. It gives the same bits for any strides of the weights."""
    rng = np.random.default_rng(17)
    for c_out, c_in in [*((c_out, 40) for c_out in CHANNELS), *((70, c_in) for c_in in (*INPUT_CHANNELS, 500, 1700))]:
        for groups in (1, 3):
            x = rng.standard_normal(shaped(layout, 1, groups * c_in, 1)).astype(dtype)
            weight = rng.standard_normal((groups * c_out, c_in)).astype(dtype)
            bias = rng.standard_normal(groups * c_out).astype(dtype)
            residual = rng.standard_normal(shaped(layout, 1, groups * c_out, 1)).astype(dtype)
            scale = rng.standard_normal((1, groups * c_in)).astype(dtype)
            how = {"layout": layout, "groups": groups, "activation": "relu"}
            layer = pw.Conv(weight, bias, **how)
            expected, scaled = layer(x, residual), layer(x, residual, input_scale=scale)
            if pw.isa() != "portable" and c_out < 20:
                reference.assert_same_bits(expected, reference.canonical(x, weight, bias, residual=residual, **how))
            for lying in (
                weight,
                wider(weight, 16384, dtype),
                np.asfortranarray(weight),
                np.ascontiguousarray(weight[::-1])[::-1],
                guarded.put(weight, "end"),
            ):
                reference.assert_same_bits(pw.conv(x, lying, bias, residual=residual, **how), expected)
            y = pw.conv(x, weight, bias, residual=residual, input_scale=scale, **how)
            reference.assert_same_bits(y, scaled)
