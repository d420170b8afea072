"""Test the activation ("prelu", slopes), which has one slope for each output channel.

The results must have the bits of the same layer without an activation, followed by the definition in NumPy.
"""

import copy
import itertools
import pickle

import definitions
import numpy as np
import pointwise as pw
import pytest
import reference
import views
from at_once import together

pytestmark = pytest.mark.kernels
F = np.float32


def slopes_of(rng, c_out, dtype=F):
    """Return slopes of both signs, some of them 0, 1 or -0.0."""
    slopes = rng.standard_normal(c_out).astype(dtype)
    slopes[rng.random(c_out) < 0.2] = rng.choice([0, -0.0, 1])
    return slopes


def applied(v, slopes, layout):
    """Return PReLU of an array of sums. The product is rounded once, in the type of the sums."""
    return definitions.computed(("prelu", slopes), v, v.dtype, axis=layout.index("C"))


def shape_of(layout, c, n=2, sizes=(3, 5, 7)):
    spatial = dict(zip(reference.spatial(layout), sizes, strict=False))
    return tuple(c if axis == "C" else n if axis == "N" else spatial[axis] for axis in layout)


def check(x, weight, bias, slopes, layout, residual=None, scale=None, **how):
    """Check `conv` and `Conv`, with and without out. Return the result."""
    how = {"layout": layout, **how}
    plain = pw.conv(x, weight, bias, residual=residual, input_scale=scale, **how)
    expected = applied(plain, slopes, layout)
    layer = pw.Conv(weight, bias, activation=("prelu", slopes), **how)
    y = pw.conv(x, weight, bias, residual=residual, input_scale=scale, activation=("prelu", slopes), **how)
    reference.assert_same_bits(y, expected)
    reference.assert_same_bits(layer(x, residual, input_scale=scale), expected)
    return y


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("layout", reference.LAYOUTS)
def test_every_layout_against_the_definition(layout, groups, dtype, rng, integers):
    """Sums of small integers and slopes that are multiples of 1/4 are exact."""
    x, weight, bias = integers(shape_of(layout, 6), dtype), integers((12, 6 // groups), dtype), integers(12, dtype)
    slopes = rng.integers(-8, 9, 12) / 4
    how = {"layout": layout, "groups": groups}
    if reference.spatial(layout):
        how |= {"stride": 2, "padding": 1}
    value = reference.exact(x, weight, bias, **how)[0]
    residual = integers(value.shape, dtype)
    for add in (None, residual):
        total = value if add is None else value + add
        expected = definitions.computed(("prelu", slopes), total, dtype, axis=layout.index("C")).astype(dtype)
        for y in (
            pw.conv(x, weight, bias, residual=add, activation=("prelu", slopes), **how),
            pw.Conv(weight, bias, activation=("prelu", slopes), **how)(x, add),
        ):
            np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("c_out", [1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 24, 31, 33, 40, 64, 65, 100])
def test_every_remainder_of_channels(layout, c_out, dtype, rng):
    for c_in, sizes in ((1, (1, 1)), (3, (1, 5)), (20, (7, 11)), (33, (14, 14))):
        x = rng.standard_normal(shape_of(layout, c_in, 2, sizes)).astype(dtype)
        weight, bias = (rng.standard_normal(shape).astype(dtype) for shape in ((c_out, c_in), c_out))
        slopes = slopes_of(rng, c_out, dtype)
        residual = rng.standard_normal(shape_of(layout, c_out, 2, sizes)).astype(dtype)
        check(x, weight, bias, slopes, layout)
        check(x, weight, None, slopes, layout, residual)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize(
    ("c_in", "c_out", "groups", "sizes", "how"),
    [
        (64, 64, 1, (112, 112), {}),  # results larger than L2, with non-temporal stores
        (700, 40, 1, (5, 9), {}),  # several chunks
        (5000, 24, 1, (3, 3), {}),  # split sums
        (600, 1000, 1, (1, 1), {}),  # one pixel, with weights that are not packed
        (48, 300, 1, (19, 23), {"stride": (2, 3), "padding": (3, 2)}),
        (40, 40, 40, (9, 10), {"padding": 2}),  # diagonal
        (36, 48, 4, (13, 8), {"stride": 2}),
        (500, 3, 1, (70, 70), {}),  # few output channels
        (4, 3, 1, (200, 210), {}),
    ],
)
def test_every_way_to_run(layout, c_in, c_out, groups, sizes, how, rng):
    x = rng.standard_normal(shape_of(layout, c_in, 1, sizes)).astype(F)
    weight, bias = rng.standard_normal((c_out, c_in // groups)).astype(F), rng.standard_normal(c_out).astype(F)
    slopes = slopes_of(rng, c_out)
    how = {"groups": groups, **how}
    with pw.num_threads(1):
        y = check(x, weight, bias, slopes, layout, **how)
    with pw.num_threads(3):
        residual = rng.standard_normal(y.shape).astype(F)
        again = pw.conv(x, weight, bias, layout=layout, activation=("prelu", slopes), **how)
        reference.assert_same_bits(again, y)
        check(x, weight, bias, slopes, layout, residual, **how)


@pytest.mark.parametrize("way", views.WAYS)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC", "NC", "CW"])
def test_views_of_the_result(layout, way, dtype, rng, integers):
    """Every view of out is right, with the residual in place, and nothing else is written."""
    for c_out in (1, 5, 16, 37):
        x = views.put(way, integers(shape_of(layout, 9), dtype))
        weight, slopes = integers((c_out, 9), dtype), rng.integers(-4, 5, c_out) / 2
        residual = integers(shape_of(layout, c_out), dtype)
        expected = applied(pw.conv(x, weight, layout=layout, residual=residual), slopes, layout)
        layer = pw.Conv(weight, layout=layout, activation=("prelu", slopes))
        for call in (
            layer,
            lambda *given, layer=layer: pw.conv(
                given[0], layer.weight, layout=layout, activation=layer.activation, residual=given[1], out=given[2]
            ),
        ):
            out, base = views.empty(way, expected.shape, dtype)
            out[...] = residual
            assert call(x, out, out) is out
            np.testing.assert_array_equal(out, expected)
            views.assert_wrote_only(way, base, expected)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_padding_is_the_activation_of_bias_and_residual(layout, dtype, rng):
    bias, slopes = rng.standard_normal(20).astype(dtype), slopes_of(rng, 20, dtype)
    x, weight = np.full(shape_of(layout, 4, 1, (2, 3)), np.nan, dtype), np.ones((20, 4), dtype)
    residual = rng.standard_normal(shape_of(layout, 20, 1, (8, 9))).astype(dtype)
    y = check(x, weight, bias, slopes, layout, residual, padding=3)
    channels = [20 if axis == "C" else 1 for axis in layout]
    expected = applied(bias.reshape(channels) + residual, slopes, layout)
    inside = np.isnan(y)
    assert inside.sum() == 20 * 2 * 3
    reference.assert_same_bits(y[~inside], expected[~inside])
    empty = pw.conv(
        x[:, :0] if layout == "NCHW" else x[..., :0], weight[:, :0], bias, layout=layout, activation=("prelu", slopes)
    )
    reference.assert_same_bits(empty, applied(np.broadcast_to(bias.reshape(channels), empty.shape), slopes, layout))


@pytest.mark.parametrize("layout", ["NCW", "NWC"])
def test_special_numbers(layout, dtype):
    """NaN and -0.0 stay, and infinities follow IEEE 754."""
    numbers = np.array(
        [np.nan, np.inf, -np.inf, 0.0, -0.0, 1, -1, np.finfo(dtype).tiny / 2, -np.finfo(dtype).max], dtype
    )
    slopes = np.array([0.25, 0, -0.0, -2, 1, 1e30], dtype)
    residual = np.broadcast_to(numbers, (1, 6, 9)) if layout == "NCW" else np.broadcast_to(numbers[:, None], (1, 9, 6))
    x, weight = np.zeros(shape_of(layout, 1, 1, (9,)), dtype), np.zeros((6, 1), dtype)
    bias = np.full(6, -0.0, dtype)
    y = pw.conv(-x, weight, bias, layout=layout, residual=residual, activation=("prelu", slopes))
    with np.errstate(all="ignore"):
        product = slopes[:, None] * numbers
    expected = np.where(numbers < 0, product, numbers)[None]
    expected = expected if layout == "NCW" else expected.transpose(0, 2, 1)
    np.testing.assert_array_equal(y, expected)
    nans = np.isnan(expected)
    assert (np.signbit(y) == np.signbit(expected))[~nans].all()


@pytest.mark.parametrize("flush", [False, True])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_equal_slopes_are_leaky_relu(layout, flush, dtype, rng):
    """Equal slopes give the bits of leaky_relu, even for subnormal numbers."""
    tiny = np.finfo(dtype).tiny
    x = (rng.standard_normal(shape_of(layout, 8)) * tiny).astype(dtype)
    weight, bias = rng.standard_normal((21, 8)).astype(dtype), (rng.standard_normal(21) * tiny).astype(dtype)
    for slope in (0.125, 0.0, -3, float(tiny) / 4):
        leaky, prelu = (
            pw.Conv(weight, bias, layout=layout, activation=activation, padding=1, flush_subnormals=flush)
            for activation in (("leaky_relu", slope), ("prelu", [slope] * 21))
        )
        reference.assert_same_bits(prelu(x), leaky(x))


def test_input_scale_and_integers(rng):
    x, scale = rng.integers(0, 255, (2, 7, 8, 9), np.uint8), rng.standard_normal((2, 9)).astype(F)
    weight, bias, slopes = rng.standard_normal((18, 9)).astype(F), rng.standard_normal(18).astype(F), slopes_of(rng, 18)
    assert check(x, weight, bias, slopes, "NHWC", scale=scale).dtype == F
    check(x.transpose(0, 3, 1, 2), weight, bias, slopes, "NCHW")


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_chain(layout, dtype, rng):
    channels = (8, 40, 17, 33)
    layers = [
        pw.Conv(
            rng.standard_normal((m, n)).astype(dtype),
            rng.standard_normal(m).astype(dtype),
            layout=layout,
            activation=("prelu", slopes_of(rng, m, dtype)),
        )
        for n, m in itertools.pairwise(channels)
    ]
    chain = pw.Chain(layers)
    for sizes in ((1, 1), (20, 31)):
        x = rng.standard_normal(shape_of(layout, 8, 2, sizes)).astype(dtype)
        residual = rng.standard_normal(shape_of(layout, 33, 2, sizes)).astype(dtype)
        expected = layers[2](layers[1](layers[0](x)), residual)
        reference.assert_same_bits(chain(x, residual), expected)
        reference.assert_same_bits(pickle.loads(pickle.dumps(chain))(x, residual), expected)


@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1])
def test_mix(axis, dtype, rng):
    x = rng.standard_normal((3, 4, 5, 6)).astype(dtype)
    c = x.shape[axis]
    matrix, bias = rng.standard_normal((7, c)).astype(dtype), rng.standard_normal(7).astype(dtype)
    slopes = slopes_of(rng, 7, dtype)
    v = pw.mix(x, matrix, bias, axis=axis)
    expected = definitions.computed(("prelu", slopes), v, v.dtype, axis=axis)
    reference.assert_same_bits(pw.mix(x, matrix, bias, axis=axis, activation=("prelu", slopes)), expected)
    if axis != 0:
        matrices = rng.standard_normal((3, 7, c)).astype(dtype)
        v = pw.mix(x, matrices, bias, axis=axis)
        expected = definitions.computed(("prelu", slopes), v, v.dtype, axis=axis)
        reference.assert_same_bits(pw.mix(x, matrices, bias, axis=axis, activation=("prelu", slopes)), expected)


def test_mix_of_many_axes(rng):
    x = rng.standard_normal((2, 3, 4, 2, 3, 5)).astype(F)[:, ::2, ::3, :, ::2, ::2]
    matrix, slopes = rng.standard_normal((4, 3)).astype(F), slopes_of(rng, 4)
    v = pw.mix(x, matrix)
    expected = definitions.computed(("prelu", slopes), v, F, axis=-1)
    reference.assert_same_bits(pw.mix(x, matrix, activation=("prelu", slopes)), expected)


def test_threads_at_once(rng):
    layer = pw.Conv(rng.standard_normal((40, 33)).astype(F), activation=("prelu", slopes_of(rng, 40)))
    x = rng.standard_normal((1, 33, 40, 40)).astype(F)
    expected = layer(x)
    together(lambda _: reference.assert_same_bits(layer(x), expected), 4)


class TestTheArgument:
    def layer(self, slopes, c_out=3, **how):
        return pw.Conv(np.eye(c_out, dtype=F), layout="C", activation=("prelu", slopes), **how)

    def test_slopes_are_copied_and_rounded(self):
        slopes = np.array([0.1, 0.2, 0.3])
        layer = self.layer(slopes)
        slopes[:] = 5
        assert layer.activation == ("prelu", (0.1, 0.2, 0.3))
        x = np.full(3, -3, F)
        reference.assert_same_bits(layer(x), F(-3) * np.array([0.1, 0.2, 0.3], F))
        assert self.layer([0.1] * 3, dtype="float64")(np.full(3, -3.0)).tolist() == [-3 * 0.1] * 3

    @pytest.mark.parametrize(
        "slopes",
        [
            [1, 2, 3],
            (0.5, True, np.float16(2)),
            range(3),
            np.array([1, 2, 3], np.int8),
            np.array([0.5, 9, 2, 9, 1], np.longdouble)[::2],
            np.array([3.0, 2.0, 1.0])[::-1],
        ],
    )
    def test_whatever_asarray_takes(self, slopes):
        expected = [float(slope) for slope in slopes]
        layer = self.layer(slopes)
        assert layer.activation == ("prelu", tuple(expected))
        assert layer(np.full(3, -1, F)).tolist() == [-slope for slope in expected]
        assert pw.conv(np.full(3, -1, F), np.eye(3), layout="C", activation=("prelu", slopes)).tolist() == [
            -slope for slope in expected
        ]

    def test_copies_and_repr(self):
        layer = self.layer([0.1, -2.5, 0])
        x = np.array([-1, -2, -3], F)
        for again in (
            *(pickle.loads(pickle.dumps(layer, protocol)) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)),
            copy.copy(layer),
            copy.deepcopy(layer),
            self.layer(layer.activation[1]),
        ):
            assert again.activation == layer.activation
            assert hash(again.activation) == hash(layer.activation)
            assert repr(again) == repr(layer) == "Conv(3 -> 3, float32, layout='C', activation=('prelu', <3 slopes>))"
            reference.assert_same_bits(again(x), layer(x))

    def test_from_batchnorm(self):
        how = {"mean": [1], "variance": [4], "eps": 0, "layout": "C", "activation": ("prelu", [0.5])}
        assert pw.Conv.from_batchnorm([[2.0]], **how)(np.array([-3.0])).tolist() == [-1.75]

    def test_no_output_channels(self):
        layer = pw.Conv(np.ones((0, 3), F), layout="NC", activation=("prelu", []))
        assert layer(np.ones((5, 3), F)).shape == (5, 0)
        assert layer.activation == ("prelu", ())

    def test_explain_does_not_change(self):
        text = self.layer([1, 2, 3]).explain((3,))
        assert text == pw.Conv(np.eye(3, dtype=F), layout="C").explain((3,))

    @pytest.mark.parametrize(
        ("activation", "exception", "message"),
        [
            ("prelu", ValueError, r"activation 'prelu' takes slopes of shape \(C_out,\), .* got 'prelu'$"),
            (("prelu",), ValueError, r"activation 'prelu' takes slopes .*, got \('prelu',\)$"),
            (("prelu", [1], [2]), ValueError, r"activation 'prelu' takes slopes .*, got \('prelu', \[1\], \[2\]\)$"),
            (("prelu", 0.1), ValueError, r"activation 'prelu': slopes must have shape \(C_out,\), got \(\)$"),
            (("prelu", np.ones((3, 1))), ValueError, r"activation 'prelu': slopes must have .*, got \(3, 1\)$"),
            (("prelu", [1, 2]), ValueError, r"activation prelu must have slopes of shape \(3,\), .* got \(2,\)$"),
            (("prelu", [1, 2, 3, 4]), ValueError, r"activation prelu must have slopes .*, got \(4,\)$"),
            (("prelu", [1, np.nan, 3]), ValueError, r"activation prelu's slopes .* finite .* nan for .* channel 1$"),
            (("prelu", [1, 2, -np.inf]), ValueError, r"activation prelu's slopes .*, got -inf for .* channel 2$"),
            (("prelu", [1e39, 1, 1]), ValueError, r"activation prelu's slopes must be finite in float32, got 1e\+39"),
            (("prelu", [1, 2j, 3]), TypeError, r"activation 'prelu': slopes must be castable .*, got complex128$"),
            (("prelu", ["1"] * 3), TypeError, r"activation 'prelu': slopes must be castable .*, got <U1$"),
            (("prelu", None), TypeError, r"activation 'prelu': slopes must .*, got object$"),
            (("prelu", [[1], [2, 3]]), ValueError, r"activation 'prelu': slopes must be an array"),
            (("prelu", np.ma.ones(3)), TypeError, r"activation 'prelu': slopes must .*: pass slopes\.filled"),
            (("prelu", np.ones(3, ">f4")), TypeError, r"activation 'prelu': slopes .* byte order.*slopes\.astype"),
        ],
    )
    def test_errors(self, activation, exception, message):
        for call in (
            lambda: pw.Conv(np.eye(3, dtype=F), activation=activation),
            lambda: pw.conv(np.ones((1, 3, 2, 2), F), np.eye(3), activation=activation),
            lambda: pw.mix(np.ones((2, 3), F), np.eye(3), activation=activation),
        ):
            with pytest.raises(exception, match=f"^{message}"):
                call()
