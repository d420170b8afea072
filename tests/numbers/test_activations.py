"""Test the accuracy, special values and bits of activations, and their floating-point environment."""

import definitions
import numpy as np
import pointwise as pw
import pytest
import reference
from mxcsr import Mxcsr

pytestmark = pytest.mark.kernels
INF, NAN = float("inf"), float("nan")
each_activation = pytest.mark.parametrize("activation", definitions.ACTIVATIONS, ids=definitions.label)


def apply(activation, v):
    """Return the activation of each number. Uses a convolution without input channels, so that the sum is the bias."""
    return pw.conv(np.zeros(0, v.dtype), np.zeros((v.size, 0), v.dtype), v, layout="C", activation=activation)


class TestAccuracy:
    @each_activation
    def test_near_the_definition(self, activation, dtype, rng):
        if not definitions.is_wider(dtype):
            pytest.skip("on this platform, NumPy has no type that is wider than float64")
        v = definitions.points(rng, dtype)
        off = definitions.errors(activation, v, apply(activation, v))
        worst = np.argmax(off)  # argmax finds a NaN first
        assert off[worst] <= 1, f"the error is {off[worst]:.3g} times the bound, at v = {v[worst]!r}"

    def test_the_bound_is_one_that_can_be_missed(self, dtype, rng):
        """Wrong results exceed the bound: results that are off by a few steps, and results of other activations."""
        v = definitions.points(rng, dtype)
        for name, other in [("gelu", "gelu_tanh"), ("silu", "hardswish"), ("mish", "silu"), ("softplus", "relu")]:
            assert (definitions.errors(name, v, apply(other, v)) > 1e4).any()
        y = apply("sigmoid", v)
        for _ in range(6):
            y = np.nextafter(y, dtype.type(1))
        assert (definitions.errors("sigmoid", v, y) > 1).mean() > 0.4

    @pytest.mark.parametrize(
        ("activation", "v", "value"),
        [
            ("gelu", 1.0, 0.84134474606854294859),
            ("gelu", -1.0, -0.15865525393145705141),
            ("gelu", -6.0, -5.9195258702261888442e-9),
            ("gelu_tanh", 1.0, 0.84119199060827670479),
            ("gelu_tanh", -3.0, -0.0036373920817730188378),
            ("elu", -1.0, -0.63212055882855767840),
            ("sigmoid", 2.0, 0.88079707797788244406),
            ("tanh", 0.5, 0.46211715726000975850),
            ("silu", -2.0, -0.23840584404423511188),
            ("softplus", 0.0, 0.69314718055994530942),
            ("softplus", -40.0, 4.2483542552915889863e-18),
            ("mish", 1.0, 0.86509838826731034612),
            ("mish", -10.0, -4.5398899185674694297e-4),
            ("hardsigmoid", 1.0, 2 / 3),
            ("hardswish", -1.0, -1 / 3),
            (("leaky_relu", 0.25), -4.0, -1.0),
        ],
    )
    def test_known_values(self, activation, v, value, dtype):
        """Results of pointwise and the definitions of the tests match known values, which come from neither of them."""
        y = apply(activation, np.array([v], dtype))
        np.testing.assert_allclose(y, value, rtol=5 * np.finfo(dtype).eps)
        np.testing.assert_allclose(definitions.exact(activation, np.array([v], dtype)).astype(float), value, rtol=3e-15)

    @pytest.mark.parametrize("activation", ["relu", "sigmoid", "tanh", "hardsigmoid", "softplus", "leaky_relu", "elu"])
    def test_what_keeps_its_order(self, activation, dtype, rng):
        """Monotonic activations keep the order of their arguments, except for rounding."""
        y = apply(activation, np.sort(definitions.points(rng, dtype)))
        assert (y[1:] >= y[:-1] - 4 * np.spacing(abs(y[:-1]) / 2)).all()

    def test_bounds_are_kept(self, dtype, rng):
        v = definitions.points(rng, dtype)
        for activation, low, high in [
            ("sigmoid", 0, 1),
            ("hardsigmoid", 0, 1),
            ("tanh", -1, 1),
            ("relu6", 0, 6),
            (("clip", -0.5, 0.25), -0.5, 0.25),
            ("elu", -1, INF),
            ("softplus", 0, INF),
        ]:
            y = apply(activation, v)
            assert y.min() >= low
            assert y.max() <= high


# The values of the definitions for NaN, inf, -inf, 0.0, -0.0, the largest number and the most negative number.
MAX = "max"
SPECIAL = {
    "relu": (NAN, INF, 0.0, 0.0, -0.0, MAX, 0.0),
    "relu6": (NAN, 6.0, 0.0, 0.0, None, 6.0, 0.0),
    ("clip", -1, 2): (NAN, 2.0, -1.0, 0.0, -0.0, 2.0, -1.0),
    ("clip", -INF, INF): (NAN, INF, -INF, 0.0, -0.0, MAX, "-max"),
    ("clip", INF, INF): (NAN, INF, INF, INF, INF, INF, INF),
    ("leaky_relu", 0.5): (NAN, INF, -INF, 0.0, -0.0, MAX, "-max/2"),
    ("leaky_relu", 0): (NAN, INF, NAN, 0.0, -0.0, MAX, -0.0),
    "elu": (NAN, INF, -1.0, 0.0, -0.0, MAX, -1.0),
    ("elu", 0): (NAN, INF, -0.0, 0.0, -0.0, MAX, -0.0),
    "sigmoid": (NAN, 1.0, 0.0, 0.5, 0.5, 1.0, 0.0),
    "tanh": (NAN, 1.0, -1.0, 0.0, -0.0, 1.0, -1.0),
    "silu": (NAN, INF, NAN, 0.0, -0.0, MAX, -0.0),
    "hardsigmoid": (NAN, 1.0, 0.0, 0.5, 0.5, 1.0, 0.0),
    "hardswish": (NAN, INF, NAN, 0.0, -0.0, MAX, -0.0),
    "gelu": (NAN, INF, NAN, 0.0, -0.0, MAX, -0.0),
    "gelu_tanh": (NAN, INF, NAN, 0.0, -0.0, MAX, -0.0),
    "softplus": (NAN, INF, 0.0, "log 2", "log 2", MAX, 0.0),
    "mish": (NAN, INF, NAN, 0.0, -0.0, MAX, -0.0),
}


class TestSpecialValues:
    @pytest.mark.parametrize("activation", SPECIAL, ids=definitions.label)
    def test_nan_infinities_zeros_and_huge(self, activation, dtype):
        largest = np.finfo(dtype).max
        words = {MAX: largest, "-max": -largest, "-max/2": -largest / 2, "log 2": dtype.type(0.6931471805599453)}
        v = np.array([NAN, INF, -INF, 0.0, -0.0, largest, -largest], dtype)
        numbers = np.concatenate([v, np.ones(10, dtype)])  # 17 numbers: one more than a vector has lanes
        for shift in range(17):  # each number in every lane
            y = np.roll(apply(activation, np.roll(numbers, shift)), -shift)[:7]
            for given, got, wanted in zip(v, y, SPECIAL[activation], strict=True):
                if wanted is None:  # a maximum of two zeros, which may have either sign
                    assert got == 0
                else:
                    expected = np.array([words.get(wanted, wanted)], dtype)
                    np.testing.assert_array_equal(np.array([got]), expected, err_msg=f"activation of {given!r}")
                    if not np.isnan(expected[0]):
                        assert np.signbit(got) == np.signbit(expected[0]), f"sign of the activation of {given!r}"

    @each_activation
    def test_nan_stays_nan_in_every_lane_and_disturbs_no_other(self, activation, dtype, rng):
        v = definitions.points(rng, dtype, 30)[:67]
        plain = apply(activation, v)
        for at in range(67):
            spoilt = v.copy()
            spoilt[at] = NAN
            expected = plain.copy()
            expected[at] = NAN
            reference.assert_same_bits(apply(activation, spoilt), expected)

    @pytest.mark.parametrize("activation", ["tanh", "elu", "gelu", "silu", "leaky_relu", "mish", "hardswish"])
    def test_subnormals_are_not_flushed(self, activation, dtype):
        tiny = np.finfo(dtype).tiny
        v = np.array([tiny / 2, -tiny / 2, tiny / 1024, -tiny / 1024], dtype)
        y = apply(activation, v)
        assert (y != 0).all()
        assert (definitions.errors(activation, v, y) <= 1).all()

    def test_beyond_the_range_is_infinity(self, dtype):
        """A result beyond the range of its dtype is infinity."""
        largest = np.finfo(dtype).max
        y = apply(("leaky_relu", -2), np.array([-largest, largest], dtype))
        np.testing.assert_array_equal(y, np.array([INF, largest], dtype))


BITS = """
import hashlib
import definitions, numpy as np, pointwise as pw
for dtype in ("f4", "f8"):
    rng = np.random.default_rng(5)
    v = definitions.points(rng, dtype, 2000)
    v = np.concatenate([v, np.array([np.inf, -np.inf], dtype)])
    x, weight, bias = (rng.standard_normal(s).astype(dtype) for s in [(2, 19, 9, 15), (21, 19), 21])
    residual = rng.standard_normal((2, 21, 9, 15)).astype(dtype)
    none = np.zeros((v.size, 0), dtype)
    for activation in definitions.ACTIVATIONS:
        results = [
            pw.conv(np.zeros(0, dtype), none, v, layout="C", activation=activation),
            pw.conv(x, weight, bias, residual=residual, activation=activation),
        ]
        for y in results:
            y[np.isnan(y)] = 0  # the payloads of NaNs may differ
        print(activation, dtype, *(hashlib.sha256(y).hexdigest() for y in results))
"""


def test_avx2_and_avx512_give_the_same_bits(forked):
    isas = [isa for isa in ("avx2", "avx512") if isa in pw.show_config("dicts")["isas"]]
    if len(isas) < 2:
        pytest.skip(f"this CPU, or this build, has {' and '.join(isas) or 'neither'} only")
    if pw.isa() == "portable":
        pytest.skip("test runs with other instruction sets make this comparison")
    avx2, avx512 = (forked(BITS, POINTWISE_ISA=isa) for isa in isas)
    assert avx2.count("\n") + 1 == 2 * len(definitions.ACTIVATIONS)
    assert avx2 == avx512


class TestFloatingPointEnvironment:
    @pytest.mark.parametrize("threads", [1, 2])
    @pytest.mark.parametrize("state", [Mxcsr.FLUSH, Mxcsr.UP, 0x15])
    def test_the_callers_state_is_without_effect_and_stays(self, state, threads, rng):
        """Flushing, rounding mode and exception flags of the caller do not affect calls and are not changed."""
        v = definitions.points(rng, np.float32, 800)
        x, weight = np.concatenate([v, v])[None, None], np.ones((3, 1), np.float32)
        mxcsr = Mxcsr()
        before = mxcsr.get()
        with pw.num_threads(threads):
            for activation in definitions.ACTIVATIONS:
                layer = pw.Conv(weight, layout="NCW", activation=activation)
                expected, out = layer(x), np.empty((1, 3, x.size), np.float32)
                try:
                    mxcsr.set(Mxcsr.DEFAULT | state)
                    layer(x, None, out)
                    after = mxcsr.get()
                finally:
                    mxcsr.set(before)
                assert after == Mxcsr.DEFAULT | state
                reference.assert_same_bits(out, expected)

    def test_nothing_is_raised(self, rng):
        v = np.append(definitions.points(rng, np.float32, 100), np.array([INF, -INF, NAN], np.float32))
        with np.errstate(all="raise"):
            for activation in definitions.ACTIVATIONS:
                apply(activation, v)
                assert 1 / np.float64(3) > 0  # no exception is pending for the next operation
