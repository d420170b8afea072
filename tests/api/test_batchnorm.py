"""Test batch normalizations that are folded into a convolution."""

import inspect
import math
import pickle
import pydoc
from decimal import Decimal, localcontext

import hypothesis.strategies as st
import numpy as np
import pointwise as pw
import pytest
import reference
from hypothesis import given
from junk import DOCUMENTED, documented, junk, odd_arrays, swapped

F = np.float32
w0, b0 = np.ones((4, 6), F), np.ones(4, F)
good = {"weight": w0, "bias": b0, "mean": b0, "variance": b0, "gamma": b0, "beta": b0, "eps": 1e-5}
NAMES = ("bias", "mean", "variance", "gamma", "beta")  # arguments with one number for each output channel


def fold(weight, bias, mean, variance, gamma=None, beta=None, eps=1e-5):
    return pw.fold_batchnorm(weight, bias, mean=mean, variance=variance, gamma=gamma, beta=beta, eps=eps)


def folded_layer(weight, bias, mean, variance, gamma=None, beta=None, eps=1e-5, **how):
    statistics = {"mean": mean, "variance": variance, "gamma": gamma, "beta": beta, "eps": eps}
    return pw.Conv.from_batchnorm(weight, bias, **statistics, **how)


def drawn(rng, c_out, dtype="float64"):
    """Return random bias, mean, variance, gamma and beta, as in a network. gamma has numbers of both signs."""
    bias, mean, gamma, beta = rng.standard_normal((4, c_out))
    return [a.astype(dtype) for a in (bias, mean, rng.uniform(0.01, 4, c_out), gamma, beta)]


def normalized(x, weight, bias, mean, variance, gamma, beta, eps, **how):
    """Return convolution and normalization in a wider type, and the bound of the folded convolution.

    The layout must begin with NC. In float64 a folded weight has 4 roundings: sum, square root, quotient and product. A
    folded bias has 6 roundings. In float32, a folded weight and a folded bias have one rounding to float32 each. All
    their roundings in float64 together are smaller than this rounding. The sum of the convolution has C + 2 roundings.
    """
    zeros = np.zeros(len(weight), x.dtype)
    value, _ = reference.exact(x, weight, zeros if bias is None else bias, **how)
    magnitude, _ = reference.exact(abs(x), abs(weight), None if bias is None else abs(bias), **how)
    wide = value.dtype.type
    channels = (slice(None),) + (None,) * (x.ndim - 2)
    mean, variance, gamma, beta = (a.astype(wide)[channels] for a in (mean, variance, gamma, beta))
    scale = gamma / np.sqrt(variance + wide(eps))
    magnitude = abs(scale) * (magnitude + abs(mean)) + abs(beta)
    terms = weight.shape[1] + 2 + (6 if x.dtype == np.float64 else 2)
    nu = terms * wide(np.finfo(x.dtype).eps) / 2
    own = terms * np.finfo(wide).eps  # rounding errors of the wider type
    return scale * (value - mean) + beta, (nu / (1 - nu) + own) * magnitude


class TestAgainstTheComposition:
    @pytest.mark.parametrize("bias", [True, False])
    @pytest.mark.parametrize(
        ("x_shape", "c_out", "how"),
        [
            ((2, 33, 5, 7), 20, {}),
            ((1, 300, 3, 3), 70, {}),
            ((2, 12, 5, 6), 18, {"groups": 3}),
            ((2, 6, 5, 6), 4, {"stride": (2, 1), "padding": (0, 2)}),
            ((3, 8, 11), 8, {"groups": 8, "layout": "NCW", "padding": 1}),
            ((5, 17), 9, {"layout": "NC"}),
        ],
    )
    def test_within_the_bound(self, x_shape, c_out, how, bias, dtype, rng):
        x = rng.standard_normal(x_shape).astype(dtype)
        weight = rng.standard_normal((c_out, x_shape[1] // how.get("groups", 1))).astype(dtype)
        b, *statistics = drawn(rng, c_out, dtype)
        b = b if bias else None
        value, bound = normalized(x, weight, b, *statistics, 1e-3, **how)
        folded = fold(weight, b, *statistics, eps=1e-3)
        reference.assert_within_bound(pw.conv(x, *folded, **how), value, bound)
        for activation in (None, "relu"):
            layer = folded_layer(weight, b, *statistics, eps=1e-3, activation=activation, **how)
            reference.assert_within_bound(layer(x), value, bound, activation)

    def test_eps_is_what_the_frameworks_default_to(self, rng):
        b, mean, variance, *_ = drawn(rng, 4)
        weight = rng.standard_normal((4, 6))
        for folded, expected in zip(
            pw.fold_batchnorm(weight, b, mean=mean, variance=variance),
            pw.fold_batchnorm(weight, b, mean=mean, variance=variance, eps=1e-5),
            strict=True,
        ):
            reference.assert_same_bits(folded, expected)

    def test_a_residual_is_added_after_the_normalization(self, integers):
        x, weight, residual = integers((1, 3, 4, 4)), integers((2, 3)), integers((1, 2, 4, 4))
        layer = folded_layer(weight, None, [1, 2], [4, 1], [8, 2], [3, -1], 0, activation="relu")
        convolved = reference.exact_value(x, weight)
        scale, mean, beta = (np.array(a)[:, None, None] for a in ([4, 2], [1, 2], [3, -1]))
        expected = np.maximum(scale * (convolved - mean) + beta + residual, 0)
        np.testing.assert_array_equal(layer(x, residual), expected)


class TestExactly:
    """Folding adds no error if its steps are exact, as with powers of two."""

    @pytest.mark.parametrize("groups", [1, 2])
    @pytest.mark.parametrize("how", [{}, {"stride": 2, "padding": 1}])
    def test_powers_of_two(self, how, groups, dtype, rng, integers):
        x, weight, bias = integers((2, 6, 5, 4), dtype), integers((8, 6 // groups), dtype), integers(8, dtype)
        mean, beta = integers(8, dtype), integers(8, dtype)
        root, gamma = np.exp2(rng.integers(-3, 4, (2, 8)))
        gamma[::3] *= -1
        folded = fold(weight, bias, mean, root**2, gamma, beta, 0)
        scale = gamma / root
        np.testing.assert_array_equal(folded[0], weight * scale[:, None])
        np.testing.assert_array_equal(folded[1], (bias - mean) * scale + beta)
        value = reference.exact_value(x, weight, bias, groups=groups, **how)
        scale, mean, beta = (a[:, None, None] for a in (scale, mean, beta))
        layer = folded_layer(weight, bias, mean.ravel(), root**2, gamma, beta.ravel(), 0, groups=groups, **how)
        np.testing.assert_array_equal(layer(x), scale * (value - mean) + beta)

    def test_eps_is_added_to_the_variance(self):
        weight, bias = fold([[8.0]], [1.0], [3.0], [15.0], eps=1)
        assert (weight.tolist(), bias.tolist()) == ([[2.0]], [-0.5])
        weight, bias = fold([[8.0]], None, [1.0], [-12.0], eps=16)  # variance + eps is above 0
        assert (weight.tolist(), bias.tolist()) == ([[4.0]], [-0.5])

    def test_layer_scale(self, dtype, rng):
        weight, bias, scale = (rng.standard_normal(s).astype(dtype) for s in ((9, 5), 9, 9))
        weight[0, 0], bias[0], bias[1] = -0.0, -0.0, 0.0
        scale[:3] = abs(scale[:3])
        scale[3], scale[4] = np.finfo(dtype).tiny, np.finfo(dtype).smallest_subnormal  # subnormal products
        folded = fold(weight, bias, np.zeros(9), np.ones(9), gamma=scale, eps=0)
        reference.assert_same_bits(folded[0], weight * scale[:, None])
        reference.assert_same_bits(folded[1], bias * scale)
        layer = folded_layer(weight, bias, np.zeros(9), np.ones(9), scale, eps=0)
        reference.assert_same_bits(layer.weight, weight * scale[:, None])
        reference.assert_same_bits(layer.bias, bias * scale)

    def test_layer_scale_beyond_the_range_is_infinite_without_a_warning(self):
        weight, scale = np.full((2, 1), 3e38, F), np.array([1e3, -1e3], F)
        with np.errstate(all="raise"):
            folded, bias = fold(weight, weight[:, 0], np.zeros(2), np.ones(2), scale, eps=0)
        np.testing.assert_array_equal(folded, [[np.inf], [-np.inf]])
        np.testing.assert_array_equal(bias, [np.inf, -np.inf])

    def test_nothing_to_normalize(self, dtype, rng):
        weight, bias = rng.standard_normal((3, 2)).astype(dtype), rng.standard_normal(3).astype(dtype)
        folded = fold(weight, bias, np.zeros(3), np.ones(3), eps=0)
        reference.assert_same_bits(folded[0], weight)
        reference.assert_same_bits(folded[1], bias)
        for mine, given_ in zip(folded, (weight, bias), strict=True):
            assert not np.shares_memory(mine, given_)


class TestRounding:
    values = st.floats(-1e6, 1e6, width=32).map(lambda v: 0.0 if abs(v) < 1e-6 else v)
    positive = st.floats(2**-20, 1e6, width=32)

    @given(values, values, values, positive, values, values, st.sampled_from([0.0, 1e-5, 1e-3]))
    def test_one_rounding_to_float32(self, weight, bias, mean, variance, gamma, beta, eps):
        """A folded number is off by at most half a unit in the last place of float32, plus a few units of float64."""
        arrays = (np.array([[weight]], F), *(np.array([a], F) for a in (bias, mean, variance, gamma, beta)))
        folded = [Decimal(float(a.ravel()[0])) for a in fold(*arrays, eps)]
        w, b, m, v, g, s = (Decimal(float(a.ravel()[0])) for a in arrays)
        with localcontext() as context:
            context.prec = 60
            scale = g / (v + Decimal(eps)).sqrt()
            value = [w * scale, (b - m) * scale + s]
            magnitude = [abs(w * scale), (abs(b) + abs(m)) * abs(scale) + abs(s)]
            half, few = Decimal(2) ** -24, 8 * Decimal(2) ** -53
            for mine, exactly, most in zip(folded, value, magnitude, strict=True):
                assert abs(mine - exactly) <= half * abs(exactly) + few * most + Decimal(2) ** -149

    def test_a_wider_dtype_has_no_rounding_to_the_weights(self, rng):
        weight, (bias, *statistics) = rng.standard_normal((7, 5)).astype(F), drawn(rng, 7)
        layer = folded_layer(weight, bias, *statistics, dtype="float64")
        folded = fold(weight.astype(np.float64), bias, *statistics)
        reference.assert_same_bits(layer.weight, folded[0])
        reference.assert_same_bits(layer.bias, folded[1])
        assert (layer.weight.astype(F) != layer.weight).any()

    def test_a_narrower_dtype_is_rounded_to_at_the_end(self, rng):
        weight, (bias, *statistics) = rng.standard_normal((7, 50)), drawn(rng, 7)
        layer = folded_layer(weight, bias, *statistics, dtype="float32")
        folded = fold(weight, bias, *statistics)
        assert layer.dtype == np.float32
        reference.assert_same_bits(layer.weight, folded[0].astype(F))
        reference.assert_same_bits(layer.bias, folded[1].astype(F))
        early = fold(weight.astype(F), bias, *statistics)[0]
        assert (early != layer.weight).any()

    def test_statistics_are_not_rounded_to_the_weights_dtype(self, rng):
        weight, (bias, *statistics) = rng.standard_normal((50, 7)).astype(F), drawn(rng, 50)
        folded = fold(weight, bias, *statistics)
        exact = fold(weight.astype(np.float64), bias, *statistics)
        early = fold(weight, bias.astype(F), *(a.astype(F) for a in statistics))
        for i in range(2):
            reference.assert_same_bits(folded[i], exact[i].astype(F))
            assert (early[i] != folded[i]).any()


class TestArrays:
    @pytest.mark.parametrize("ones", [(), (1,), (1, 1), (1, 1, 1)])
    def test_further_axes_of_the_weight_are_kept(self, ones, dtype, rng):
        weight, (bias, *statistics) = rng.standard_normal((4, 3)).astype(dtype), drawn(rng, 4)
        folded = fold(weight.reshape(4, 3, *ones), bias, *statistics)
        assert folded[0].shape == (4, 3, *ones)
        assert folded[1].shape == (4,)
        plain = fold(weight, bias, *statistics)
        reference.assert_same_bits(folded[0].reshape(4, 3), plain[0])
        layer = folded_layer(weight.reshape(4, 3, *ones), bias, *statistics)
        reference.assert_same_bits(layer.weight, plain[0])

    def test_without_bias_gamma_and_beta_is_with_zeros_and_ones(self, dtype, rng):
        weight, (bias, mean, variance, gamma, beta) = rng.standard_normal((4, 3)).astype(dtype), drawn(rng, 4)
        zeros, ones = np.zeros(4), np.ones(4)
        for given_, filled in (
            ((None, mean, variance, gamma, beta), (zeros, mean, variance, gamma, beta)),
            ((bias, mean, variance, None, beta), (bias, mean, variance, ones, beta)),
            ((bias, mean, variance, gamma), (bias, mean, variance, gamma, zeros)),
            ((None, mean, variance), (zeros, mean, variance, ones, zeros)),
        ):
            for mine, expected in zip(fold(weight, *given_), fold(weight, *filled), strict=True):
                reference.assert_same_bits(mine, expected)

    def test_new_plain_arrays_and_the_given_ones_untouched(self, dtype, rng):
        """Folding accepts read-only arrays with any strides, leaves its arguments unchanged, and returns new arrays."""
        arrays = [rng.standard_normal((3, 4)).astype(dtype).T, *(np.repeat(a, 2)[::-2] for a in drawn(rng, 4, dtype))]
        copies = [a.copy() for a in arrays]
        for a in arrays:
            a.flags.writeable = False
        folded = fold(*arrays)
        expected = fold(*copies)
        for mine, other in zip(folded, expected, strict=True):
            reference.assert_same_bits(mine, other)
            assert type(mine) is np.ndarray
            assert mine.dtype == dtype
            assert mine.flags.c_contiguous
            assert mine.flags.writeable
            assert not any(np.shares_memory(mine, a) for a in arrays)
        for a, copy in zip(arrays, copies, strict=True):
            reference.assert_same_bits(a, copy)

    def test_whatever_asarray_takes(self):
        class Wrapped:
            def __array__(self, dtype=None, copy=None):
                return np.array([4, 1], np.int16)

        weight, bias = fold([[8.0], [2.0]], (1, 0), [0, 1], Wrapped(), [True, True], range(2), np.array(0))
        assert (weight.tolist(), bias.tolist()) == ([[4.0], [2.0]], [0.5, 0.0])

    def test_no_channels(self, dtype):
        weight, bias = fold(np.ones((0, 3, 1), dtype), None, [], [])
        assert (weight.shape, bias.shape, weight.dtype, bias.dtype) == ((0, 3, 1), (0,), dtype, dtype)
        weight, bias = fold(np.ones((2, 0), dtype), [1, 1], [0, 0], [1, 1], eps=0)
        assert (weight.shape, bias.tolist()) == ((2, 0), [1, 1])

    def test_what_is_not_finite_goes_where_ieee_says(self, dtype):
        inf, nan = np.inf, np.nan
        weight = np.array([[1, nan, inf]] * 5, dtype)
        with np.errstate(all="raise"):
            folded, bias = fold(
                weight, None, [0, 1, 1, nan, 0], [nan, inf, 4, 1, 1], [1, 1, inf, 1, nan], [1, 2, 3, 4, 5], 0
            )
        np.testing.assert_array_equal(
            folded, [[nan, nan, nan], [0, nan, nan], [inf, nan, inf], [1, nan, inf], [nan, nan, nan]]
        )
        np.testing.assert_array_equal(bias, [nan, 2, -inf, nan, nan])


class TestTheLayer:
    def test_arguments_are_the_layers(self, rng):
        how = {"layout": "NHWC", "stride": (2, 1), "padding": 1, "groups": 2, "activation": "relu"}
        layer = folded_layer(rng.standard_normal((4, 3)).astype(F), *drawn(rng, 4), **how)
        assert type(layer) is pw.Conv
        assert layer.dtype == np.float32
        for name, value in how.items():
            assert getattr(layer, name) == value
        again = pickle.loads(pickle.dumps(layer))
        reference.assert_same_bits(again.weight, layer.weight)
        reference.assert_same_bits(again.bias, layer.bias)

    def test_subclasses(self):
        class Named(pw.Conv):
            def __new__(cls, weight, bias=None, *, dtype="float32", **how):
                return super().__new__(cls, weight, bias, dtype=dtype, **how)

        layer = Named.from_batchnorm(np.eye(2), mean=[0, 0], variance=[4, 1], eps=0, layout="C")
        assert type(layer) is Named
        assert layer.dtype == np.float64  # the weight's dtype, because from_batchnorm passes None
        assert layer(np.array([2.0, 3.0])).tolist() == [1, 3]

    def test_integers_and_half_precision_with_a_dtype(self):
        for given_ in (np.int64, np.float16):
            layer = folded_layer(np.eye(2, dtype=given_), None, [0, 0], [4, 1], eps=0, dtype="float32")
            assert layer.dtype == np.float32
            assert layer.weight.tolist() == [[0.5, 0], [0, 1]]

    @pytest.mark.parametrize(
        ("name", "value", "exception", "message"),
        [
            ("groups", 3, ValueError, r"\bgroups must divide the 4 output channels, got 3"),
            ("layout", "nchv", ValueError, r"\blayout must be one of"),
            ("stride", 0, ValueError, r"\bstride must be at least 1, got 0"),
            ("padding", -1, ValueError, r"\bpadding must be at least 0, got -1"),
            ("activation", "rule", ValueError, r"\bactivation must be"),
            ("dtype", "int8", TypeError, r"\bdtype must be float32, float64, float16 or bfloat16, got int8"),
        ],
    )
    def test_errors(self, name, value, exception, message):
        with pytest.raises(exception, match=message):
            pw.Conv.from_batchnorm(**good, **{name: value})

    def test_signatures(self):
        folded = "weight, bias=None, *, mean, variance, gamma=None, beta=None, eps=1e-05"
        how = "layout='NCHW', stride=1, padding=0, groups=1, activation=None, dtype=None"
        how += ", out_dtype=None, flush_subnormals=False, weight_dtype=None"
        for function, text in ((pw.fold_batchnorm, folded), (pw.Conv.from_batchnorm, f"{folded}, {how}")):
            parameters = inspect.signature(function).parameters.values()
            plain = inspect.Signature([p.replace(annotation=inspect.Parameter.empty) for p in parameters])
            assert str(plain) == f"({text})"
            assert "Parameters" in pydoc.plain(pydoc.render_doc(function))

    @pytest.mark.parametrize("shape", [(4, 6, 3), (4, 6, 1, 0), (4, 6, 3, 3)])
    def test_a_larger_kernel_is_refused(self, shape):
        with pytest.raises(ValueError, match=r"\bweight must have shape .*length 1, got \(4, 6, "):
            pw.Conv.from_batchnorm(**(good | {"weight": np.ones(shape, F)}))


class TestByName:
    """The statistics are keyword-only. The message for a call by position gives the keywords."""

    @pytest.mark.parametrize("make", [pw.fold_batchnorm, pw.Conv.from_batchnorm])
    @pytest.mark.parametrize("count", [1, 2, 5])
    def test_by_position(self, make, count):
        values = list(good.values())
        remedy = ", ".join(f"{name}={name}" for name in ("mean", "variance", "gamma", "beta", "eps")[:count])
        name = make.__qualname__.replace(".", r"\.")
        message = rf"^{name} takes only weight and bias by position, got {count} more: pass {remedy}$"
        with pytest.raises(TypeError, match=message):
            make(*values[: 2 + count])
        namespace = {"make": make, **good}  # the remedy is code that runs
        eval(f"make(weight, bias, {remedy}{'' if count > 1 else ', variance=variance'})", namespace)

    def test_the_names_that_are_given_are_no_remedy(self):
        with pytest.raises(TypeError, match=r"got 1 more: pass mean=mean$"):
            pw.fold_batchnorm(w0, b0, b0, variance=b0)
        with pytest.raises(TypeError, match=r"got 1 more$"):
            pw.fold_batchnorm(w0, b0, b0, mean=b0, variance=b0)

    @pytest.mark.parametrize("make", [pw.fold_batchnorm, pw.Conv.from_batchnorm])
    def test_missing(self, make):
        with pytest.raises(TypeError, match=r"'mean' and 'variance'"):
            make(w0, b0)
        with pytest.raises(TypeError, match=r"'variance'"):
            make(w0, mean=b0)

    def test_bias_is_optional(self):
        weight, bias = pw.fold_batchnorm([[2.0]], mean=[1], variance=[4], eps=0)
        assert (weight.tolist(), bias.tolist()) == ([[1.0]], [-0.5])
        assert pw.Conv.from_batchnorm([[2.0]], mean=[1], variance=[4], eps=0).bias.tolist() == [-0.5]


class TestKernelsOfAnySize:
    """Each output channel is scaled, whatever the axes of the kernel."""

    @pytest.mark.parametrize("taps", [(3,), (3, 3), (1, 7), (2, 3, 4), (3, 0), (0,), (2, 1, 3, 2, 2)])
    @pytest.mark.parametrize("per_group", [1, 3])  # 1: depthwise
    def test_bits_of_the_flat_weight(self, per_group, taps, dtype, rng):
        weight, (bias, *statistics) = rng.standard_normal((6, per_group, *taps)).astype(dtype), drawn(rng, 6)
        folded = fold(weight, bias, *statistics)
        flat = fold(weight.reshape(6, math.prod(weight.shape[1:])), bias, *statistics)
        assert folded[0].shape == weight.shape
        assert folded[0].dtype == dtype
        reference.assert_same_bits(folded[0].reshape(flat[0].shape), flat[0])
        reference.assert_same_bits(folded[1], flat[1])

    @pytest.mark.parametrize("groups", [1, 2, 4])
    def test_convolution_with_a_3x3_kernel(self, groups, rng):
        """The folded convolution equals the normalized one. Both are sums over the taps of shifted images."""
        x = rng.standard_normal((2, 4, 6, 5))
        weight, (bias, *statistics) = rng.standard_normal((8, 4 // groups, 3, 3)), drawn(rng, 8)

        def convolved(weight, bias):
            taps = [(i, j) for i in range(3) for j in range(3)]
            parts = (pw.conv(x[:, :, i : i + 4, j : j + 3], weight[:, :, i, j].copy(), groups=groups) for i, j in taps)
            return sum(parts) + bias[:, None, None]

        mean, variance, gamma, beta = (a[:, None, None] for a in statistics)
        expected = gamma * (convolved(weight, bias) - mean) / np.sqrt(variance + 1e-5) + beta
        np.testing.assert_allclose(convolved(*fold(weight, bias, *statistics)), expected, rtol=1e-12, atol=1e-10)


ERRORS = [
    ("weight", np.ones(4, F), ValueError, r"\bweight must have shape \(output channels, input .*, got \(4,\)"),
    ("weight", np.ones((), F), ValueError, r"\bweight must have shape .*got \(\)"),
    (
        "weight",
        np.ones((4, 6), int),
        TypeError,
        r"\bweight must be float32, float64, float16 or bfloat16, got int64: pass weight\.astype",
    ),
    (
        "weight",
        np.ones((4, 6), complex),
        TypeError,
        r"\bweight must be float32, float64, float16 or bfloat16, got complex128",
    ),
    (
        "weight",
        np.ones((4, 6), object),
        TypeError,
        r"\bweight must be float32, float64, float16 or bfloat16, got object",
    ),
    ("weight", None, TypeError, r"\bweight must be float32, float64, float16 or bfloat16, got object"),
    ("weight", np.ma.ones((4, 6), F), TypeError, r"\bweight must .*MaskedArray.*weight\.filled"),
    ("weight", swapped(w0), TypeError, r"\bweight must .*native byte order.*>f4.*weight\.astype"),
    ("weight", [[1.0, 2.0], [3.0]], ValueError, r"\bweight\b"),
    *((name, np.ones(3), ValueError, rf"\b{name} must have shape \(4,\), .*got \(3,\)") for name in NAMES),
    *((name, np.ones((4, 1)), ValueError, rf"\b{name} must have shape \(4,\), .*got \(4, 1\)") for name in NAMES),
    *((name, 1.0, ValueError, rf"\b{name} must have shape \(4,\), .*output channel, got \(\)") for name in NAMES),
    *((name, np.ones(4, complex), TypeError, rf"\b{name} must .*float64.*got complex128") for name in NAMES),
    *((name, np.ones(4, "M8[s]"), TypeError, rf"\b{name} must .*float64.*got datetime64") for name in NAMES),
    *((name, ["1"] * 4, TypeError, rf"\b{name} must .*float64.*got <U1") for name in NAMES),
    *((name, np.ma.ones(4), TypeError, rf"\b{name} must .*MaskedArray.*{name}\.filled") for name in NAMES),
    *((name, swapped(b0), TypeError, rf"\b{name} must .*native byte order.*{name}\.astype") for name in NAMES),
    *((name, [[1.0], [2.0, 3.0]], ValueError, rf"\b{name}\b") for name in NAMES),
    ("mean", None, TypeError, r"\bmean must .*float64.*got object"),
    ("variance", None, TypeError, r"\bvariance must .*float64.*got object"),
    (
        "variance",
        [1, 1, -1, -2],
        ValueError,
        r"\bvariance \+ eps must be above 0, got -1\.0 \+ 1e-05 for output channel 2",
    ),
    ("variance", [1, 1, 1, -1e-5], ValueError, r"\bvariance \+ eps must be above 0, got -1e-05 \+ 1e-05 .*channel 3"),
    ("variance", [np.nan, -np.inf, 1, 1], ValueError, r"\bvariance \+ eps must be above 0, got -inf .*channel 1"),
    ("eps", -1e-9, ValueError, r"\beps must be finite and at least 0, got -1e-09"),
    ("eps", np.inf, ValueError, r"\beps must be finite and at least 0, got inf"),
    ("eps", np.nan, ValueError, r"\beps must be finite and at least 0, got nan"),
    ("eps", [1e-5], ValueError, r"\beps must be one number, got shape \(1,\)"),
    ("eps", "1e-5", TypeError, r"\beps must .*float64.*got <U4"),
    ("eps", 1e-5j, TypeError, r"\beps must .*float64.*got complex128"),
    ("eps", None, TypeError, r"\beps must .*float64.*got object"),
    ("eps", np.ma.masked, TypeError, r"\beps must .*MaskedArray"),
]


@pytest.mark.parametrize("make", [pw.fold_batchnorm, pw.Conv.from_batchnorm], ids=["fold", "layer"])
@pytest.mark.parametrize(
    ("name", "value", "exception", "message"), [pytest.param(*c, id=f"{c[0]}-{i}") for i, c in enumerate(ERRORS)]
)
def test_errors(make, name, value, exception, message):
    with pytest.raises(exception, match=message) as caught:
        make(**(good | {name: value}))
    assert type(caught.value) is exception


def test_a_variance_of_zero_needs_eps():
    with pytest.raises(ValueError, match=r"\bvariance \+ eps must be above 0, got 0\.0 \+ 0\.0 for output channel 0"):
        pw.fold_batchnorm(**(good | {"variance": np.zeros(4), "eps": 0}))
    assert np.isfinite(pw.fold_batchnorm(**(good | {"variance": np.zeros(4)}))[0]).all()


def test_a_weight_of_no_real_numbers_with_a_dtype():
    for dtype, text in ((complex, "complex128"), (object, "object"), ("U1", "<U1"), ("M8[s]", "datetime64")):
        with pytest.raises(TypeError, match=rf"\bweight must .*got {text}"):
            pw.Conv.from_batchnorm(**(good | {"weight": np.ones((4, 6), dtype)}), dtype="float32")


@given(st.sampled_from([*good]), junk | odd_arrays)
def test_junk(name, value):
    try:
        weight, bias = pw.fold_batchnorm(**(good | {name: value}))
    except DOCUMENTED as error:
        documented(error)
    else:
        assert weight.dtype == bias.dtype
        assert bias.shape == weight.shape[:1]
