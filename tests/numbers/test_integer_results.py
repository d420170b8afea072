"""Test results of 8-bit and 16-bit integers: `out_dtype`, and `out` of an integer dtype."""

import pickle

import numpy as np
import pointwise as pw
import pytest
import reference
import views

pytestmark = pytest.mark.kernels

DTYPES = ("uint8", "int8", "uint16", "int16")
F = np.float32


def converted(y, dtype):
    """Return y rounded half to even and saturated. NaN becomes 0."""
    limits = np.iinfo(dtype)
    return np.nan_to_num(np.rint(y.astype(float)).clip(limits.min, limits.max)).astype(dtype)


def problem(rng, layout, c_in, c_out, size, x_dtype="int16", groups=1):
    """Return x, weight and bias. Their float32 sums are exact, and many lie halfway between two integers."""
    sizes = {"N": 2, "C": c_in} | dict(zip("WHD", size, strict=False))
    limits = np.iinfo(x_dtype)
    x = rng.integers(max(limits.min, -2000), min(limits.max, 2000), [sizes[axis] for axis in layout], endpoint=True)
    weight = rng.integers(-7, 8, (c_out, c_in // groups)) / 8
    return x.astype(x_dtype), weight.astype(F), (rng.integers(-9, 10, c_out) / 2).astype(F)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", reference.LAYOUTS)
def test_every_layout(layout, dtype, rng):
    for c_in, c_out, size in ((1, 1, (1, 1, 1)), (3, 3, (37, 5, 2)), (16, 33, (7, 7, 1)), (40, 24, (11, 6, 2))):
        x, weight, bias = problem(rng, layout, c_in, c_out, size)
        y = converted(reference.exact(x.astype(F), weight, bias, layout=layout)[0], dtype)
        out = np.zeros(y.shape, dtype)
        layer = pw.Conv(weight, bias, layout=layout, out_dtype=dtype)
        for result in (
            layer(x),
            layer(x, out=out),
            pw.conv(x, weight, bias, layout=layout, out_dtype=dtype),
            pw.Conv(weight, bias, layout=layout)(x, out=np.zeros(y.shape, dtype)),
            pw.mix(x, weight, bias, axis=layout.index("C"), out_dtype=dtype),
        ):
            assert result.dtype == dtype
            np.testing.assert_array_equal(result, y)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("way", views.WAYS)
def test_every_view(way, dtype, rng):
    """Nothing around a view is written."""
    for layout, c_out in (("NCHW", 17), ("NHWC", 17), ("NHWC", 3), ("HWC", 1)):
        x, weight, bias = problem(rng, layout, 5, c_out, (29, 3))
        y = converted(reference.exact(x.astype(F), weight, bias, layout=layout)[0], dtype)
        for how in ({}, {"out_dtype": dtype}):
            out, base = views.empty(way, y.shape, dtype)
            assert pw.Conv(weight, bias, layout=layout, **how)(views.put(way, x), out=out) is out
            np.testing.assert_array_equal(out, y)
            views.assert_wrote_only(way, base, y)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_a_slice_of_channels(layout, dtype, rng):
    """`out` may be three of four channels, as in an image with transparency."""
    x, weight, _ = problem(rng, layout, 4, 3, (50, 20))
    axis = layout.index("C")
    both = np.full(x.shape, 7, dtype)
    out = both.swapaxes(0, axis)[:3].swapaxes(0, axis)
    pw.conv(x, weight, layout=layout, out=out)
    np.testing.assert_array_equal(out, converted(pw.conv(x, weight, layout=layout), dtype))
    assert (both.take(3, axis) == 7).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_stride_padding_and_groups(layout, dtype, rng):
    for stride, padding, groups in ((2, 0, 1), (1, 2, 1), (3, 1, 2), ((2, 1), (0, 3), 4), (1, 1, 8)):
        x, weight, bias = problem(rng, layout, 8, 16, (10, 7), groups=groups)
        how = {"layout": layout, "stride": stride, "padding": padding, "groups": groups}
        y = converted(reference.exact(x.astype(F), weight, bias, **how)[0], dtype)
        np.testing.assert_array_equal(pw.Conv(weight, bias, out_dtype=dtype, **how)(x), y)
        np.testing.assert_array_equal(pw.conv(x, weight, bias, out_dtype=dtype, **how), y)


@pytest.mark.parametrize("x_dtype", DTYPES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_what_comes_before_the_conversion(dtype, x_dtype, rng):
    """The sum, input_scale and the activation are float32."""
    for activation in ("relu", ("clip", -3, 100), "gelu", "sigmoid"):
        x, weight, bias = problem(rng, "NHWC", 24, 40, (9, 8), x_dtype)
        scale = rng.random((2, 24), F)
        layer = pw.Conv(weight, bias, layout="NHWC", activation=activation)
        y = converted(layer(x, input_scale=scale), dtype)
        out = np.empty(y.shape, dtype)
        np.testing.assert_array_equal(layer(x, out=out, input_scale=scale), y)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("activation", [None, "relu", "gelu", ("clip", 30, 200), "prelu"])
def test_few_channels_of_uint8(activation, layout, rng):
    """Kernels for few channels convert numbers in registers, with and without further steps after the sum."""
    for c_in in range(1, 6):
        for c_out in range(1, 6):
            slopes = ("prelu", tuple(float(n) for n in rng.integers(-3, 4, c_out) / 2))
            function = slopes if activation == "prelu" else activation
            for size in ((1, 1), (7, 3), (23, 1), (61, 9)):
                x, weight, bias = problem(rng, layout, c_in, c_out, size, "uint8")
                layer = pw.Conv(weight, bias, layout=layout, activation=function)
                y = converted(layer(x), "uint8")
                np.testing.assert_array_equal(layer(x, out=np.empty_like(y)), y)
                np.testing.assert_array_equal(
                    pw.conv(x, weight, bias, layout=layout, activation=function, out_dtype="uint8"), y
                )
                chain = pw.Chain([pw.Conv(weight, bias, layout=layout, activation=function, out_dtype="uint8")])
                np.testing.assert_array_equal(chain(x), y)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["NC", "CW", "WC"])
def test_numbers_that_need_care(layout, dtype):
    """Results are right for numbers near each k + 1/2 and each end of the range, for NaN and for infinities."""
    limits = np.iinfo(dtype)
    near = [limits.min, limits.max, -1, 0, 1, 2, 7, 127, 128]
    numbers = [v + d for v in near for d in (-1, -0.75, -0.5, -0.25, 0, 0.25, 0.5, 0.75, 1)]
    numbers += [np.nextafter(F(0.5), F(1)), np.nextafter(F(0.5), F(0)), -0.0, 1e9, -1e9, 3e38, np.inf, -np.inf, np.nan]
    bias = np.array(numbers, F)
    weight, x = np.zeros((len(bias), 1), F), np.ones((1, 1), np.uint8)
    y = pw.conv(x, weight, bias, layout=layout, out_dtype=dtype)
    np.testing.assert_array_equal(y.ravel(), converted(bias, dtype))
    for count in range(1, 40):  # every remainder of lanes
        many = pw.mix(np.ones((count, 1), np.uint8), weight, bias, out_dtype=dtype)
        np.testing.assert_array_equal(many, np.broadcast_to(converted(bias, dtype), many.shape))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_the_same_bits_everywhere(layout, dtype, rng):
    """The conversion gives the same numbers in long sums, in large images and on several threads."""
    for c_in, c_out, size in ((1600, 24, (30, 1)), (64, 64, (41, 40)), (3, 3, (700, 300)), (2, 3000, (5, 3))):
        x, _, bias = problem(rng, layout, c_in, c_out, size, "uint8")
        weight = rng.standard_normal((c_out, c_in), F) / F(8)
        layer = pw.Conv(weight, bias, layout=layout)
        y = converted(layer(x), dtype)
        for threads in (1, 3):
            with pw.num_threads(threads):
                np.testing.assert_array_equal(layer(x, out=np.empty(y.shape, dtype)), y)
                np.testing.assert_array_equal(pw.conv(x, weight, bias, layout=layout, out_dtype=dtype), y)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
def test_a_chain(layout, rng):
    """Between two layers, numbers have the dtype of the results of the first layer."""
    for size in ((9, 8), (130, 100)):
        x, weight, bias = problem(rng, layout, 12, 40, size, "uint8")
        first = pw.Conv(weight, bias, layout=layout, out_dtype="int8")
        middle = pw.Conv(rng.integers(-3, 4, (24, 40)).astype(F) / 4, layout=layout, out_dtype="uint16")
        last = pw.Conv(rng.integers(-3, 4, (5, 24)).astype(F), layout=layout)
        floating = pw.Chain([first, middle, last])
        assert floating(x).dtype == F
        np.testing.assert_array_equal(floating(x), last(middle(first(x))))
        out = np.empty(last(middle(first(x))).shape, np.int16)
        np.testing.assert_array_equal(floating(x, out=out), converted(floating(x), "int16"))
        integers = pw.Chain([first, middle])
        assert integers(x).dtype == np.uint16
        np.testing.assert_array_equal(integers(x), middle(first(x)))
        assert "layer 1" in integers.explain(x.shape)


def test_more_axes_than_a_layer_has(rng):
    x = rng.integers(0, 255, (2, 3, 2, 3, 2, 3, 4), np.uint8, endpoint=True)
    matrix = rng.standard_normal((5, 4), F)
    turned = x.transpose(5, 3, 1, 0, 2, 4, 6)
    np.testing.assert_array_equal(pw.mix(turned, matrix, out_dtype="u1"), converted(pw.mix(turned, matrix), "u1"))


def test_a_layer_says_its_out_dtype():
    layer = pw.Conv(np.ones((2, 3), F), out_dtype=np.uint8)
    assert layer.out_dtype == np.uint8
    assert layer.dtype == F
    assert repr(layer) == "Conv(3 -> 2, float32, layout='NCHW', out_dtype='uint8')"
    copy = pickle.loads(pickle.dumps(layer))
    assert copy.out_dtype == np.uint8
    assert copy(np.full((1, 3, 1, 1), 100, np.uint8)).ravel().tolist() == [255, 255]
    assert pw.isa() in layer.explain((1, 3, 8, 8))
    assert pw.Conv(np.ones((2, 3), F)).out_dtype is None
    folded = pw.Conv.from_batchnorm(
        np.ones((1, 1), F), None, mean=np.zeros(1, F), variance=np.ones(1, F), eps=0, out_dtype="int8"
    )
    assert folded.out_dtype == np.int8


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_dtype_that_results_have_anyway(dtype):
    x, weight = np.ones((1, 2, 3, 3), dtype), np.ones((1, 2), dtype)
    assert pw.conv(x, weight, out_dtype=dtype).dtype == dtype
    assert pw.Conv(weight, out_dtype=dtype)(x).dtype == dtype
    assert pw.mix(x, np.ones((1, 3)), out_dtype=dtype).dtype == dtype
    assert pw.conv(x.astype(np.uint8), weight.astype(F), out_dtype=F).dtype == F


@pytest.mark.parametrize("dtype", DTYPES)
def test_empty(dtype):
    layer = pw.Conv(np.ones((3, 2), F), np.array([0.5, 1.5, -7], F), out_dtype=dtype)
    assert layer(np.ones((0, 2, 4, 4), np.uint8)).shape == (0, 3, 4, 4)
    nothing = pw.conv(np.ones((1, 0, 1, 1), np.uint8), np.ones((3, 0), F), layer.bias, out_dtype=dtype)
    assert nothing.ravel().tolist() == [0, 2, max(-7, np.iinfo(dtype).min)]


class TestErrors:
    X = np.ones((1, 2, 3, 3), np.uint8)
    W = np.ones((1, 2), F)

    @pytest.mark.parametrize("x_dtype", [F, np.float64])
    def test_floating_x(self, x_dtype):
        x = self.X.astype(x_dtype)
        expected = rf"^x must be uint8, int8, uint16 or int16 for out_dtype uint8, got {np.dtype(x_dtype)}: "
        for call in (
            lambda: pw.conv(x, self.W, out_dtype=np.uint8),
            lambda: pw.mix(x, [[1, 2, 3]], out_dtype=np.uint8),
            lambda: pw.Conv(self.W, out_dtype=np.uint8)(x),
            lambda: pw.Chain([pw.Conv(self.W, out_dtype=np.uint8)])(x),
        ):
            with pytest.raises(TypeError, match=expected):
                call()

    def test_out_and_out_dtype_differ(self):
        out = np.full((1, 1, 3, 3), 7, np.int8)
        for call in (
            lambda: pw.conv(self.X, self.W, out=out, out_dtype="uint8"),
            lambda: pw.Conv(self.W, out_dtype="uint8")(self.X, out=out),
            lambda: pw.mix(self.X, self.W, axis=1, out=out, out_dtype="uint8"),
        ):
            with pytest.raises(TypeError, match=r"^out must have dtype uint8, got int8$"):
                call()
        assert (out == 7).all()

    def test_out_of_another_dtype(self):
        for dtype in ("int32", "float64", "uint64"):
            expected = rf"^out must have dtype float32, uint8, int8, uint16, int16, float16 or bfloat16, got {dtype}$"
            with pytest.raises(TypeError, match=expected):
                pw.conv(self.X, self.W, out=np.empty((1, 1, 3, 3), dtype))
        with pytest.raises(TypeError, match=r"^out must have dtype float32, float16 or bfloat16, got uint8$"):
            pw.conv(self.X.astype(F), self.W, out=np.empty((1, 1, 3, 3), np.uint8))

    @pytest.mark.parametrize("out_dtype", ["int32", "bool", "complex64", "U3", object, "no dtype", 3, [1]])
    def test_no_dtype_of_results(self, out_dtype):
        for call in (
            lambda: pw.conv(self.X, self.W, out_dtype=out_dtype),
            lambda: pw.mix(self.X, self.W, axis=1, out_dtype=out_dtype),
            lambda: pw.Conv(self.W, out_dtype=out_dtype),
        ):
            with pytest.raises(TypeError, match=r"^out_dtype must be None or float32, float64, float16, bf"):
                call()

    def test_other_floating_results(self):
        with pytest.raises(TypeError, match=r"^out_dtype must be float64 for x of dtype float64, got float32: pass x"):
            pw.mix(np.ones(2), self.W, out_dtype=F)
        with pytest.raises(TypeError, match=r"^out_dtype must be float32, float16 or bfloat16, or uint8, "):
            pw.conv(self.X, self.W, out_dtype=np.float64)
        with pytest.raises(
            TypeError, match=r"^out_dtype must be float64 for a layer of dtype float64, got uint8: pass d"
        ):
            pw.Conv(np.ones((1, 2)), out_dtype=np.uint8)
        with pytest.raises(TypeError, match="native byte order"):
            pw.conv(self.X, self.W, out_dtype=">u2")

    def test_residual(self):
        expected = r"^residual must be None for results of dtype uint8, got an array: add it to a float32 result$"
        for residual in (np.ones((1, 1, 3, 3), F), np.ones((1, 1, 3, 3), np.uint8)):
            for call in (
                lambda r: pw.conv(self.X, self.W, residual=r, out_dtype="uint8"),
                lambda r: pw.Conv(self.W)(self.X, r, np.empty((1, 1, 3, 3), np.uint8)),
                lambda r: pw.Chain([pw.Conv(self.W, out_dtype="uint8")])(self.X, r),
            ):
                with pytest.raises(TypeError, match=expected):
                    call(residual)

    def test_a_chain_that_makes_integers_of_floats(self):
        expected = r"^layers must form a chain: layer 1 must read integers, because it gives uint8, got float32 from"
        with pytest.raises(ValueError, match=expected):
            pw.Chain([pw.Conv(self.W), pw.Conv(np.ones((2, 1), F), out_dtype=np.uint8)])

    def test_out_that_shares_memory_with_x(self):
        x = np.ones((1, 1, 3, 3), np.uint8)
        with pytest.raises(ValueError, match=r"^out must share no element with x"):
            pw.conv(x, np.ones((1, 1), F), out=x)
