"""Test quantized convolutions: exact sums and results on every instruction set, layout, view and remainder."""

import itertools
import pickle
import threading

import numpy as np
import pointwise as pw
import pytest
import reference
import views
from mxcsr import Mxcsr

pytestmark = pytest.mark.integers
BYTES = ("uint8", "int8")
# The arguments of QConv that `draw` returns.
NAMES = ("x_scale", "x_zero_point", "weight", "weight_scale", "weight_zero_point", "y_scale", "y_zero_point", "bias")
ACTIVATIONS = (None, "relu", "relu6", ("clip", -1.5, 2.25), ("clip", 3, np.inf))


def numbers(rng, shape, dtype):
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max + 1, shape).astype(dtype)


def sums(x, weight, x_zero=0, weight_zero=0, bias=None, **how):
    """Return the exact sums as int64."""
    zeros = np.broadcast_to(np.asarray(weight_zero, int), weight.shape[:1]).reshape(-1, 1)
    shifted = weight.reshape(weight.shape[:2]).astype(int) - zeros
    exact = reference.exact_value((x.astype(int) - int(x_zero)).astype("f4"), shifted.astype("f4"), **how)
    axes = [-1 if axis == "C" else 1 for axis in how.get("layout", "NCHW")]
    return exact.astype(np.int64) + (0 if bias is None else bias.astype(np.int64).reshape(axes))


def results(total, x_scale, weight_scale, y_scale, y_zero, activation=None, layout="NCHW"):
    """Return the quantized results for exact sums, by the definition."""
    limits, f4 = np.iinfo(y_zero.dtype), np.float32
    factor = (f4(x_scale) * np.asarray(weight_scale, f4)) / f4(y_scale)
    if np.ndim(factor):
        factor = factor.reshape([-1 if axis == "C" else 1 for axis in layout])
    y = np.rint(total.astype(f4) * factor).astype(float) + int(y_zero)
    low, high = {"relu": (0, np.inf), "relu6": (0, 6), None: (-np.inf, np.inf)}.get(
        activation, activation and activation[1:]
    )
    with np.errstate(all="ignore"):
        low, high = (np.rint(f4(bound) / f4(y_scale)).astype(float) + int(y_zero) for bound in (low, high))
    return y.clip(low, high).clip(limits.min, limits.max).astype(y_zero.dtype)


def draw(rng, layout, c_in, c_out, sizes):
    """Return the arguments of a call of qconv, and the exact sums."""
    x_dtype, weight_dtype, y_dtype = (BYTES[rng.integers(2)] for _ in range(3))
    groups = int(rng.integers(1, 4)) if rng.integers(3) == 0 else 1
    how = {"layout": layout, "groups": groups}
    if reference.spatial(layout):
        how |= {"stride": int(rng.integers(1, 3)), "padding": int(rng.integers(3)) if rng.integers(2) else 0}
    shape = [(sizes | {"N": 2, "C": c_in * groups})[axis] for axis in layout]
    x, weight = numbers(rng, shape, x_dtype), numbers(rng, (c_out * groups, c_in), weight_dtype)
    x_zero, y_zero = (numbers(rng, (), dtype) for dtype in (x_dtype, y_dtype))
    weight_zero = (0, numbers(rng, (), weight_dtype), numbers(rng, c_out * groups, weight_dtype))[rng.integers(3)]
    weight_scale = rng.uniform(0.5, 2, c_out * groups if rng.integers(2) else ()).astype("f4")
    bias = rng.integers(-(2**20), 2**20, c_out * groups).astype(np.int32) if rng.integers(2) else None
    y_scale = np.float32(weight_scale.max(initial=1) * 300 * (c_in + 1) ** 0.5 * rng.uniform(5, 200))
    given = (np.float32(0.7), x_zero, weight, weight_scale, weight_zero, y_scale, y_zero, bias)
    return x, given, how, sums(x, weight, x_zero, weight_zero, bias, **how)


def expected(given, how, total, activation=None):
    x_scale, _, _, weight_scale, _, y_scale, y_zero, _ = given
    return results(total, x_scale, weight_scale, y_scale, y_zero, activation, how["layout"])


@pytest.mark.any_cpu
@pytest.mark.parametrize("layout", reference.LAYOUTS)
def test_every_layout(layout, rng):
    """Results are exact for numbers of channels and pixels that end within a step, a vector, a tile or a panel."""
    for trial, (c_in, c_out) in enumerate([(0, 3), (1, 1), (3, 17), (4, 70), (37, 5), (130, 33), (8, 0)]):
        sizes = {"D": 2, "H": 1 + trial, "W": int(rng.integers(1, 40))}
        x, given, how, total = draw(rng, layout, c_in, c_out, sizes)
        activation = ACTIVATIONS[trial % len(ACTIVATIONS)]
        y = pw.qconv(x, *given, **how, activation=activation)
        assert y.dtype == given[6].dtype
        assert y.flags.c_contiguous
        np.testing.assert_array_equal(y, expected(given, how, total, activation))
        _, x_zero, weight, _, weight_zero, *_, bias = given
        y = pw.conv_integer(x, weight, x_zero, weight_zero, **how)
        assert y.dtype == np.int32
        without = total if bias is None else sums(x, weight, x_zero, weight_zero, **how)
        np.testing.assert_array_equal(y, without)


@pytest.mark.parametrize("layout", ["CW", "WC"])
@pytest.mark.parametrize(("x_dtype", "weight_dtype"), list(itertools.product(BYTES, BYTES)))
def test_every_remainder(layout, x_dtype, weight_dtype, rng):
    """Results are exact for every number of pixels up to three tiles, and for various numbers of channels."""
    for pixels in range(1, 150):
        c_in, c_out = 1 + pixels % 13, 1 + (pixels * 7) % 67
        shape = (c_in, pixels) if layout == "CW" else (pixels, c_in)
        x, weight = numbers(rng, shape, x_dtype), numbers(rng, (c_out, c_in), weight_dtype)
        x_zero, zero = numbers(rng, (), x_dtype), numbers(rng, (), weight_dtype) if pixels % 2 else 0
        total = sums(x, weight, x_zero, zero, layout=layout)
        np.testing.assert_array_equal(pw.conv_integer(x, weight, x_zero, zero, layout=layout), total)
        y_zero = np.uint8(100)
        y = pw.qconv(x, 1, x_zero, weight, 1, zero, 700, y_zero, layout=layout)
        np.testing.assert_array_equal(y, results(total, 1, 1, 700, y_zero))


@pytest.mark.parametrize("way", views.WAYS)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_views(way, layout, rng):
    """x, weight, bias and out may be any view."""
    for way_of_out, c_in in itertools.product(views.WAYS, (5, 16)):
        x, given, how, total = draw(rng, layout, c_in, 21, {"H": 5, "W": 11})
        given = list(given)
        given[2] = views.put(way, given[2])
        if given[7] is not None:
            given[7] = views.put(way, given[7])
        x = views.put(way, x)
        y = expected(given, how, total)
        out, base = views.empty(way_of_out, y.shape, y.dtype)
        assert pw.qconv(x, *given, **how, out=out) is out
        views.assert_wrote_only(way_of_out, base, y)
        y = sums(x, given[2], given[1], given[4], **how).astype(np.int32)
        out, base = views.empty(way_of_out, y.shape, np.int32)
        assert pw.conv_integer(x, given[2], given[1], given[4], **how, out=out) is out
        views.assert_wrote_only(way_of_out, base, y)


@pytest.mark.any_cpu
@pytest.mark.parametrize("layout", ["NC", "CW"])
def test_extremes(layout):
    """Results are exact for products whose sums of pairs would saturate in 16 bits."""
    pairs = [(255, 127), (255, -128), (0, 127)]
    pairs = [(np.uint8(x), np.int8(w)) for x, w in pairs] + [
        (np.uint8(255), np.uint8(255)),
        (np.int8(-128), np.uint8(255)),
    ]
    pairs += [(np.int8(-128), np.int8(-128)), (np.int8(127), np.int8(-128)), (np.int8(-128), np.int8(127))]
    for x, w in pairs:
        for c_in, c_out, pixels in [(1, 1, 1), (2, 17, 3), (258, 40, 50), (4099, 3, 7)]:
            array = np.full((pixels, c_in) if layout == "NC" else (c_in, pixels), x)
            y = pw.conv_integer(array, np.full((c_out, c_in), w), layout=layout)
            assert (y == c_in * int(x) * int(w)).all()


@pytest.mark.parametrize("layout", ["NC", "CW"])
@pytest.mark.parametrize("sign", [1, -1])
def test_sums_up_to_the_limit(layout, sign):
    """Sums may reach both ends of the range of int32, with many channels and with a bias."""
    x, w = np.uint8(255), np.int8(127 if sign > 0 else -128)
    limit = 2**31 - (sign > 0)
    c_in = limit // (255 * abs(int(w)))
    array = np.full((2, c_in) if layout == "NC" else (c_in, 2), x)
    weight = np.full((1, c_in), w)
    assert (pw.conv_integer(array, weight, layout=layout) == c_in * 255 * int(w)).all()
    rest = sign * limit - c_in * 255 * int(w)
    scales = (1, 0, weight, 1, 0, 2.0**24, np.int8(0))
    for bias in (rest, rest - sign):
        y = pw.qconv(array, *scales, [bias], layout=layout, activation=None)
        assert (y == sign * 127 if sign > 0 else y == -128).all()
    with pytest.raises(
        ValueError, match=rf"\bweight must keep every sum within the range of int32.*{sign * limit + sign}"
    ):
        pw.qconv(array, *scales, [rest + sign], layout=layout)
    more = np.full((1, c_in + 1), w)
    with pytest.raises(ValueError, match=r"\bweight must keep every sum within the range of int32"):
        pw.conv_integer(np.zeros((1, c_in + 1) if layout == "NC" else (c_in + 1, 1), np.uint8), more, layout=layout)


def test_sums_that_only_other_inputs_reach_are_refused():
    """The check covers all x of the dtype, and respects both zero points."""
    c_in = 2**31 // (255 * 255) + 1
    weight = np.full((1, c_in), 255, np.uint8)
    x = np.zeros((1, c_in), np.uint8)
    with pytest.raises(ValueError, match="output channel 0"):
        pw.conv_integer(x, weight, layout="NC")
    assert pw.conv_integer(x, weight, 128, layout="NC")[0, 0] == c_in * -128 * 255
    assert pw.conv_integer(x, weight, 0, 100, layout="NC")[0, 0] == 0
    assert pw.conv_integer(x.astype(np.int8), weight, layout="NC")[0, 0] == 0


@pytest.mark.any_cpu
def test_ties_round_to_even(rng):
    """If the product of a sum and its factor is k + 1/2, it is rounded to the even integer."""
    total = np.arange(-1000, 1000)
    x = np.ones((1, 1), np.uint8)
    weight = np.zeros((total.size, 1), np.int8)
    for y_zero, layout in itertools.product((np.uint8(0), np.uint8(7), np.int8(-128), np.int8(3)), ("NC", "CW")):
        y = pw.qconv(x, 1, 0, weight, 0.5, 0, 2, y_zero, total, layout=layout)
        limits = np.iinfo(y_zero.dtype)
        even = np.array([round(float(v) / 4) for v in total])  # Python rounds half to even
        np.testing.assert_array_equal(y.ravel(), (even + int(y_zero)).clip(limits.min, limits.max))


def test_each_operation_is_rounded_to_float32(rng):
    """The test has sums beyond 2^24, and scales whose quotient depends on the order of the operations."""
    bias = rng.integers(-(2**31), 2**31 - 300, 5000).astype(np.int32)
    weight_scale = rng.uniform(1e-3, 1e3, 5000).astype("f4")
    x, weight = np.array([[3]], np.uint8), np.zeros((5000, 1), np.int8)
    for x_scale, y_scale in rng.uniform(1e-2, 1e2, (5, 2)).astype("f4"):
        factor = np.abs((x_scale * weight_scale) / y_scale * bias)
        scale = np.float32(y_scale * np.median(factor) / 60)
        y = pw.qconv(x, x_scale, 0, weight, weight_scale, 0, scale, np.int8(1), bias, layout="NC")
        total = bias.astype(np.int64)[None]
        np.testing.assert_array_equal(y, results(total, x_scale, weight_scale, scale, np.int8(1), layout="NC"))
        assert len(np.unique(y)) > 50


@pytest.mark.parametrize("scale", [1e-38, 1e-30, 1e30, 3e38])
def test_extreme_scales(scale):
    """Factors that underflow give the zero point, and products that overflow saturate."""
    x, weight = np.array([[100, 0]], np.uint8), np.array([[1, 0], [-1, 0], [0, 1]], np.int8)
    y = pw.qconv(x, scale, 0, weight, 1, 0, 1, np.uint8(9), layout="NC")
    assert y.tolist() == [[9, 9, 9]] if scale < 1 else [[255, 0, 9]]


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_padding_adds_nothing(layout, rng):
    x = numbers(rng, (1, 3, 2, 2) if layout == "NCHW" else (1, 2, 2, 3), "uint8")
    weight, bias = numbers(rng, (5, 3), "int8"), np.arange(-2, 3, dtype=np.int32) * 40
    y = pw.qconv(x, 1, 200, weight, 1, 3, 1, np.uint8(90), bias, layout=layout, padding=2)
    corner = y[0, :, 0, 0] if layout == "NCHW" else y[0, 0, 0]
    assert corner.tolist() == [10, 50, 90, 130, 170]
    y = pw.conv_integer(x, weight, 200, 3, layout=layout, padding=2)
    assert (y[0, :, 0, 0] if layout == "NCHW" else y[0, 0, 0]).tolist() == [0] * 5


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_threads(layout, rng):
    """Threads change no result, and several threads may call a layer."""
    x, given, how, total = draw(rng, layout, 96, 130, {"H": 23, "W": 29})
    layer = pw.QConv(*given, **how)
    y = expected(given, how, total)
    for threads in (1, 2, 3, 7):
        with pw.num_threads(threads):
            np.testing.assert_array_equal(layer(x), y)
    wrong = []

    def call():
        for _ in range(5):
            if not np.array_equal(layer(x), y):
                wrong.append(1)

    workers = [threading.Thread(target=call) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_pieces_along_output_channels(rng):
    """With few pixels and many output channels, each thread computes a part of the output channels."""
    pw._core._testing.force_teams(True)
    try:
        x, weight = numbers(rng, (2, 40), "uint8"), numbers(rng, (333, 40), "int8")
        total = sums(x, weight, layout="NC")
        for threads in (1, 2, 5):
            with pw.num_threads(threads):
                np.testing.assert_array_equal(pw.conv_integer(x, weight, layout="NC"), total)
    finally:
        pw._core._testing.force_teams(False)


def test_many_input_channels(rng):
    """Sums of 30000 channels are exact. If L2 is small, a piece has fewer than 13 pixels."""
    for layout in ("NC", "CW"):
        x, weight = (
            numbers(rng, (13, 30000) if layout == "NC" else (30000, 13), "int8"),
            numbers(rng, (3, 30000), "int8"),
        )
        total = sums(x, weight, 5, layout=layout)
        np.testing.assert_array_equal(pw.conv_integer(x, weight, 5, layout=layout), total)


@pytest.mark.parametrize("layout", ["NCW", "NWC"])
@pytest.mark.parametrize("state", [Mxcsr.FLUSH, Mxcsr.UP, Mxcsr.TO_ZERO, 0x15])
def test_the_floating_point_state_of_the_caller(layout, state, rng):
    """Neither a layer nor a call depends on the state, and both leave the state and its flags unchanged."""
    x, given, how, total = draw(rng, layout, 24, 33, {"W": 600})
    y = expected(given, how, total)
    mxcsr, word = Mxcsr(), Mxcsr.DEFAULT | state
    before = mxcsr.get()
    for threads in (1, 2):
        with pw.num_threads(threads):
            layer = pw.QConv(*given, **how)
            try:
                mxcsr.set(word)
                found = layer(x)
                after = mxcsr.get()
                made = pw.QConv(*given, **how)
            finally:
                mxcsr.set(before)
        assert after == word
        np.testing.assert_array_equal(found, y)
        np.testing.assert_array_equal(made(x), y)


def test_a_layer_is_its_arguments(rng):
    x, given, how, total = draw(rng, "NHWC", 12, 7, {"H": 3, "W": 4})
    layer = pw.QConv(*given, **how, activation="relu")
    y = expected(given, how, total, "relu")
    for same in (layer, pickle.loads(pickle.dumps(layer)), pickle.loads(pickle.dumps(layer, 0))):
        np.testing.assert_array_equal(same(x), y)
        assert repr(same) == repr(layer)
        for name, value in zip(NAMES, given, strict=True):
            np.testing.assert_array_equal(getattr(same, name), value)
        assert same.x_zero_point.dtype == given[1].dtype
        assert same.y_zero_point.dtype == given[6].dtype
        assert (same.layout, same.groups, same.activation) == ("NHWC", how["groups"], "relu")
        assert (same.stride, same.padding) == (how["stride"], how["padding"])
    with pytest.raises(ValueError, match="read-only"):
        layer.weight[0, 0] = 1
    given[2][...] = 0  # the layer has its own weights
    np.testing.assert_array_equal(layer(x), y)


def test_quantized_float_layers(rng):
    """In every layout, the error of a layer with random weights is below -30 dB."""
    for layout, activation, dtype in itertools.product(("NCHW", "NHWC"), (None, "relu6", ("clip", -1, 1)), BYTES):
        weight, bias = rng.normal(size=(48, 64)).astype("f4"), rng.normal(size=48).astype("f4")
        weight *= np.exp(rng.normal(size=(48, 1))).astype("f4")
        conv = pw.Conv(weight, bias, layout=layout, activation=activation)
        x = np.maximum(rng.normal(size=(2, 64, 9, 9) if layout == "NCHW" else (2, 9, 9, 64)), 0).astype("f4")
        layer = pw.QConv.from_float(conv, x, dtype=dtype)
        error = layer.error(x)
        assert -70 < error < -30
        y = conv(x).astype(float)
        difference = layer.dequantize(layer(layer.quantize(x))) - y
        assert error == pytest.approx(10 * np.log10((difference**2).sum() / (y**2).sum()))
        if activation is None:
            assert pw.QConv.from_float(conv, x, dtype=dtype, per_channel=False).error(x) > error
        assert pickle.loads(pickle.dumps(layer))(layer.quantize(x)).tolist() == layer(layer.quantize(x)).tolist()


def test_quantized_weights(rng):
    weight = rng.normal(size=(6, 50, 1, 1)).astype("f4")
    weight[2] = 0
    for per_channel in (True, False):
        quantized, scale = pw.quantize_weight(weight, per_channel)
        assert quantized.dtype == np.int8
        assert quantized.shape == weight.shape
        assert scale.dtype == np.float32
        assert np.shape(scale) == ((6,) if per_channel else ())
        by_channel = np.reshape(scale, (-1, 1, 1, 1))
        assert (np.abs(quantized * by_channel - weight) <= by_channel * np.float32(0.5001)).all()
        assert np.abs(quantized).max() == 127


def test_calibration(rng):
    x = rng.normal(2, 1, 10000).astype("f4")
    for dtype, percentile in itertools.product(BYTES, (None, 99)):
        scale, zero = pw.calibrate(x, percentile, dtype=dtype)
        limits = np.iinfo(dtype)
        low, high = (float(scale) * (end - int(zero)) for end in (limits.min, limits.max))
        ends = (x.min(), x.max()) if percentile is None else np.percentile(x, [1, 99])
        assert np.allclose([low, high], [min(ends[0], 0), ends[1]], atol=float(scale))
        assert (scale.dtype, zero.dtype) == (np.float32, np.dtype(dtype))
    assert pw.calibrate([0.0, 0.0]) == (1, 0)
    assert pw.calibrate([5.1, 2.55])[1] == 0


@pytest.mark.parametrize("layout", reference.LAYOUTS)
def test_chains_give_the_bits_of_their_layers(layout, rng):
    for c, threads in zip(((5, 16, 37, 8), (64, 1, 70, 33), (3, 130, 4, 0), (0, 7, 2, 2)), (1, 2, 3, 2), strict=True):
        sizes = {"N": 3, "C": c[0], "D": 2, "H": 5, "W": 23}
        dtypes = [BYTES[rng.integers(2)] for _ in c]
        layers = []
        for i in range(3):
            groups = 2 if c[i] % 2 == c[i + 1] % 2 == 0 and c[i + 1] else 1
            weight = numbers(rng, (c[i + 1], c[i] // groups), BYTES[rng.integers(2)])
            zeros = [numbers(rng, (), dtype) for dtype in dtypes[i : i + 2]]
            scale = np.float32(300 * (c[i] + 1) ** 0.5 * 50)
            how = {"layout": layout, "groups": groups, "activation": ACTIVATIONS[rng.integers(2)]}
            if i == 0 and reference.spatial(layout):
                how["stride"] = 2
            layers.append(pw.QConv(1, zeros[0], weight, 1, 0, scale, zeros[1], **how))
        chain = pw.Chain(layers)
        x = views.put("strided", numbers(rng, [sizes[axis] for axis in layout], dtypes[0]))
        y = x
        for layer in layers:
            y = layer(y)
        with pw.num_threads(threads):
            for same in (chain, pickle.loads(pickle.dumps(chain))):
                found = same(x)
                assert found.dtype == y.dtype
                np.testing.assert_array_equal(found, y)
            out, base = views.empty("transposed", y.shape, y.dtype)
            assert chain(x, out=out) is out
            views.assert_wrote_only("transposed", base, y)


def test_wrong_chains():
    def layer(c_in, c_out, x=np.uint8, y=np.uint8, **how):
        return pw.QConv(1, x(0), np.ones((c_out, c_in), np.int8), 1, 0, 1, y(0), **how)

    conv = pw.Conv(np.ones((4, 4), np.float32))
    for layers, error, message in [
        ([layer(4, 4), conv], TypeError, "layers must all be Conv, or all be QConv, got Conv as layer 1"),
        ([conv, layer(4, 4)], TypeError, "layers must all be Conv, or all be QConv, got QConv as layer 1"),
        ([layer(4, 5), layer(4, 4)], ValueError, "layers must have as many input channels .* 5, got 4 in layer 1"),
        ([layer(4, 4), layer(4, 4, np.int8)], ValueError, "layers must read the dtype .* uint8, got int8 in layer 1"),
        ([layer(4, 4), layer(4, 4, layout="NHWC")], ValueError, "layers must all have layout NCHW, got NHWC in layer"),
        ([layer(4, 4, padding=1)], ValueError, "layers must have no padding, got padding in layer 0"),
        ([layer(4, 4), layer(4, 4, stride=2)], ValueError, "layers must have stride 1 after the first layer"),
    ]:
        with pytest.raises(error, match=message):
            pw.Chain(layers)
    x = np.ones((1, 4, 2, 2), np.uint8)
    chain = pw.Chain([layer(4, 4)])
    with pytest.raises(TypeError, match=r"residual must be None for a chain of QConv, got numpy\.ndarray"):
        chain(x, x)
    with pytest.raises(TypeError, match="x must have dtype uint8, got int8"):
        chain(x.astype(np.int8))
    assert chain.layers[0](x).tolist() == chain(x).tolist()
