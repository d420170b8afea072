"""Test the bits of float16 and bfloat16: the canonical order, the pairs of bfloat16, subnormals, and equal bits."""

import hashlib
import json
import os

import ml_dtypes
import numpy as np
import pointwise as pw
import pytest
import reference
import views
from pointwise import _core

pytestmark = pytest.mark.kernels
canonical_only = pytest.mark.skipif(pw.isa() == "portable", reason="the portable kernels keep the bound, not the bits")

F = np.float32
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
TINY = np.finfo(F).tiny  # the smallest normal number of float32 and of bfloat16
# Input channels around pairs, chunks of 256 channels, and blocks.
INPUT_CHANNELS = [1, 2, 3, 4, 5, 16, 17, 64, 255, 256, 257, 258, 511, 512, 513, 700]


def hard_numbers(rng, shape, dtype, spread=12):
    """Return numbers whose sums cancel, and round in both directions."""
    numbers = rng.standard_normal(shape) * 2.0 ** rng.integers(-spread, spread + 1, shape)
    numbers[rng.random(shape) < 0.05] = -0.0
    return numbers.astype(dtype)


def small(rng, shape, dtype):
    """Return numbers near the square root of the smallest normal number. Half of their products are subnormal."""
    return (rng.standard_normal(shape) * np.sqrt(TINY) * 10 ** rng.uniform(-3, 2, shape)).astype(dtype)


def shaped(layout, c, n=2, h=3, w=11):
    return tuple({"N": n, "C": c, "D": 2, "H": h, "W": w}[axis] for axis in layout)


@canonical_only
class TestTheOrder:
    def test_of_a_pair(self):
        """-2**24 + 0.25 is -2**24, so the quarter is lost if the odd channel comes before the even channel."""
        weight, bias = np.array([[2.0**24, 0.25]]), [-(2.0**24)]
        for layout in ("CW", "WC"):
            for pixels in (1, 40):
                x = np.ones((pixels, 2) if layout == "WC" else (2, pixels), BFLOAT16)
                how = {"layout": layout, "out_dtype": "float32"}
                assert (pw.conv(x, weight, bias, **how) == 0).all()
                assert (pw.conv(x, weight[:, ::-1], bias, **how) == 0.25).all()
                assert (pw.conv(x.astype(F), weight, bias, **how) == 0.25).all()

    @pytest.mark.parametrize("layout", ["NCW", "NWC"])
    @pytest.mark.parametrize("c_in", INPUT_CHANNELS)
    def test_of_every_number_of_channels(self, layout, c_in, half, rng):
        differs = False
        for c_out, pixels in ((1, 1), (17, 5), (40, 13)) if c_in < 100 else ((17, 5),):
            x, weight = hard_numbers(rng, shaped(layout, c_in, w=pixels), half), hard_numbers(rng, (c_out, c_in), half)
            bias = hard_numbers(rng, c_out, F)
            residual = hard_numbers(rng, shaped(layout, c_out, w=pixels), F)
            how = {"layout": layout, "residual": residual}
            expected = reference.canonical(x, weight, bias, **how)
            y = pw.conv(x, weight, bias, out_dtype="float32", **how)
            reference.assert_same_bits(y, expected)
            layer = pw.Conv(weight, bias, layout=layout, out_dtype="float32", activation="relu")
            reference.assert_same_bits(layer(x, residual), reference.relu(expected))
            halves = pw.conv(x, weight, bias, layout=layout)
            wide = pw.conv(x, weight, bias, layout=layout, out_dtype="float32")
            reference.assert_same_bits(halves, reference.rounded(wide, half))
            other = reference.canonical(x, weight, bias, pairs=half != BFLOAT16, **how)
            differs = differs or (other != expected).any()
        assert differs == (c_in > 1), "another order must give other bits, or the test shows nothing"

    @pytest.mark.parametrize("layout", reference.LAYOUTS)
    @pytest.mark.parametrize("groups", [1, 2, 4])
    def test_of_every_layout(self, layout, groups, half, rng):
        x = hard_numbers(rng, shaped(layout, 12), half)
        weight, bias = hard_numbers(rng, (20, 12 // groups), half), hard_numbers(rng, 20, F)
        for how in ({}, {"stride": 2, "padding": 1}):
            how = {"layout": layout, "groups": groups, **how}
            plain = pw.conv(x, weight, out_dtype="float32", **how)
            reference.assert_same_bits(plain, reference.canonical(x, weight, **how))
            how |= {"activation": "relu", "residual": hard_numbers(rng, plain.shape, half)}
            expected = reference.rounded(reference.canonical(x, weight, bias, **how), half)
            reference.assert_same_bits(pw.conv(x, weight, bias, **how), expected)

    def test_with_a_scale(self, half, rng):
        for layout in ("NCHW", "NHWC"):
            x, scale = hard_numbers(rng, shaped(layout, 19), half), hard_numbers(rng, (2, 19), half, 2)
            weight = hard_numbers(rng, (33, 19), half)
            expected = reference.canonical(reference.scaled(x, scale, layout), weight, layout=layout)
            y = pw.conv(x, weight, layout=layout, input_scale=scale, out_dtype="float32")
            reference.assert_same_bits(y, expected)

    def test_of_a_matrix_for_each_image(self, half, rng):
        x, matrix = hard_numbers(rng, (3, 5, 9), half), hard_numbers(rng, (3, 4, 9), half)
        y = pw.mix(x, matrix, out_dtype="float32")
        for i in range(3):
            reference.assert_same_bits(y[i], reference.canonical(x[i], matrix[i], layout="WC"))

    def test_overflow_happens_where_the_order_has_it(self):
        """3e38 + 3e38 - 3e38 is infinity or 3e38. The odd channel follows the bias."""
        x, weight = np.ones((2, 40), BFLOAT16), np.tile(np.array([-3e38, 3e38]).astype(BFLOAT16), (20, 1))
        bias = np.full(20, weight[0, 1], F)
        assert (pw.conv(x, weight, bias, layout="CW") == np.inf).all()
        assert (pw.conv(x, weight[:, ::-1], bias, layout="CW") == weight[0, 1]).all()


class TestNotANumber:
    @canonical_only
    @pytest.mark.parametrize("c_in", [1, 2, 3])
    def test_ieee(self, c_in, half):
        """Results follow IEEE 754 for special numbers in each channel, also in a last channel without a partner."""
        special = np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan]).astype(half)
        rows = np.stack([a.ravel() for a in np.meshgrid(*[special] * c_in)], axis=-1)
        for layout in ("NC", "CW"):
            x = rows if layout == "NC" else np.ascontiguousarray(rows.T)
            for bias in (None, np.full(len(rows), -0.0, F)):
                y = pw.conv(x, rows, bias, layout=layout, out_dtype="float32")
                reference.assert_same_bits(y, reference.canonical(x, rows, bias, layout=layout))

    @pytest.mark.parametrize("layout", ["NCW", "NWC"])
    @pytest.mark.parametrize("c_in", [1, 5, 16, 17])
    def test_one_nan_touches_what_depends_on_it(self, layout, c_in, half, rng):
        """Weights of 0 are not skipped. Unused lanes, and the missing partner of a last channel, change no result."""
        for c_out, pixels in ((1, 1), (3, 7), (17, 33)):
            x, weight = (rng.integers(-4, 5, s).astype(half) for s in (shaped(layout, c_in, w=pixels), (c_out, c_in)))
            weight[:, -1] = 0
            axis = layout.index("C")
            good = np.moveaxis(pw.conv(x, weight, layout=layout), axis, 1)
            assert np.isfinite(good.astype(F)).all()
            for value in (np.nan, np.inf):
                spoiled = np.array(np.moveaxis(x, axis, 1))
                spoiled[1, -1, pixels // 2] = value
                y = pw.conv(np.ascontiguousarray(np.moveaxis(spoiled, 1, axis)), weight, layout=layout)
                expected = good.copy()
                expected[1, :, pixels // 2] = np.nan
                reference.assert_same_bits(np.moveaxis(y, axis, 1), expected)

    def test_results_beyond_the_range_are_infinite(self):
        x, weight = np.full((1, 1), 300, np.float16), np.array([[300.0], [-300.0]])
        assert pw.conv(x, weight, layout="NC").tolist() == [[np.inf, -np.inf]]
        assert pw.conv(x, weight, layout="NC", out_dtype="float32").tolist() == [[9e4, -9e4]]
        assert pw.conv(x, np.array([[65519 / 300]]).astype(np.float16), layout="NC").tolist() == [[np.float16(65500)]]
        big = np.full((1, 1), 3e38).astype(BFLOAT16)
        assert pw.conv(big, np.full((1, 1), 2.0), layout="NC").tolist() == [[np.inf]]


class TestSubnormals:
    @canonical_only
    @pytest.mark.parametrize("layout", ["NCW", "NWC"])
    @pytest.mark.parametrize(
        ("c_in", "c_out", "pixels"), [(1, 17, 33), (2, 3, 3), (7, 35, 50), (65, 9, 15), (300, 5, 9)]
    )
    def test_every_operation_of_bfloat16_flushes(self, layout, c_in, c_out, pixels, rng):
        x, weight = small(rng, shaped(layout, c_in, w=pixels), BFLOAT16), small(rng, (c_out, c_in), BFLOAT16)
        bias = (rng.standard_normal(c_out) * TINY).astype(F)
        weight[0] = (weight[0].astype(float) * 1e-20).astype(BFLOAT16)  # subnormal
        for dtype in ("float32", "bfloat16"):
            residual = (rng.standard_normal(shaped(layout, c_out, w=pixels)) * TINY).astype(dtype)
            how = {"layout": layout, "residual": residual}
            expected = reference.canonical(x, weight, bias, **how)
            y = pw.conv(x, weight, bias, out_dtype=dtype, **how)
            reference.assert_same_bits(y, reference.rounded(expected, np.dtype(dtype)))
            assert not ((y != 0) & (abs(y.astype(F)) < TINY)).any()
            wide = [a.astype(F) for a in (x, weight)]
            end = reference.flushed(reference.canonical(*wide, bias, layout=layout, residual=residual.astype(F)))
            assert (end != expected).any(), "intermediate sums must be flushed, too, not only the result"

    @pytest.mark.parametrize("layout", ["NCW", "NWC"])
    def test_the_bound_has_the_smallest_normal_number(self, layout, half, rng):
        for c_in, c_out, pixels in ((1, 17, 33), (40, 9, 7), (300, 20, 17)):
            x, weight = small(rng, shaped(layout, c_in, w=pixels), half), small(rng, (c_out, c_in), half)
            bias = (rng.standard_normal(c_out) * TINY).astype(F)
            y = pw.conv(x, weight, bias, layout=layout, out_dtype="float32")
            reference.assert_within_bound(y, *reference.exact(x, weight, bias, layout=layout))

    @pytest.mark.parametrize("layout", ["NCW", "NWC"])
    def test_what_no_arithmetic_touches(self, layout):
        """bfloat16 flushes the bias and the residual also in padding and without input channels. Signs stay."""
        bias = np.array([TINY / 2, -TINY / 2, TINY, -TINY, 0.0, -0.0, np.nan, np.inf] * 3, F)
        expected, axis = reference.flushed(bias), layout.index("C")
        none = np.ones((24, 0), BFLOAT16)
        y = pw.conv(np.ones(shaped(layout, 0, w=5), BFLOAT16), none, bias, layout=layout)
        y = np.moveaxis(y.astype(F), axis, -1)
        reference.assert_same_bits(y, np.broadcast_to(expected, y.shape).astype(BFLOAT16).astype(F))
        x, layer = np.ones(shaped(layout, 1, w=1), BFLOAT16), pw.Conv(np.ones((24, 1), BFLOAT16), bias, layout=layout)
        padded = pw.conv(x, layer.weight, bias, layout=layout, padding=2, out_dtype="float32")
        padded = np.moveaxis(padded, axis, -1)[:, [0, 1, 3, 4]]
        reference.assert_same_bits(padded, np.broadcast_to(expected, padded.shape))
        residual = np.broadcast_to(bias.astype(BFLOAT16), (2, 5, 24))
        residual = np.ascontiguousarray(np.moveaxis(residual, -1, axis))
        zero = np.full(24, -0.0, F)
        y = pw.conv(np.ones(shaped(layout, 0, w=5), BFLOAT16), none, zero, layout=layout, residual=residual)
        expected = reference.flushed(bias.astype(BFLOAT16).astype(F))
        y = np.moveaxis(y.astype(F), axis, -1)
        reference.assert_same_bits(y, np.broadcast_to(expected, y.shape))

    @pytest.mark.parametrize("flush", [False, True])
    def test_an_activation_flushes(self, flush):
        """bfloat16 flushes bounds of clip and results of activations, with and without `flush_subnormals`."""
        x, weight = np.full((1, 1), -TINY).astype(BFLOAT16), np.ones((1, 1), BFLOAT16)
        for activation in (("leaky_relu", 0.25), ("prelu", [0.5]), "silu"):
            layer = pw.Conv(weight, layout="NC", activation=activation, flush_subnormals=flush)
            reference.assert_same_bits(layer(x), np.array([[-0.0]]).astype(BFLOAT16))
        clip = pw.Conv(weight, layout="NC", activation=("clip", TINY / 2, 1), flush_subnormals=flush)
        assert clip(x) == 0

    @pytest.mark.parametrize("layout", ["NCW", "NWC"])
    def test_subnormals_of_float16_count(self, layout, rng):
        """Subnormal numbers of float16 are normal numbers of float32, so they count even with `flush_subnormals`."""
        least = float(np.finfo(np.float16).smallest_subnormal)
        x = (rng.integers(-1023, 1024, shaped(layout, 7, w=33)) * least).astype(np.float16)
        weight = rng.integers(-3, 4, (18, 7)).astype(np.float16)
        bias = (rng.integers(-9, 10, 18) * least).astype(F)
        exact = reference.exact_value(x, weight, bias, layout=layout)
        for flush in (False, True):
            layer = pw.Conv(weight, bias, layout=layout, flush_subnormals=flush)
            reference.assert_same_bits(layer(x) + np.float16(0), reference.rounded(exact, np.float16) + np.float16(0))
        # Exchanges x and weight, so that the weights are subnormal.
        pixels = x[0] if layout == "NCW" else x[0].T
        y = pw.conv(weight, pixels.T, layout="NC", out_dtype="float32")
        np.testing.assert_array_equal(y, reference.exact_value(weight, pixels.T, layout="NC"))
        assert (y != 0).any()

    def test_a_scale(self):
        """A scaled number that is subnormal becomes zero for bfloat16."""
        x, weight = np.full((2, 3, 40), TINY).astype(BFLOAT16), np.full((17, 3), 4).astype(BFLOAT16)
        scale = np.array([[0.5, 1, 0.25], [1, 1, TINY / 2]]).astype(BFLOAT16)
        for layout in ("NCW", "NWC"):
            y = pw.conv(x if layout == "NCW" else x.transpose(0, 2, 1).copy(), weight, layout=layout, input_scale=scale)
            y = y if layout == "NCW" else y.transpose(0, 2, 1)
            np.testing.assert_array_equal(y.astype(F), np.broadcast_to(F([[[4]], [[8]]]) * TINY, y.shape))

    @canonical_only
    @pytest.mark.parametrize("dtypes", [(F, BFLOAT16, F), (BFLOAT16, F, BFLOAT16), (F, F, BFLOAT16)])
    @pytest.mark.parametrize("pixels", [40, 3000])
    def test_each_layer_of_a_chain_has_its_own_rule(self, dtypes, pixels, rng):
        for layout in ("NCW", "NWC"):
            layers = []
            for i, dtype in enumerate(dtypes):
                weight = (rng.standard_normal((12, 12)) * (np.sqrt(TINY) if i == 0 else 1)).astype(dtype)
                out_dtype = dtypes[i + 1] if i + 1 < len(dtypes) else F
                layers.append(pw.Conv(weight, layout=layout, out_dtype=out_dtype))
            x = small(rng, shaped(layout, 12, w=pixels), dtypes[0])
            expected = x
            for layer in layers:
                expected = layer(expected)
            for threads in (1, 3):
                with pw.num_threads(threads):
                    reference.assert_same_bits(pw.Chain(layers)(x), expected)
            wide = [pw.Conv(layer.weight.astype(F), layout=layout) for layer in layers]
            assert pw.Chain(wide)(x.astype(F)).tobytes() != expected.tobytes(), "the dtype must make a difference"
            assert ((expected != 0) & (abs(expected) < 1e-30)).any()

    def test_other_calls_count_subnormals(self, rng):
        """A call with bfloat16 changes nothing for later calls with float32, on any thread."""
        x, weight = small(rng, (1, 20, 900), F), small(rng, (35, 20), F)
        layer, halves = pw.Conv(weight, layout="NCW"), pw.Conv(weight.astype(BFLOAT16), layout="NCW")
        _core._testing.force_teams(True)
        try:
            with pw.num_threads(3):
                y = layer(x)
                assert ((y != 0) & (abs(y) < TINY)).any()
                halves(x.astype(BFLOAT16))
                reference.assert_same_bits(layer(x), y)
                same = pw.conv(x, weight, layout="NCW", out_dtype="bfloat16")
                reference.assert_same_bits(same, reference.rounded(y, BFLOAT16))
        finally:
            _core._testing.force_teams(False)


class Problem:
    """A layer of halves whose bits do not depend on the way to compute it."""

    CASES = ((1, 3, 1), (3, 5, 1), (16, 33, 1), (64, 70, 1), (255, 20, 1), (513, 40, 1), (20, 20, 20), (40, 24, 2))

    def __init__(self, number, dtype):
        c_in, c_out, groups = self.CASES[number]
        rng = np.random.default_rng([number, *dtype.name.encode()])
        self.x = hard_numbers(rng, (3, c_in, 9, 13), dtype, 3)
        self.x[0] = (self.x[0].astype(float) * 1e-4).astype(dtype)
        self.weight, bias = hard_numbers(rng, (c_out, c_in // groups), dtype, 3), hard_numbers(rng, c_out, F)
        self.residual = hard_numbers(rng, (3, c_out, 9, 13), dtype)
        self.scale = hard_numbers(rng, (3, c_in), dtype, 1)
        self.bias, self.how = bias, {"groups": groups, "activation": ("gelu", "relu", None)[number % 3]}

    def layer(self, layout="NCHW", **more):
        return pw.Conv(self.weight, self.bias, layout=layout, **(self.how | more))

    def y(self):
        return self.layer()(self.x, self.residual, input_scale=self.scale)


def last(a):
    return np.ascontiguousarray(np.moveaxis(a, 1, -1))


@pytest.fixture
def forced_teams():
    """Make calls use the requested number of threads, even for little work."""
    _core._testing.force_teams(True)
    yield
    _core._testing.force_teams(False)


@canonical_only
@pytest.mark.parametrize("number", range(len(Problem.CASES)))
def test_the_same_bits_in_every_way(number, half, forced_teams):
    p = Problem(number, half)
    with pw.num_threads(1):
        y = p.y()
    layer, nhwc = p.layer(), p.layer("NHWC")
    for threads in (1, 2, 3):
        with pw.num_threads(threads):
            reference.assert_same_bits(p.y(), y)
            reference.assert_same_bits(nhwc(last(p.x), last(p.residual), input_scale=p.scale), last(y))
            how = {"input_scale": p.scale, "residual": p.residual, **p.how}
            reference.assert_same_bits(pw.conv(p.x, p.weight, p.bias, **how), y)
    for i in range(3):
        one = layer(p.x[i : i + 1], p.residual[i : i + 1], input_scale=p.scale[i : i + 1])
        reference.assert_same_bits(one, y[i : i + 1])
    part = np.s_[:, :, 2:4, 5:6]
    reference.assert_same_bits(layer(p.x[part], p.residual[part], input_scale=p.scale), y[part])
    flat = p.layer("NCW")(*(a.reshape(*a.shape[:2], -1) for a in (p.x, p.residual)), input_scale=p.scale)
    reference.assert_same_bits(flat.reshape(y.shape), y)
    for way in views.WAYS:
        out, base = views.empty(way, y.shape, half)
        layer(views.put(way, p.x), views.put(way, p.residual), out, input_scale=p.scale)
        views.assert_wrote_only(way, base, y)
    reference.assert_same_bits(pw.Chain([layer])(p.x, p.residual), layer(p.x, p.residual))


def hashes():
    """Return a hash of each problem. Other instruction sets must give the same hashes."""
    dtypes = (np.dtype(np.float16), BFLOAT16)
    problems = [(number, dtype) for number in range(len(Problem.CASES)) for dtype in dtypes]
    return {f"{n} {dtype}": hashlib.sha256(Problem(n, dtype).y().tobytes()).hexdigest() for n, dtype in problems}


@canonical_only
@pytest.mark.parametrize("isa", ["avx2", "avx512", "avx512_bf16"])
def test_all_instruction_sets_give_the_same_bits(isa, forked):
    if isa == pw.isa() or isa not in _core.supported_isas():
        pytest.skip(f"this run uses {isa}, or the CPU has no {isa}")
    script = f"""
import json, sys
sys.path.insert(0, {os.path.dirname(__file__)!r})
import pointwise
assert pointwise.isa() == {isa!r}
import test_half_bits
print(json.dumps(test_half_bits.hashes()))
"""
    assert json.loads(forked(script, POINTWISE_ISA=isa)) == hashes()
