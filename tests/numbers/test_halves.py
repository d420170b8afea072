"""Test float16 and bfloat16 arrays: exact results of small integers in every layout, view, epilogue and dtype."""

import itertools

import definitions
import ml_dtypes
import numpy as np
import pointwise as pw
import pytest
import reference
import views

pytestmark = pytest.mark.kernels

F = np.float32
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
DTYPES = ("float32", "float16", "bfloat16")  # of results
INTEGERS = ("uint8", "int8", "uint16", "int16")
# Dtypes of x and of results that go together: integer results need integer x.
PAIRS = [*itertools.product((*DTYPES, *INTEGERS), DTYPES), *itertools.product(INTEGERS, INTEGERS)]
SIZES = {"N": 2, "D": 2, "H": 3, "W": 11}


def numbers(rng, shape, dtype, most=4):
    """Return small integers, which every dtype holds."""
    least = 0 if np.dtype(dtype).kind == "u" else -most
    return rng.integers(least, most + 1, shape).astype(dtype)


def shaped(layout, c, **sizes):
    return tuple(((SIZES | sizes) | {"C": c})[axis] for axis in layout)


class Case:
    """Small integers for a convolution. Their sums are exact in float32, in every order."""

    def __init__(
        self, rng, layout, x_dtype, c_in, c_out, out_dtype=None, *, residual=True, scale=False, sizes=None, **how
    ):
        self.how = {"layout": layout, **how}
        self.activation = self.how.pop("activation", None)
        dtype = np.dtype(F) if np.dtype(x_dtype).kind in "iu" else np.dtype(x_dtype)
        self.out_dtype = np.dtype(out_dtype or dtype)
        self.x = numbers(rng, shaped(layout, c_in, **(sizes or {})), x_dtype)
        self.weight = numbers(rng, (c_out, c_in // how.get("groups", 1)), dtype, 3)
        self.bias = numbers(rng, c_out, F, 300)
        self.scale = numbers(rng, [self.x.shape[layout.index(axis)] for axis in "NC" if axis in layout], dtype, 2)
        self.scale = self.scale if scale else None
        x = self.x.astype(dtype) if self.scale is None else reference.scaled(self.x.astype(dtype), self.scale, layout)
        total = reference.exact_value(x, self.weight, self.bias, **self.how)
        self.residual = numbers(rng, total.shape, self.out_dtype, 9) if residual else None
        total = total if self.residual is None else total + self.residual.astype(float)
        if self.activation is not None:
            total = definitions.computed(self.activation, total, F, axis=layout.index("C"))
        self.y = self.converted(total)
        self.options = self.how | {"activation": self.activation}

    def converted(self, total):
        if self.out_dtype.kind not in "iu":
            return reference.rounded(total.astype(F), self.out_dtype)
        limits = np.iinfo(self.out_dtype)
        return np.rint(total).clip(limits.min, limits.max).astype(self.out_dtype)

    def layer(self, **more):
        return pw.Conv(self.weight, self.bias, **(self.options | more))

    def conv(self, **more):
        given = {"x": self.x, "weight": self.weight, "bias": self.bias}
        given |= {"residual": self.residual, "input_scale": self.scale}
        return pw.conv(**(given | self.options | more))

    def check(self):
        """Check `conv` and a layer, each with and without `out`."""
        layer, given = self.layer(out_dtype=self.out_dtype), {"input_scale": self.scale}
        for y in (
            self.conv(out_dtype=self.out_dtype),
            self.conv(out=np.zeros(self.y.shape, self.out_dtype)),
            layer(self.x, self.residual, **given),
            self.layer()(self.x, self.residual, np.zeros(self.y.shape, self.out_dtype), **given),
        ):
            reference.assert_same_bits(y + y.dtype.type(0), self.y + y.dtype.type(0))


@pytest.mark.any_cpu
@pytest.mark.parametrize("layout", reference.LAYOUTS)
def test_every_layout(layout, half, rng):
    for c_in, c_out in ((1, 1), (3, 5), (20, 33)):
        Case(rng, layout, half, c_in, c_out).check()
        Case(rng, layout, half, c_in, c_out, "float32", residual=False, scale=True).check()


@pytest.mark.parametrize("layout", ["NCW", "NWC"])
def test_remainders(layout, half, rng):
    """Results are exact for sizes near those of vectors, tiles and panels, with one pixel and with several pixels."""
    x, weight, bias = numbers(rng, (1, 66, 146), half), numbers(rng, (66, 66), half, 3), numbers(rng, 66, F)
    for c_in in (1, 2, 3, 15, 16, 17, 31, 33, 64, 65):
        full = reference.exact_value(x[:, :c_in], weight[:, :c_in], bias, layout="NCW").astype(half)
        for c_out in (1, 2, 3, 8, 15, 16, 17, 24, 33, 49, 66):
            layer = pw.Conv(weight[:c_out, :c_in], bias[:c_out], layout=layout)
            for pixels in (1, 2, 7, 8, 13, 16, 17, 31, 48, 63, 65, 146):
                given, expected = x[:, :c_in, :pixels], full[:, :c_out, :pixels]
                if layout == "NWC":
                    given, expected = np.ascontiguousarray(given.transpose(0, 2, 1)), expected.transpose(0, 2, 1)
                np.testing.assert_array_equal(layer(given), expected, err_msg=f"{c_in} {c_out} {pixels}")


@pytest.mark.parametrize("layout", ["NCW", "NWC"])
@pytest.mark.parametrize("c_in", [255, 256, 257, 511, 512, 513, 1601])
def test_many_input_channels(layout, c_in, half, rng):
    for c_out, pixels in ((1, 1), (17, 40), (40, 3)):
        Case(rng, layout, half, c_in, c_out, "float32", sizes={"W": pixels}).check()


@pytest.mark.parametrize("layout", ["NCHW", "NHWC", "HWC", "CDHW"])
def test_stride_padding_and_groups(layout, half, rng):
    for stride, padding, groups in ((2, 0, 1), (1, 2, 1), (3, 1, 2), (1, 1, 4), (2, 0, 12), (40, 3, 1)):
        how = {"stride": stride, "padding": padding, "groups": groups}
        Case(rng, layout, half, 12, 24, **how).check()
        Case(rng, layout, half, 12, 12, "float16", **how).check()


@pytest.mark.parametrize("groups", [1, 5, 33, 70])
def test_a_diagonal_weight(groups, half, rng):
    """One input channel and one output channel in each group: a scale for each channel."""
    for layout in ("NCHW", "NHWC", "NC"):
        for scale in (False, True):
            Case(rng, layout, half, groups, groups, groups=groups, scale=scale).check()


@pytest.mark.parametrize("way", views.WAYS)
def test_every_view(way, half, rng):
    """All arrays are views. Nothing around `out` is written, even if `out` is the residual."""
    for layout, c_in, c_out in (("NCHW", 5, 17), ("NHWC", 17, 6), ("WC", 20, 40), ("NC", 33, 3), ("CDHW", 2, 3)):
        case = Case(rng, layout, half, c_in, c_out, scale=True)
        for name in ("x", "weight", "bias", "scale"):
            setattr(case, name, views.put(way, getattr(case, name)))
        for call in (case.layer(), lambda x, case=case, **given: case.conv(x=x, **given)):
            out, base = views.empty(way, case.y.shape, half)
            assert call(case.x, residual=views.put(way, case.residual), out=out, input_scale=case.scale) is out
            views.assert_wrote_only(way, base, case.y + half.type(0))
            out[...] = case.residual
            call(case.x, residual=out, out=out, input_scale=case.scale)
            views.assert_wrote_only(way, base, case.y + half.type(0))


@pytest.mark.parametrize("activation", ["relu", "relu6", ("clip", -3, 100), ("leaky_relu", 0.25), "prelu"])
def test_piecewise_activations(activation, half, rng):
    for layout, out_dtype in itertools.product(("NCHW", "NHWC"), DTYPES):
        function = ("prelu", rng.integers(1, 9, 20) / 4) if activation == "prelu" else activation
        Case(rng, layout, half, 7, 20, out_dtype, activation=function).check()


@pytest.mark.parametrize("activation", [name for name in definitions.NAMES if name not in ("clip", "relu", "relu6")])
def test_curved_activations(activation, half, rng):
    """The activation is computed in float32, and its result is rounded once."""
    x = (rng.standard_normal((2, 50, 9)) * 3).astype(half)
    weight, bias = rng.standard_normal((33, 9)).astype(half), rng.standard_normal(33).astype(F)
    wide = pw.conv(x, weight, bias, layout="NWC", activation=activation, out_dtype="float32")
    total = pw.conv(x, weight, bias, layout="NWC", out_dtype="float32")
    same = pw.mix(total[..., np.newaxis], np.ones((1, 1), F), activation=activation)[..., 0]
    reference.assert_same_bits(wide, same)
    for dtype in ("float16", "bfloat16"):
        y = pw.conv(x, weight, bias, layout="NWC", activation=activation, out_dtype=dtype)
        reference.assert_same_bits(y, reference.rounded(wide, np.dtype(dtype)))


@pytest.mark.any_cpu
@pytest.mark.parametrize(("x_dtype", "out_dtype"), PAIRS)
def test_every_pair_of_dtypes(x_dtype, out_dtype, rng):
    """Residuals have the dtype of the result."""
    floats = out_dtype in DTYPES
    for layout, (c_in, c_out) in itertools.product(("NCHW", "NHWC", "NC"), ((3, 3), (17, 40))):
        how = {"residual": floats, "activation": "relu" if floats else None}
        Case(rng, layout, x_dtype, c_in, c_out, out_dtype, **how).check()
        case = Case(rng, layout, x_dtype, c_in, c_out, out_dtype, residual=False)
        axis = layout.index("C")
        reference.assert_same_bits(pw.mix(case.x, case.weight, case.bias, axis=axis, out_dtype=out_dtype), case.y)


def test_the_bias_is_not_rounded(half):
    """The bias is float32. A bias of 16 bits would be rounded to a multiple of 2 or 16."""
    bias = np.array([2049.0, 4097.0, -2051.0], F)
    weight, x = np.zeros((3, 2), half), np.ones((4, 2), half)
    expected = np.broadcast_to(bias, (4, 3))
    for given in (bias, bias.astype(float), bias.tolist()):
        np.testing.assert_array_equal(pw.conv(x, weight, given, layout="NC", out_dtype="float32"), expected)
        layer = pw.Conv(weight, given, layout="NC", out_dtype="float32")
        np.testing.assert_array_equal(layer(x), expected)
        assert layer.bias.dtype == F
        np.testing.assert_array_equal(layer.bias, bias)
        np.testing.assert_array_equal(pw.mix(x, weight, given, out_dtype="float32"), expected)


def test_the_scaled_number_is_rounded(half, rng):
    """x * input_scale is rounded to 16 bits before the sum."""
    for layout, c_out in itertools.product(("NCW", "NWC"), (1, 17, 40)):
        x = rng.standard_normal(shaped(layout, 24)).astype(half)
        scale = rng.standard_normal((2, 24)).astype(half)
        weight = rng.standard_normal((c_out, 24)).astype(half)
        product = reference.scaled(x, scale, layout)
        y = pw.conv(x, weight, layout=layout, input_scale=scale, out_dtype="float32")
        reference.assert_same_bits(y, pw.conv(product, weight, layout=layout, out_dtype="float32"))
        exact = x.astype(F) * reference.channels_first(scale.astype(F), "NC")[..., 0].reshape(
            [n if axis in "NC" else 1 for axis, n in zip(layout, x.shape, strict=True)]
        )
        assert (pw.conv(exact, weight.astype(F), layout=layout) != y).any(), "no product was rounded"


@pytest.mark.parametrize("layout", ["NCW", "NWC"])
@pytest.mark.parametrize(("c_in", "c_out", "pixels"), [(0, 3, 5), (1, 17, 33), (40, 35, 50), (513, 20, 17)])
@pytest.mark.parametrize("decades", [0, 2])
def test_the_bound(layout, decades, c_in, c_out, pixels, half, rng):
    """Results are within the bound of float32, and 16-bit results have one more rounding."""

    def random(shape, dtype):
        return (rng.standard_normal(shape) * 10.0 ** rng.uniform(-decades, decades / 2, shape)).astype(dtype)

    x, weight = random(shaped(layout, c_in, W=pixels), half), random((c_out, c_in), half)
    bias = random(c_out, F)
    for out_dtype, activation in itertools.product(DTYPES, (None, "relu")):
        residual = random(shaped(layout, c_out, W=pixels), np.dtype(out_dtype))
        how = {"layout": layout, "residual": residual}
        y = pw.conv(x, weight, bias, activation=activation, out_dtype=out_dtype, **how)
        reference.assert_within_bound(y, *reference.exact(x, weight, bias, **how), activation)


def test_a_matrix_for_each_image(half, rng):
    x, matrix = numbers(rng, (3, 7, 5, 6), half), numbers(rng, (3, 4, 6), half)
    expected = np.einsum("nhwc,nkc->nhwk", x.astype(F), matrix.astype(F)).astype(half)
    np.testing.assert_array_equal(pw.mix(x, matrix), expected)
    lists = [one.astype(float).tolist() for one in matrix]
    np.testing.assert_array_equal(pw.mix(x, lists), expected)
    many = numbers(rng, (2, 3, 2, 3, 2, 3, 4), half).transpose(5, 3, 1, 0, 2, 4, 6)  # more axes than the core has
    expected = np.einsum("...c,kc->...k", many.astype(F), matrix[0, :, :4].astype(F)).astype(half)
    np.testing.assert_array_equal(pw.mix(many, matrix[0, :, :4]), expected)


def test_empty_arrays(half):
    weight, bias = np.ones((3, 2), half), np.array([0.5, -1, 7], F)
    for layout, shape in (("NCHW", (0, 2, 4, 4)), ("NHWC", (1, 0, 4, 2)), ("NC", (0, 2))):
        y = pw.conv(np.ones(shape, half), weight, bias, layout=layout)
        assert y.size == 0
        assert y.dtype == half
    for layout, shape in (("NCHW", (1, 0, 4, 5)), ("NHWC", (1, 4, 5, 0))):
        y = pw.conv(np.ones(shape, half), weight[:, :0], bias, layout=layout)
        y = y if layout == "NHWC" else y.transpose(0, 2, 3, 1)
        np.testing.assert_array_equal(y, np.broadcast_to(bias.astype(half), (1, 4, 5, 3)))


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_a_chain(layout, half, rng):
    """A chain equals its layers one by one. Between two layers, numbers have the dtype of the first layer's results."""
    other = "float16" if half == BFLOAT16 else "bfloat16"
    for size, dtypes in itertools.product((3, 60), ((half, half, half), (half, "float32", other), (F, half, F))):
        layers, c = [], 12
        for i, dtype in enumerate(dtypes):
            weight = (rng.standard_normal((c + 5, c)) / 4).astype(dtype)
            bias, after = rng.standard_normal(c + 5).astype(F), dtypes[i + 1] if i + 1 < len(dtypes) else None
            how = {"layout": layout, "activation": (None, "relu", "gelu")[i]}
            layers.append(pw.Conv(weight, bias, out_dtype=after, **how))
            c += 5
        x = rng.standard_normal(shaped(layout, 12, H=size, W=size)).astype(dtypes[0])
        chain, expected = pw.Chain(layers), x
        for layer in layers:
            expected = layer(expected)
        for threads in (1, 3):
            with pw.num_threads(threads):
                reference.assert_same_bits(chain(x), expected)
        out = np.empty_like(expected)
        assert chain(x, out=out) is out
        reference.assert_same_bits(out, expected)


def test_a_chain_from_integers_to_halves(half, rng):
    x = rng.integers(0, 256, (1, 3, 20, 30)).astype(np.uint8)
    first = pw.Conv((rng.standard_normal((16, 3)) / 99).astype(F), out_dtype=half, activation="relu")
    last = pw.Conv(rng.standard_normal((4, 16)).astype(half), out_dtype="float32")
    reference.assert_same_bits(pw.Chain([first, last])(x), last(first(x)))
    assert first(x).dtype == half


def test_cost_counts_two_bytes(half):
    cost = pw.cost((1, 8, 3, 3), 4, dtype=half)
    assert cost.bytes == 2 * (8 * 9 + 4 * 8 + 4 * 9)
