"""Test layers with int8 weights: exact results of small integers, the bits of any numbers, and the error bound."""

import copy
import itertools
import pickle

import definitions
import numpy as np
import pointwise as pw
import pytest
import reference
import views

pytestmark = pytest.mark.kernels
canonical_only = pytest.mark.skipif(pw.isa() == "portable", reason="the portable kernels keep the bound, not the bits")

F = np.float32
SIZES = {"N": 2, "D": 2, "H": 3, "W": 11}


def shaped(layout, c, **sizes):
    return tuple(((SIZES | sizes) | {"C": c})[axis] for axis in layout)


def integer_weight(rng, c_out, per_group):
    """Return weights that int8 represents exactly: integers up to 127, times a power of two for each channel."""
    weight = rng.integers(-3, 4, (c_out, per_group)).astype(F)
    if per_group > 0:
        weight[np.arange(c_out), rng.integers(0, per_group, c_out)] = rng.choice([-127, 127], c_out)
    return weight * F(2) ** rng.integers(-3, 3, c_out).astype(F)[:, None]


def numbers(rng, shape):
    """Return numbers of several magnitudes, whose sums round in both directions."""
    return (rng.standard_normal(shape) * 2.0 ** rng.integers(-6, 7, shape)).astype(F)


def computed(x, weight, bias=None, *, residual=None, activation=None, **how):
    """Return the bits of a layer with int8 weights, by the definition."""
    quantized, scale = pw.quantize_weight(weight)
    layout = how.get("layout", "NCHW")
    acc = reference.channels_first(reference.canonical(x, quantized.astype(F), **how), layout)
    channels = (slice(None), None, None, None)
    start = np.zeros(len(weight), F) if bias is None else bias
    inside = reference.source(x, layout, how.get("stride", 1), how.get("padding", 0))[1]
    reads = inside & (weight.shape[1] > 0)
    y = np.where(reads, reference.fma(acc, scale[channels], start[channels]), start[channels])
    if residual is not None:
        y = y + reference.channels_first(residual, layout)
    return reference.in_layout(reference.relu(y) if activation else y, layout)


@pytest.mark.any_cpu
@pytest.mark.parametrize("layout", reference.LAYOUTS)
def test_every_layout(layout, rng):
    """Integers are exact, with bias, residual, input_scale, activation and every dtype of x and of results."""
    for c_in, c_out in ((1, 1), (3, 5), (20, 33)):
        weight, bias = integer_weight(rng, c_out, c_in), rng.integers(-9, 10, c_out).astype(F)
        for x_dtype, out_dtype in itertools.product(("float32", "uint8", "int16"), ("float32", "float16", "int8")):
            integers = out_dtype == "int8"
            if integers and x_dtype == "float32":
                continue
            x = rng.integers(0, 5, shaped(layout, c_in)).astype(x_dtype)
            scale = rng.integers(-2, 3, (2, c_in) if "N" in layout else (c_in,)).astype(F)
            value = reference.exact_value(reference.scaled(x.astype(F), scale, layout), weight, bias, layout=layout)
            residual = None if integers else rng.integers(-9, 10, value.shape).astype(out_dtype)
            value = np.maximum(value if integers else value + residual.astype(float), 0)
            expected = np.rint(value).clip(-128, 127).astype("int8") if integers else value.astype(F).astype(out_dtype)
            layer = pw.Conv(weight, bias, layout=layout, activation="relu", out_dtype=out_dtype, weight_dtype="int8")
            np.testing.assert_array_equal(layer(x, residual, input_scale=scale), expected)


@pytest.mark.parametrize("layout", ["NCW", "NWC"])
def test_remainders(layout, rng):
    """Counts of channels and pixels around vectors, tiles and panels, for the kernels of one and of several pixels."""
    x, bias = rng.integers(-4, 5, (1, 66, 146)).astype(F), rng.integers(-9, 10, 66).astype(F)
    for c_in in (1, 2, 15, 16, 17, 33, 66):
        weight = integer_weight(rng, 66, c_in)
        full = reference.exact_value(x[:, :c_in], weight, bias, layout="NCW").astype(F)
        for c_out in (1, 2, 8, 15, 16, 17, 24, 33, 49, 64, 66):
            layer = pw.Conv(weight[:c_out], bias[:c_out], layout=layout, weight_dtype="int8")
            for pixels in (1, 2, 3, 7, 8, 13, 16, 17, 31, 48, 65, 146):
                given, expected = x[:, :c_in, :pixels], full[:, :c_out, :pixels]
                if layout == "NWC":
                    given, expected = np.ascontiguousarray(given.transpose(0, 2, 1)), expected.transpose(0, 2, 1)
                np.testing.assert_array_equal(layer(given), expected, err_msg=f"{c_in} {c_out} {pixels}")


@canonical_only
@pytest.mark.parametrize("layout", ["NCW", "NWC"])
@pytest.mark.parametrize("c_in", [1, 2, 17, 255, 256, 257, 512, 513, 1601, 2100])
def test_the_bits_of_every_number_of_channels(layout, c_in, rng):
    for c_out, pixels in ((1, 1), (70, 2), (17, 5), (40, 13)) if c_in < 1000 else ((70, 1), (17, 3)):
        x, weight = numbers(rng, shaped(layout, c_in, W=pixels)), numbers(rng, (c_out, c_in))
        bias, residual = numbers(rng, c_out), numbers(rng, shaped(layout, c_out, W=pixels))
        layer = pw.Conv(weight, bias, layout=layout, weight_dtype="int8", activation="relu")
        expected = computed(x, weight, bias, layout=layout, residual=residual, activation=True)
        reference.assert_same_bits(layer(x, residual), expected)
        plain = pw.Conv(weight, layout=layout, weight_dtype="int8")
        reference.assert_same_bits(plain(x), computed(x, weight, layout=layout))


@canonical_only
@pytest.mark.parametrize("layout", reference.LAYOUTS)
@pytest.mark.parametrize("groups", [1, 2, 12])
def test_the_bits_of_every_layout(layout, groups, rng):
    x, weight, bias = numbers(rng, shaped(layout, 12)), numbers(rng, (24, 12 // groups)), numbers(rng, 24)
    for how in ({}, {"stride": 2, "padding": 1}, {"stride": 40, "padding": 3}):
        how = {"layout": layout, "groups": groups, **how}
        layer = pw.Conv(weight, bias, weight_dtype="int8", **how)
        reference.assert_same_bits(layer(x), computed(x, weight, bias, **how))


@canonical_only
def test_the_bits_of_threads_batches_and_chains(rng):
    x, weight = numbers(rng, (3, 300, 5, 7)), numbers(rng, (130, 300))
    first = pw.Conv(weight, numbers(rng, 130), weight_dtype="int8", activation="relu")
    second = pw.Conv(numbers(rng, (40, 130)), weight_dtype="int8", out_dtype="float16")
    expected = computed(x, weight, first.bias, activation=True)
    for threads in (1, 2, 3, 7):
        with pw.num_threads(threads):
            reference.assert_same_bits(first(x), expected)
            reference.assert_same_bits(first(x[1:2]), expected[1:2])
            reference.assert_same_bits(pw.Chain([first, second])(x), second(expected))
            reference.assert_same_bits(pw.Chain([second])(expected), second(expected))


@pytest.mark.parametrize("way", views.WAYS)
def test_every_view(way, rng):
    """All arrays are views. Nothing around `out` is written, also when it is the residual."""
    for layout, c_in, c_out in (("NCHW", 5, 17), ("NHWC", 17, 6), ("WC", 20, 40), ("NC", 33, 3), ("CDHW", 2, 3)):
        x, weight = rng.integers(-4, 5, shaped(layout, c_in)).astype(F), integer_weight(rng, c_out, c_in)
        bias, residual = (rng.integers(-9, 10, shape).astype(F) for shape in (c_out, shaped(layout, c_out)))
        expected = reference.exact_value(x, weight, bias, residual=residual, layout=layout).astype(F)
        layer = pw.Conv(views.put(way, weight), views.put(way, bias), layout=layout, weight_dtype="int8")
        out, base = views.empty(way, expected.shape, np.dtype(F))
        assert layer(views.put(way, x), views.put(way, residual), out) is out
        views.assert_wrote_only(way, base, expected + F(0))
        out[...] = residual
        layer(views.put(way, x), out, out)
        views.assert_wrote_only(way, base, expected + F(0))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("flush", [False, True])
def test_the_bound_of_the_notes(layout, flush, rng):
    """The documented bound, compared with sums in float64, for weights of very different sizes."""
    for c_in, pixels in ((7, 9), (300, 1), (700, 3)):
        x, weight = numbers(rng, shaped(layout, c_in, W=pixels)), numbers(rng, (19, c_in))
        weight *= F(10) ** rng.integers(-30, 30, 19).astype(F)[:, None]
        bias = numbers(rng, 19)
        layer = pw.Conv(weight, bias, layout=layout, weight_dtype="int8", flush_subnormals=flush)
        quantized, scale = pw.quantize_weight(weight)
        exact = quantized.astype(float) * scale.astype(float)[:, None]
        reference.assert_same_bits(layer.weight, exact.astype(F))
        assert (abs(exact - weight) <= scale[:, None] * (0.5 + 1e-4)).all()
        axis, k = layout.index("C"), -(-c_in // 256)
        x_last, u = np.moveaxis(x, axis, -1).astype(float), 2.0**-24
        n = min(c_in, 256) + k + 3
        bound = n * u / (1 - n * u) * (abs(x_last) @ abs(exact).T + abs(bias)) * (1 + 1e-6)
        tiny = float(np.finfo(F).tiny if flush else np.finfo(F).smallest_subnormal)
        bound += ((c_in + k) * np.maximum(scale.astype(float), 1) + 2) * tiny
        y = np.moveaxis(layer(x), axis, -1)
        assert (abs(y - (x_last @ exact.T + bias)) <= bound).all()


def test_special_numbers():
    """NaN and infinities go where IEEE says, also to weights of 0."""
    weight = np.array([[127, 0], [0, 127], [0, 0]], F)
    for layout, pixels in (("NC", 7), ("CW", 7), ("NC", 1)):
        x = np.ones((pixels, 2), F)
        x[0] = np.nan, np.inf
        layer = pw.Conv(weight, layout=layout, weight_dtype="int8")
        with np.errstate(invalid="ignore"):
            y = layer(x if layout == "NC" else x.T.copy())
        y = y if layout == "NC" else y.T
        assert np.isnan(y[0]).all()
        assert (y[1:] == [127, 127, 0]).all()


@pytest.mark.parametrize("shape", [(0, 5, 3, 3), (2, 0, 3, 3), (2, 5, 0, 3)])
def test_no_elements(shape):
    for c_out in (0, 3):
        bias = np.arange(c_out, dtype=F) - 1
        layer = pw.Conv(np.ones((c_out, shape[1]), F), bias, weight_dtype="int8", activation="relu")
        expected = np.broadcast_to(np.maximum(bias, 0)[:, None, None], (shape[0], c_out, *shape[2:]))
        np.testing.assert_array_equal(layer(np.ones(shape, F)), expected)
        reference.assert_same_bits(pickle.loads(pickle.dumps(layer)).weight, layer.weight)


@pytest.mark.parametrize("activation", [*definitions.ACTIVATIONS, ("prelu", (-1.0, 0.5, 2.0))])
def test_every_activation(activation, rng):
    """The activation is computed from the sum as in a float32 layer."""
    x, weight = rng.integers(-4, 5, (2, 5, 4, 9)).astype(F), integer_weight(rng, 3, 5) / 32
    for layout, given in (("NCHW", x), ("NHWC", np.ascontiguousarray(x.transpose(0, 2, 3, 1)))):
        how = {"layout": layout, "activation": activation}
        reference.assert_same_bits(pw.Conv(weight, weight_dtype="int8", **how)(given), pw.Conv(weight, **how)(given))


class Named(pw.Conv):
    pass


def test_copies_keep_the_weights(rng):
    """Quantizing the float32 weights again could change a scale. So copies and pickles keep the int8 weights."""
    weight, bias, x = numbers(rng, (300, 12)), numbers(rng, 300), numbers(rng, (1, 24, 3, 5))
    layer = Named(weight, bias, groups=2, weight_dtype="int8", out_dtype="float16", flush_subnormals=True)
    copies = [copy.copy(layer), copy.deepcopy(layer)]
    copies += [pickle.loads(pickle.dumps(layer, protocol)) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    for other in copies:
        assert type(other) is Named
        assert repr(other) == repr(layer)
        reference.assert_same_bits(other.weight, layer.weight)
        reference.assert_same_bits(other(x), layer(x))
    assert len(pickle.dumps(layer)) < weight.nbytes / 2 + 2 * bias.nbytes + 2000


def test_a_pair_of_weights_and_scales(rng):
    weight, x = numbers(rng, (7, 12)), numbers(rng, (2, 12))
    layer = pw.Conv(weight, layout="NC", weight_dtype="int8")
    for pair in (pw.quantize_weight(weight), pw.quantize_weight(weight[:, :, None, None])):
        reference.assert_same_bits(pw.Conv(pair, layout="NC", weight_dtype="int8")(x), layer(x))
    quantized, scale = pw.quantize_weight(weight, per_channel=False)
    one = pw.Conv((quantized, scale), layout="NC", weight_dtype=np.int8)
    reference.assert_same_bits(one.weight, quantized * scale)
    lowest = pw.Conv((np.full((1, 3), -128, np.int8), [2]), layout="NC", weight_dtype="int8")
    assert (lowest(np.ones((1, 3), F)) == -768).all()


def test_from_batchnorm(rng):
    weight, statistics = numbers(rng, (5, 4)), {"mean": np.ones(5), "variance": np.full(5, 3.0)}
    folded, bias = pw.fold_batchnorm(weight, **statistics)
    layer = pw.Conv.from_batchnorm(weight, **statistics, weight_dtype="int8")
    reference.assert_same_bits(layer.weight, pw.Conv(folded, weight_dtype="int8").weight)
    reference.assert_same_bits(layer.bias, bias)


def test_tuning_changes_no_bit(rng):
    layer = pw.Conv(numbers(rng, (40, 300)), weight_dtype="int8")
    for shape in ((1, 300, 1, 1), (1, 300, 5, 5)):
        x = numbers(rng, shape)
        before = layer(x)
        assert layer.tune(shape, seconds=0.01) >= 1
        assert "tuned" in layer.explain(shape)
        reference.assert_same_bits(layer(x), before)
        reference.assert_same_bits(pickle.loads(pickle.dumps(layer))(x), before)
