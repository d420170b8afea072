"""Test that `input_scale` gives the same bits as a convolution of the array x * scale."""

import itertools
import pickle
import threading

import definitions
import numpy as np
import pointwise as pw
import pytest
import reference
import views

SIZES = {"N": 3, "C": 6, "D": 2, "H": 3, "W": 9}


def shape_of(layout, **sizes):
    return tuple((SIZES | sizes)[axis] for axis in layout)


def numbers(rng, shape, dtype=np.float32):
    """Return numbers of many magnitudes. If a product x * scale were not rounded before the sum, bits would change."""
    return (rng.standard_normal(shape) * 2.0 ** rng.integers(-9, 10, shape)).astype(dtype)


def broadcast(scale, layout):
    """Return scales of shape (N, C) or (C,) as an array that NumPy broadcasts in a product with x."""
    if "N" not in layout:
        scale = scale[None]
    return scale.reshape([scale.shape["NC".index(a)] if a in "NC" else 1 for a in layout])


def check(x, weight, bias=None, residual=None, *, scale, layout="NCHW", **how):
    how["layout"] = layout
    multiplied = x * broadcast(np.asarray(scale), layout).astype(x.dtype)
    expected = pw.conv(multiplied, weight, bias, residual=residual, **how)
    layer = pw.Conv(weight, bias, **how)
    reference.assert_same_bits(layer(multiplied, residual), expected)
    reference.assert_same_bits(layer(x, residual, input_scale=scale), expected)
    reference.assert_same_bits(pw.conv(x, weight, bias, residual=residual, input_scale=scale, **how), expected)
    out = np.full_like(expected, np.nan)
    assert layer(x, residual, out, input_scale=scale) is out
    reference.assert_same_bits(out, expected)
    return expected


def scales_of(rng, layout, dtype=np.float32, **sizes):
    sizes = SIZES | sizes
    return numbers(rng, (sizes["N"], sizes["C"]) if "N" in layout else (sizes["C"],), dtype)


@pytest.mark.parametrize("layout", reference.LAYOUTS)
class TestEveryLayout:
    @pytest.mark.parametrize("how", [{}, {"stride": 2}, {"padding": 1}, {"stride": 2, "padding": 3}], ids=str)
    @pytest.mark.parametrize("groups", [1, 2, 3])
    def test_strides_padding_and_groups(self, layout, how, groups, dtype, rng):
        x, weight, bias = (numbers(rng, shape, dtype) for shape in (shape_of(layout), (18, 6 // groups), (18,)))
        y = check(x, weight, bias, scale=scales_of(rng, layout, dtype), layout=layout, groups=groups, **how)
        residual = numbers(rng, y.shape, dtype)
        how = how | {"groups": groups, "activation": "silu"}
        check(x, weight, bias, residual, scale=scales_of(rng, layout, dtype), layout=layout, **how)

    def test_its_shapes(self, layout, dtype, rng):
        """A scale has shape (N, C) or (C,), or the shape of x with spatial axes of length 1."""
        x, weight, scale = (
            numbers(rng, shape_of(layout), dtype),
            numbers(rng, (7, 6), dtype),
            scales_of(rng, layout, dtype),
        )
        expected = check(x, weight, scale=scale, layout=layout)
        whole = broadcast(scale, layout)
        assert whole.ndim == x.ndim
        for given in (whole, whole.tolist(), np.asfortranarray(whole), whole.view(type("Mine", (np.ndarray,), {}))):
            reference.assert_same_bits(pw.conv(x, weight, layout=layout, input_scale=given), expected)

    @pytest.mark.parametrize("way", views.WAYS)
    def test_views_of_x(self, layout, way, rng):
        x, weight, scale = numbers(rng, shape_of(layout)), numbers(rng, (19, 6)), scales_of(rng, layout)
        given = views.put(way, x)
        for how in ({}, {"stride": 2}):
            expected = pw.conv(x * broadcast(scale, layout), weight, layout=layout, **how)
            layer = pw.Conv(weight, layout=layout, **how)
            out, base = views.empty(way, expected.shape, x.dtype)
            assert layer(given, out=out, input_scale=scale) is out
            views.assert_wrote_only(way, base, expected)
            reference.assert_same_bits(given, x)


@pytest.mark.parametrize("layout", [layout for layout in reference.LAYOUTS if "N" in layout])
@pytest.mark.parametrize("n", [0, 1, 2, 40])
def test_batches(layout, n, dtype, rng):
    """Each image has its own scales, even if images of one pixel share a tile."""
    for size in (1, 2):
        sizes = {"N": n, "D": 1, "H": size, "W": 1}
        x, weight = numbers(rng, shape_of(layout, **sizes), dtype), numbers(rng, (21, 6), dtype)
        check(x, weight, scale=scales_of(rng, layout, dtype, N=n), layout=layout)


class TestItsView:
    @pytest.mark.parametrize(
        "take",
        [
            lambda a: a[:3, :20],
            lambda a: a[3::-1, 20::-1][:3, :20],
            lambda a: a[::2, ::2][:3, :20],
            lambda a: a[:20, :3].T,
            lambda a: np.broadcast_to(a[0, :20], (3, 20)),
            lambda a: np.broadcast_to(a[:3, :1], (3, 20)),
            lambda a: np.broadcast_to(a[0, 0], (3, 20)),
            lambda a: np.lib.stride_tricks.as_strided(a, (3, 20), (a.itemsize, a.itemsize)),
            lambda a: views.put("misaligned", a[:3, :20]),
            lambda a: views.put("record", a[:3, :20]),
            lambda a: views.put("transposed", a[:3, :20]),
        ],
    )
    @pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
    def test_strides(self, take, layout, dtype, rng):
        scale = take(numbers(rng, (50, 50), dtype))
        scale.flags.writeable = False
        x, weight = numbers(rng, shape_of(layout, C=20), dtype), numbers(rng, (9, 20), dtype)
        check(x, weight, scale=scale, layout=layout)

    def test_axes_of_length_one_may_have_any_stride(self, rng):
        x, weight, scale = numbers(rng, shape_of("NHWC")), numbers(rng, (9, 6)), scales_of(rng, "NHWC")
        odd = np.lib.stride_tricks.as_strided(scale, (3, 1, 1, 6), (24, 10**12, -(10**12), 4))
        reference.assert_same_bits(
            pw.conv(x, weight, layout="NHWC", input_scale=odd), pw.conv(x, weight, layout="NHWC", input_scale=scale)
        )

    @pytest.mark.parametrize("kind", ["f2", "f4", "f8", "i1", "u4", "i8", "?", "list"])
    def test_casts(self, kind, dtype, rng):
        """A scale is cast by NumPy's rule "same_kind", like weight and bias, and then multiplied."""
        x, weight, scale = numbers(rng, (3, 6, 4), dtype), numbers(rng, (9, 6), dtype), numbers(rng, (3, 6), np.float64)
        given = scale.tolist() if kind == "list" else scale.astype(kind)
        check(x, weight, scale=given, layout="NCW")

    def test_beyond_the_range_of_x(self):
        x, weight = np.ones((1, 2), np.float32), np.ones((3, 2), np.float32)
        with np.errstate(all="raise"):
            assert (pw.conv(x, weight, layout="NC", input_scale=[[1e300, 1.0]]) == np.inf).all()
            assert (pw.conv(x, weight, layout="NC", input_scale=[[1e-300, 1.0]]) == 1).all()


@pytest.mark.kernels
@pytest.mark.parametrize("layout", ["NCW", "NWC"])
class TestSizes:
    @pytest.mark.parametrize(("c_in", "c_out"), [(0, 3), (1, 1), (15, 33), (17, 16), (129, 24), (2051, 20)])
    @pytest.mark.parametrize("pixels", [0, 1, 7, 33, 130])
    def test_channels_and_pixels(self, layout, c_in, c_out, pixels, dtype, rng):
        sizes = {"C": c_in, "W": pixels}
        x, weight = numbers(rng, shape_of(layout, **sizes), dtype), numbers(rng, (c_out, c_in), dtype)
        residual = numbers(rng, shape_of(layout, C=c_out, W=pixels), dtype)
        scale = scales_of(rng, layout, dtype, C=c_in)
        y = check(x, weight, numbers(rng, c_out, dtype), residual, scale=scale, layout=layout, activation="relu")
        assert y.size == 3 * c_out * pixels

    @pytest.mark.parametrize("threads", [1, 2, 5])
    @pytest.mark.parametrize(("n", "c_in", "c_out", "pixels"), [(3, 70, 40, 900), (300, 48, 40, 1), (40, 33, 20, 4)])
    def test_threads(self, layout, threads, n, c_in, c_out, pixels, rng):
        x, weight = numbers(rng, shape_of(layout, N=n, C=c_in, W=pixels)), numbers(rng, (c_out, c_in))
        with pw.num_threads(threads):
            check(x, weight, scale=scales_of(rng, layout, N=n, C=c_in), layout=layout)

    @pytest.mark.parametrize("activation", definitions.ACTIVATIONS, ids=definitions.label)
    def test_with_residual_in_place(self, layout, activation, dtype, rng):
        x, weight, scale = (
            numbers(rng, shape_of(layout), dtype),
            numbers(rng, (19, 6), dtype),
            scales_of(rng, layout, dtype),
        )
        residual = numbers(rng, shape_of(layout, C=19), dtype)
        expected = check(x, weight, None, residual, scale=scale, layout=layout, activation=activation)
        out = residual.copy()
        pw.conv(x, weight, layout=layout, activation=activation, residual=out, out=out, input_scale=scale)
        reference.assert_same_bits(out, expected)

    def test_no_numbers(self, layout, dtype, rng):
        """0 * inf is NaN, and special numbers of an image do not change the results of another image."""
        x, weight = numbers(rng, shape_of(layout, W=40), dtype), numbers(rng, (19, 6), dtype)
        x[0, 0, 0], x[1] = 0, 0
        scale = scales_of(rng, layout, dtype)
        scale[0, 0], scale[1, 3], scale[2, 4] = np.inf, -0.0, np.nan
        with np.errstate(invalid="ignore"):
            y = check(x, weight, scale=scale, layout=layout)
        assert np.isnan(y[0]).any()
        assert np.isfinite(y[1]).all()
        assert np.isnan(y[2]).all()


F = np.float32
GOOD = {"x": np.ones((2, 3, 4, 5), F), "weight": np.ones((6, 3), F)}
SHAPE = r"input_scale must have shape \(images, input channels\), or the axes of x with spatial axes of length 1, got "
WRONG = [
    (np.ones(3, F), ValueError, SHAPE + r"\(3,\)"),
    (1.0, ValueError, SHAPE + r"\(\)"),
    (np.ones((2, 3, 1), F), ValueError, SHAPE + r"\(2, 3, 1\)"),
    (np.ones((2, 3, 1, 2), F), ValueError, SHAPE + r"\(2, 3, 1, 2\)"),
    (np.ones((2, 3, 4, 5), F), ValueError, SHAPE + r"\(2, 3, 4, 5\)"),
    (np.ones((2, 3, 1, 1, 1), F), ValueError, SHAPE + r"\(2, 3, 1, 1, 1\)"),
    (np.ones((2, 3) + (1,) * 20, F), ValueError, SHAPE),
    (np.ones((1, 3), F), ValueError, r"input_scale must have shape \(2, 3\), got \(1, 3\)"),
    (np.ones((2, 1), F), ValueError, r"input_scale must have shape \(2, 3\), got \(2, 1\)"),
    (np.ones((3, 2), F), ValueError, r"input_scale must have shape \(2, 3\), got \(3, 2\)"),
    (np.ones((0, 3), F), ValueError, r"input_scale must have shape \(2, 3\), got \(0, 3\)"),
    (np.ones((1, 3, 1, 1), F), ValueError, r"input_scale must have shape \(2, 3\), got \(1, 3\)"),
    ([[1.0], [1.0, 2.0]], ValueError, "input_scale must be an array"),
    (np.ones((2, 3), complex), TypeError, "input_scale must be castable to float32 .*got complex128"),
    (np.full((2, 3), "1"), TypeError, "input_scale must be castable to float32 .*got <U1"),
    (object(), TypeError, "input_scale must be castable to float32 .*got object"),
    (np.ma.ones((2, 3), F), TypeError, "input_scale must be a plain array, got a MaskedArray: pass input_scale.filled"),
    (np.ones((2, 3), ">f4"), TypeError, "input_scale must have native byte order, got >f4: pass input_scale.astype"),
]


class TestErrors:
    @pytest.mark.parametrize(("scale", "exception", "message"), WRONG)
    def test_what_is_no_scale(self, scale, exception, message):
        out = np.full((2, 6, 4, 5), 7, F)
        layer = pw.Conv(GOOD["weight"])
        for call in (
            lambda: pw.conv(**GOOD, input_scale=scale, out=out),
            lambda: layer(GOOD["x"], input_scale=scale, out=out),
            lambda: layer(GOOD["x"], input_scale=scale),
        ):
            with pytest.raises(exception, match="^" + message):
                call()
        assert (out == 7).all()

    def test_of_layouts_without_a_batch(self):
        x, weight = np.ones((3, 4), F), np.ones((6, 3), F)
        message = (
            r"^input_scale must have shape \(input channels,\), "
            r"or the axes of x with spatial axes of length 1, got \(1, 3\)"
        )
        with pytest.raises(ValueError, match=message):
            pw.conv(x, weight, layout="CW", input_scale=np.ones((1, 3), F))
        with pytest.raises(ValueError, match=r"^input_scale must have shape \(3,\), got \(4,\)"):
            pw.conv(x, weight, layout="CW", input_scale=np.ones(4, F))

    def test_a_layer_takes_it_by_name_alone(self):
        layer, scale = pw.Conv(GOOD["weight"]), np.ones((2, 3), F)
        with pytest.raises(TypeError, match="takes x, residual, out and input_scale, got 4 positional arguments"):
            layer(GOOD["x"], None, None, scale)
        with pytest.raises(TypeError, match="unexpected argument 'inputscale'"):
            layer(GOOD["x"], inputscale=scale)
        with pytest.raises(TypeError):
            pw.conv(GOOD["x"], GOOD["weight"], None, scale)
        assert (layer(x=GOOD["x"], residual=None, out=None, input_scale=None) == 3).all()
        with pytest.raises(TypeError, match=r"unexpected argument 'input_scale'"):
            pw.Chain([layer])(GOOD["x"], input_scale=scale)

    @pytest.mark.parametrize("place", ["begin", "end", "interleaved", "one number"])
    def test_out_may_share_no_element_with_it(self, place, rng):
        memory = numbers(rng, 400)
        out = memory[100:340].reshape(2, 6, 4, 5)
        scale = {
            "begin": memory[95:101].reshape(2, 3),
            "end": memory[339:345].reshape(2, 3),
            "interleaved": memory[80:110:5].reshape(2, 3),
            "one number": np.broadcast_to(memory[200:201], (2, 3)),
        }[place]
        before = memory.tobytes()
        layer = pw.Conv(GOOD["weight"])
        for call in (
            lambda: pw.conv(**GOOD, input_scale=scale, out=out),
            lambda: layer(GOOD["x"], input_scale=scale, out=out),
            lambda: layer(GOOD["x"], input_scale=scale[:, :, None, None], out=out),
            lambda: layer(GOOD["x"], residual=out, input_scale=scale, out=out),
        ):
            with pytest.raises(
                ValueError, match=r"^out must share no element with input_scale, got overlapping arrays"
            ):
                call()
        assert memory.tobytes() == before

    def test_what_lies_between_outs_elements_is_no_overlap(self, rng):
        memory = numbers(rng, 482)
        out, scale = memory[:480:2].reshape(2, 6, 4, 5), memory[1:13:2].reshape(2, 3)
        expected = pw.conv(**GOOD, input_scale=scale.copy())
        pw.conv(**GOOD, input_scale=scale, out=out)
        reference.assert_same_bits(out, expected)

    def test_it_may_be_a_part_of_x(self, rng):
        x, weight = numbers(rng, (2, 3, 4, 5)), numbers(rng, (6, 3))
        expected = pw.conv(x, weight, input_scale=x[:, :, 1, 2].copy())
        reference.assert_same_bits(pw.conv(x, weight, input_scale=x[:, :, 1, 2]), expected)
        reference.assert_same_bits(pw.conv(x, weight, input_scale=x[:, :, 1:2, 2:3]), expected)


def test_a_pickled_layer(rng):
    """A pickled layer computes with and without a scale, because the scale belongs to the call."""
    x, weight, scale = numbers(rng, (3, 6, 4, 5)), numbers(rng, (19, 6)), numbers(rng, (3, 6))
    layer = pw.Conv(weight, activation="gelu")
    expected, plain = layer(x, input_scale=scale), layer(x)
    again = pickle.loads(pickle.dumps(layer))
    reference.assert_same_bits(again(x, input_scale=scale), expected)
    reference.assert_same_bits(again(x), plain)


def test_one_layer_with_and_without_it_in_turn(rng):
    """A layer keeps different plans for calls with a scale and for calls without a scale."""
    x, weight = numbers(rng, (3, 6, 4, 5)), numbers(rng, (19, 6))
    layer, scales = pw.Conv(weight), [None, numbers(rng, (3, 6)), np.broadcast_to(numbers(rng, (3, 1)), (3, 6))]
    scales += [np.broadcast_to(numbers(rng, 6), (3, 6)), numbers(rng, (6, 6))[::2], numbers(rng, (6, 3)).T]
    expected = [pw.conv(x if s is None else x * s[:, :, None, None], weight) for s in scales]
    for first, second in itertools.product(range(len(scales)), repeat=2):
        for at in (first, second):
            reference.assert_same_bits(layer(x, input_scale=scales[at]), expected[at])


def test_eight_threads_at_once(rng):
    layer = pw.Conv(numbers(rng, (40, 33)), activation="relu")
    calls = []
    for shape in [(1, 33, 1, 1), (2, 33, 7, 7), (3, 33, 28, 28), (60, 33, 1, 1)]:
        x, scale = numbers(rng, shape), numbers(rng, shape[:2])
        calls.append((x, scale, layer(x * scale[:, :, None, None])))
    failures, start = [], threading.Barrier(8)

    def work(first):
        try:
            start.wait(timeout=60)
            for i in range(20):
                x, scale, expected = calls[(first + i) % len(calls)]
                assert layer(x, input_scale=scale).tobytes() == expected.tobytes()
        except BaseException as error:
            failures.append(error)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not failures
