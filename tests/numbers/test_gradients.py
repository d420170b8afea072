"""Test gradients: exact results, bits, views, finite differences, errors, and a comparison with PyTorch."""

import itertools

import isas
import numpy as np
import pointwise as pw
import pytest
import reference
import views
from pointwise import _core

pytestmark = pytest.mark.kernels
canonical_only = pytest.mark.skipif(pw.isa() == "portable", reason="the portable kernels keep the bound, not the bits")
INTEGERS = ("uint8", "int8", "uint16", "int16")
LARGEST = {"D": 4, "H": 6, "W": 9}


def small(rng, shape, dtype):
    least = 0 if np.dtype(dtype).kind == "u" else -4
    return rng.integers(least, 5, shape).astype(dtype)


def x_shape_of(layout, channels, images, sizes):
    return tuple({"N": images, "C": channels}.get(axis) or sizes[axis] for axis in layout)


def y_shape_of(x_shape, c_out, layout, stride, padding, groups=1):
    return pw.cost(x_shape, c_out, layout=layout, stride=stride, padding=padding, groups=groups).output_shape


class Case:
    """Random integers for a convolution, and the arguments of its gradients."""

    def __init__(self, rng, layout, dtype, x_dtype=None):
        self.groups = int(rng.choice([1, 1, 1, 2, 3]))
        c_in, self.c_out = (int(rng.choice([1, 2, 3, 5, 8, 16, 17, 33, 50])) * self.groups for _ in range(2))
        spatial = [axis for axis in layout if axis in "DHW"]
        stride = [int(n) for n in rng.choice([1, 1, 2, 3, 40], len(spatial))]
        padding = [int(n) for n in rng.choice([0, 0, 1, 2, 7], len(spatial))]
        if spatial and rng.integers(2):
            stride, padding = [1] * len(spatial), [0] * len(spatial)
        self.how = {"layout": layout, "stride": tuple(stride) if spatial else 1}
        self.how["padding"] = tuple(padding) if spatial else 0
        sizes = {axis: int(rng.integers(1, most + 1)) for axis, most in LARGEST.items()}
        self.x_shape = x_shape_of(layout, c_in, int(rng.integers(1, 5)), sizes)
        self.x = small(rng, self.x_shape, x_dtype or dtype)
        self.weight = small(rng, (self.c_out, c_in // self.groups), dtype)
        self.grad = small(rng, y_shape_of(self.x_shape, self.c_out, groups=self.groups, **self.how), dtype)
        self.how["groups"] = self.groups

    def input(self, **arguments):
        given = {"grad": self.grad, "weight": self.weight, "x_shape": self.x_shape}
        return pw.conv_grad_input(**(given | self.how | arguments))

    def of_weight(self, **arguments):
        return pw.conv_grad_weight(**({"grad": self.grad, "x": self.x} | self.how | arguments))

    def bias(self, **arguments):
        return pw.conv_grad_bias(**({"grad": self.grad, "layout": self.how["layout"]} | arguments))

    def sums(self):
        return self.grad.astype(float).sum(tuple(i for i, axis in enumerate(self.how["layout"]) if axis != "C"))


@pytest.mark.any_cpu
@pytest.mark.parametrize("layout", reference.LAYOUTS)
def test_the_adjoint_identity(layout, dtype, rng):
    """<conv(x), grad> = <x, dx> = <weight, dw>, exactly, and dx, dw and db equal the definition."""
    for _ in range(12):
        case = Case(rng, layout, dtype)
        y = pw.conv(case.x, case.weight, **case.how)
        dx, dw, db = case.input(), case.of_weight(), case.bias()
        assert dx.dtype == dw.dtype == db.dtype == dtype
        product = np.vdot(y.astype(float), case.grad.astype(float))
        assert product == np.vdot(case.x.astype(float), dx.astype(float))
        assert product == np.vdot(case.weight.astype(float), dw.astype(float))
        np.testing.assert_array_equal(dx, reference.grad_input(case.grad, case.weight, case.x_shape, **case.how))
        np.testing.assert_array_equal(dw, reference.grad_weight(case.grad, case.x, **case.how))
        np.testing.assert_array_equal(db, case.sums())


@pytest.mark.parametrize("way", views.WAYS)
def test_every_view(way, dtype, rng):
    """grad, weight, x and out are views of every kind. The calls write nothing outside `out`."""
    for layout in ("NCHW", "NHWC", "NCW", "DHWC", "NC", "C"):
        case = Case(rng, layout, dtype)
        expected = [case.input(), case.of_weight(), case.bias()]
        case.grad, case.weight, case.x = (views.put(way, a) for a in (case.grad, case.weight, case.x))
        for call, want in zip((case.input, case.of_weight, case.bias), expected, strict=True):
            np.testing.assert_array_equal(call(), want)
            out, base = views.empty(way, want.shape, dtype)
            assert call(out=out) is out
            views.assert_wrote_only(way, base, want)
            assert call(out=out, accumulate=True) is out
            views.assert_wrote_only(way, base, 2 * want)


@pytest.mark.parametrize("pixels", [0, 1, 2, 7, 16, 255, 256, 257, 511, 512, 513, 1024, 1100])
def test_every_remainder(pixels, dtype, rng):
    """Gradients are exact for numbers of pixels and channels near the sizes of chunks, vectors, tiles and panels."""
    for c_out, c_in in itertools.product((1, 2, 7, 8, 9, 16, 24, 33, 49, 65), (1, 3, 8, 15, 17, 48, 65)):
        layout = ("CW", "WC")[int(rng.integers(2))]
        shape = {"CW": (c_in, pixels), "WC": (pixels, c_in)}[layout]
        x, grad = small(rng, shape, dtype), small(rng, y_shape_of(shape, c_out, layout, 1, 0), dtype)
        dw = pw.conv_grad_weight(grad, x, layout=layout)
        np.testing.assert_array_equal(dw, reference.grad_weight(grad, x, layout=layout))


@pytest.mark.parametrize("c", [(300, 700), (257, 40), (40, 401), (512, 512)])
def test_many_channels(c, dtype, rng):
    """Gradients are exact if there are more channels than a piece has."""
    for layout in ("NWC", "NCW"):
        x, grad = (small(rng, (2, n, 40) if layout == "NCW" else (2, 40, n), dtype) for n in c)
        for team in (1, 2, 3):
            with pw.num_threads(team):
                dw = pw.conv_grad_weight(grad, x, layout=layout)
            np.testing.assert_array_equal(dw, reference.grad_weight(grad, x, layout=layout))


@pytest.mark.parametrize("x_dtype", INTEGERS)
def test_integer_x(x_dtype, rng):
    for layout in ("NCHW", "NHWC", "NC"):
        case = Case(rng, layout, "float32", x_dtype)
        dw = case.of_weight()
        assert dw.dtype == np.float32
        reference.assert_same_bits(dw, case.of_weight(x=case.x.astype(np.float32)))
        np.testing.assert_array_equal(dw, reference.grad_weight(case.grad, case.x, **case.how))


@pytest.mark.any_cpu
@pytest.mark.parametrize("layout", reference.LAYOUTS)
def test_halves(layout, half, rng):
    """Sums over pixels are float32, and dx and db are rounded once, to the dtype of grad."""
    for _ in range(4):
        case = Case(rng, layout, half)
        dx, dw, db = case.input(), case.of_weight(), case.bias()
        assert dx.dtype == db.dtype == half
        assert dw.dtype == np.float32
        exact = reference.grad_input(case.grad, case.weight, case.x_shape, **case.how)
        np.testing.assert_array_equal(dx, exact.astype(half))
        np.testing.assert_array_equal(dw, reference.grad_weight(case.grad, case.x, **case.how))
        np.testing.assert_array_equal(db, case.sums().astype(half))
        before = small(rng, db.shape, half)
        added = case.bias(out=before.copy(), accumulate=True)
        np.testing.assert_array_equal(added, (before.astype(float) + case.sums()).astype(half))
        before = small(rng, dx.shape, half)
        added = case.input(out=before.copy(), accumulate=True)
        np.testing.assert_array_equal(added, (before.astype(float) + exact).astype(half))
        wide = {"grad": case.grad.astype(np.float32)}
        reference.assert_same_bits(case.of_weight(**wide), dw)  # a float32 grad goes with x of 16 bits
        np.testing.assert_array_equal(case.input(**wide), exact)


def test_the_adjoint_identity_of_halves(half, rng):
    """<conv(x), grad> = <x, dx> = <weight, dw>, exactly, if all results fit into the dtype."""
    for layout in ("NCHW", "NHWC"):
        shape = {"N": 2, "H": 5, "W": 9}
        x, grad = (rng.integers(-1, 2, [(shape | {"C": c})[a] for a in layout]).astype(half) for c in (13, 21))
        weight = rng.integers(-1, 2, (21, 13)).astype(half)
        y, dw = pw.conv(x, weight, layout=layout), pw.conv_grad_weight(grad, x, layout=layout)
        dx = pw.conv_grad_input(grad, weight, x.shape, layout=layout)
        product = np.vdot(y.astype(float), grad.astype(float))
        assert product == np.vdot(x.astype(float), dx.astype(float))
        assert product == np.vdot(weight.astype(float), dw.astype(float))


@canonical_only
def test_the_bits_of_halves(half, rng):
    """dx has the order of conv, with output channels in place of input channels. dw has the bits of float32 arrays."""
    for layout, c_in, c_out in (("NCW", 5, 33), ("NWC", 20, 259)):
        x, grad = (rng.standard_normal((2, c, 9) if layout == "NCW" else (2, 9, c)).astype(half) for c in (c_in, c_out))
        weight = rng.standard_normal((c_out, c_in)).astype(half)
        dx = reference.grad_input(grad, weight, x.shape, layout=layout, convolve=reference.canonical)
        reference.assert_same_bits(pw.conv_grad_input(grad, weight, x.shape, layout=layout), dx.astype(half))
        wide = grad.astype(np.float32), x.astype(np.float32)
        expected = reference.canonical_grad_weight(*wide, layout=layout)
        for team in (1, 3):
            with pw.num_threads(team):
                reference.assert_same_bits(pw.conv_grad_weight(grad, x, layout=layout), expected)
        db = pw.conv_grad_bias(wide[0], layout=layout).astype(half)
        reference.assert_same_bits(pw.conv_grad_bias(grad, layout=layout), db)


@pytest.mark.parametrize("way", views.WAYS)
def test_views_of_halves(way, half, rng):
    for layout in ("NCHW", "NHWC", "NC"):
        case = Case(rng, layout, half)
        expected = [case.input(), case.of_weight(), case.bias()]
        case.grad, case.weight, case.x = (views.put(way, a) for a in (case.grad, case.weight, case.x))
        for call, want in zip((case.input, case.of_weight, case.bias), expected, strict=True):
            out, base = views.empty(way, want.shape, want.dtype)
            assert call(out=out) is out
            views.assert_wrote_only(way, base, want)


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "gelu", "silu", "tanh"])
def test_the_backward_pass_of_halves(activation, half, rng):
    """The derivative is computed in float32, and grad * derivative is rounded to the dtype of grad."""
    x, weight = rng.standard_normal((2, 5, 3, 4)).astype(half), rng.standard_normal((6, 5)).astype(half)
    v = pw.conv(x, weight)
    y, grad = pw.conv(x, weight, activation=activation), rng.standard_normal(v.shape).astype(half)
    given = {"v": v} if activation in FROM_V else {"y": y}
    dx, dw, db = pw.conv_backward(grad, x, weight, activation=activation, **given)
    assert [a.dtype for a in (dx, dw, db)] == [half, np.float32, half]
    wide = [a.astype(np.float32) for a in (grad, x, weight)]
    given = {name: a.astype(np.float32) for name, a in given.items()}
    exact = pw.conv_backward(*wide, activation=activation, **given)
    eps = float(np.finfo(np.float16).eps) if half == np.float16 else 2.0**-7
    for a, b in zip((dx, dw, db), exact, strict=True):
        np.testing.assert_allclose(a.astype(np.float32), b, rtol=eps, atol=20 * eps)


@pytest.mark.any_cpu
@pytest.mark.parametrize("layout", ["NCHW", "NHWC", "NC"])
def test_empty_arrays_give_zeros(layout, dtype):
    for images, size in ((0, 2), (2, 0)):
        if size == 0 and layout == "NC":
            continue
        dims = {"N": images, "H": size, "W": 3}
        x_shape, y_shape = (tuple({**dims, "C": n}[axis] for axis in layout) for n in (5, 4))
        x, grad = np.empty(x_shape, dtype), np.empty(y_shape, dtype)
        out = np.full((4, 5), 7, dtype)
        np.testing.assert_array_equal(pw.conv_grad_weight(grad, x, layout=layout), np.zeros((4, 5)))
        np.testing.assert_array_equal(pw.conv_grad_weight(grad, x, layout=layout, out=out, accumulate=True), out)
        assert (out == 7).all()
        np.testing.assert_array_equal(pw.conv_grad_bias(grad, layout=layout), np.zeros(4))
        assert pw.conv_grad_input(grad, np.ones((4, 5), dtype), x_shape, layout=layout).shape == x_shape
    for c_in, c_out in ((0, 4), (5, 0), (0, 0)):
        x_shape, y_shape = (tuple({"N": 2, "H": 3, "W": 3, "C": n}[axis] for axis in layout) for n in (c_in, c_out))
        x, grad, weight = np.empty(x_shape, dtype), np.empty(y_shape, dtype), np.empty((c_out, c_in), dtype)
        assert pw.conv_grad_weight(grad, x, layout=layout).shape == (c_out, c_in)
        np.testing.assert_array_equal(pw.conv_grad_input(grad, weight, x_shape, layout=layout), np.zeros(x_shape))
        assert pw.conv_grad_bias(grad, layout=layout).shape == (c_out,)


def test_pixels_that_no_output_reads(rng):
    """Gradients in padding do not count, even if they are NaN. Pixels of x between strides get the gradient 0."""
    grad = np.full((1, 2, 7, 7), np.nan, np.float32)
    grad[:, :, 2:5, 2:5] = small(rng, (1, 2, 3, 3), np.float32)
    x, weight = small(rng, (1, 3, 6, 5), np.float32), small(rng, (2, 3), np.float32)
    how = {"stride": (2, 2), "padding": (4, 4)}
    grad_inside, x_inside = grad[:, :, 2:5, 2:5], x[:, :, ::2, ::2]
    reference.assert_same_bits(pw.conv_grad_weight(grad, x, **how), pw.conv_grad_weight(grad_inside, x_inside))
    dx = np.full(x.shape, np.nan, np.float32)
    pw.conv_grad_input(grad, weight, x.shape, out=dx, **how)
    np.testing.assert_array_equal(dx[:, :, ::2, ::2], pw.conv_grad_input(grad_inside, weight, x_inside.shape))
    assert not dx[:, :, 1::2].any()
    assert not dx[:, :, :, 1::2].any()
    assert np.isnan(pw.conv_grad_bias(grad)).all()


def test_strides_beyond_the_image(dtype, rng):
    for stride, padding in ((2**62, 0), (2**40, 3), (7, 5), (2**62, 2**61)):
        x_shape = (2, 3, 6, 5)
        y_shape = y_shape_of(x_shape, 4, "NCHW", stride, padding)
        grad, weight = small(rng, y_shape, dtype), small(rng, (4, 3), dtype)
        how = {"stride": stride, "padding": padding}
        dx = pw.conv_grad_input(grad, weight, x_shape, **how)
        np.testing.assert_array_equal(dx, reference.grad_input(grad, weight, x_shape, **how))
        x = small(rng, x_shape, dtype)
        np.testing.assert_array_equal(pw.conv_grad_weight(grad, x, **how), reference.grad_weight(grad, x, **how))


@canonical_only
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("groups", [1, 2])
def test_the_bits_are_those_of_the_canonical_order(layout, groups, dtype, rng):
    h = 16 if dtype == np.float32 else 5
    shape = {"N": 3, "C": 6, "H": h, "W": 19}
    x_shape = tuple(shape[axis] for axis in layout)
    how = {"layout": layout, "stride": (1, 1), "padding": (0, 1)}
    x = rng.standard_normal(x_shape).astype(dtype)
    grad = rng.standard_normal(y_shape_of(x_shape, 4, groups=groups, **how)).astype(dtype)
    weight = rng.standard_normal((4, 6 // groups)).astype(dtype)
    how["groups"] = groups
    reference.assert_same_bits(pw.conv_grad_weight(grad, x, **how), reference.canonical_grad_weight(grad, x, **how))
    ones = np.ones_like(np.take(grad, [0], layout.index("C")))
    db = reference.canonical_grad_weight(grad, ones, layout=layout)[:, 0]
    reference.assert_same_bits(pw.conv_grad_bias(grad, layout=layout), db)
    dx = reference.grad_input(grad, weight, x_shape, convolve=reference.canonical, **how)
    reference.assert_same_bits(pw.conv_grad_input(grad, weight, x_shape, **how), dx)
    start = rng.standard_normal(weight.shape).astype(dtype)
    added = pw.conv_grad_weight(grad, x, out=start.copy(), accumulate=True, **how)
    reference.assert_same_bits(added, start + reference.canonical_grad_weight(grad, x, **how))


@pytest.mark.parametrize(("c_out", "c_in"), [(70, 90), (5, 300), (300, 5), (1, 1)])
def test_threads_layouts_and_views_give_the_same_bits(c_out, c_in, dtype, rng):
    x, grad = (rng.standard_normal((3, n, 14, 31)).astype(dtype) for n in (c_in, c_out))
    weight = rng.standard_normal((c_out, c_in)).astype(dtype)
    with pw.num_threads(1):
        expected = pw.conv_grad_weight(grad, x), pw.conv_grad_bias(grad), pw.conv_grad_input(grad, weight, x.shape)
    grad_last, x_last = (np.ascontiguousarray(np.moveaxis(a, 1, -1)) for a in (grad, x))
    _core._testing.force_teams(True)
    try:
        for team in (1, 2, 3, 7):
            with pw.num_threads(team):
                reference.assert_same_bits(pw.conv_grad_weight(grad, x), expected[0])
                reference.assert_same_bits(pw.conv_grad_bias(grad), expected[1])
                reference.assert_same_bits(pw.conv_grad_input(grad, weight, x.shape), expected[2])
                dw = pw.conv_grad_weight(grad_last, x_last, layout="NHWC")
                reference.assert_same_bits(dw, expected[0])
                reference.assert_same_bits(pw.conv_grad_bias(grad_last, layout="NHWC"), expected[1])
                dx = pw.conv_grad_input(grad_last, weight, x_last.shape, layout="NHWC")
                reference.assert_same_bits(np.moveaxis(dx, -1, 1), expected[2])
    finally:
        _core._testing.force_teams(False)
    for way in views.WAYS:
        given = views.put(way, grad), views.put(way, x)
        reference.assert_same_bits(pw.conv_grad_weight(*given), expected[0])
        reference.assert_same_bits(pw.conv_grad_bias(given[0]), expected[1])


def test_batches_that_are_cut_at_chunks_add_up(dtype, rng):
    """If each image is one chunk of pixels, the gradients of the images, added in order, have the bits of the batch."""
    x, grad = (rng.standard_normal((4, n, 16, 16)).astype(dtype) for n in (20, 10))
    total = np.zeros((10, 20), dtype)
    for n in range(4):
        part = pw.conv_grad_weight(grad[n : n + 1], x[n : n + 1])
        total = part if n == 0 else total + part
    reference.assert_same_bits(pw.conv_grad_weight(grad, x), total)


HASHES = """
import hashlib, itertools
import numpy as np, pointwise as pw
rng = np.random.default_rng(5)
for dtype, layout, (c_out, c_in) in itertools.product("fd", ("NCW", "NWC"), ((70, 90), (3, 50), (130, 7))):
    shapes = [(3, n, 401) if layout == "NCW" else (3, 401, n) for n in (c_in, c_out)]
    x, grad = (rng.standard_normal(shape).astype(dtype) for shape in shapes)
    weight = rng.standard_normal((c_out, c_in)).astype(dtype)
    results = pw.conv_grad_weight(grad, x, layout=layout), pw.conv_grad_bias(grad, layout=layout), pw.conv_grad_input(
        grad, weight, x.shape, layout=layout)
    print(*(hashlib.sha256(result.tobytes()).hexdigest() for result in results))
"""


@canonical_only
def test_the_other_instruction_set_gives_the_same_bits(python):
    other = isas.OTHER
    if other not in isas.SUPPORTED:
        pytest.skip(f"this CPU, or this build, has no {other}")
    assert python(HASHES, POINTWISE_ISA=other) == python(HASHES, POINTWISE_ISA=pw.isa())


@pytest.mark.parametrize("pixels", [3, 256, 5000])
def test_the_error_is_within_the_bound(pixels, dtype, rng):
    x, grad = (rng.standard_normal((n, pixels)).astype(dtype) for n in (30, 20))
    value, bound = reference.exact(x, grad, layout="NC")  # the same sums: pixels in place of channels
    reference.assert_within_bound(pw.conv_grad_weight(grad, x, layout="CW"), value.T, bound.T)
    ones = np.ones((1, pixels), dtype)
    value, bound = reference.exact(ones, grad, layout="NC")
    reference.assert_within_bound(pw.conv_grad_bias(grad, layout="CW"), value[0], bound[0])


@pytest.mark.any_cpu
def test_finite_differences(rng):
    """The gradients of sum(sin(y)), computed in float64, agree with central differences."""
    how = {"stride": (1, 2), "padding": (1, 0), "groups": 2}
    x, weight, bias = rng.standard_normal((2, 4, 3, 5)), rng.standard_normal((6, 2)), rng.standard_normal(6)
    grad = np.cos(pw.conv(x, weight, bias, **how))
    gradients = (
        (x, pw.conv_grad_input(grad, weight, x.shape, **how)),
        (weight, pw.conv_grad_weight(grad, x, **how)),
        (bias, pw.conv_grad_bias(grad)),
    )
    step = 1e-6
    for array, gradient in gradients:
        assert gradient.shape == array.shape
        for at in np.ndindex(array.shape):
            kept, losses = array[at], []
            for moved in (kept + step, kept - step):
                array[at] = moved
                losses.append(np.sin(pw.conv(x, weight, bias, **how)).sum())
            array[at] = kept
            assert abs((losses[0] - losses[1]) / (2 * step) - gradient[at]) < 1e-8


# Activations, with the argument from which the derivative can be computed.
FROM_Y = [None, "linear", "relu", "relu6", ("clip", -0.5, 1.5), "leaky_relu", ("leaky_relu", 0.25), "elu", ("elu", 2)]
FROM_Y += ["sigmoid", "tanh", "hardsigmoid", "softplus", ("prelu", (0.5, 0.25, 1.5, 1, 2, 0.125))]
FROM_V = ["silu", "swish", "hardswish", "gelu", "gelu_tanh", "mish", ("leaky_relu", -1), ("elu", -0.5)]
FROM_V += [("prelu", (0.5, -0.25, 0, 1, 2, 0.125))]


@pytest.mark.any_cpu
@pytest.mark.parametrize("activation", FROM_Y + FROM_V)
def test_finite_differences_of_activations(activation, rng):
    """conv_backward computes the gradients of sum(y * grad), from y or from v."""
    x, weight, bias = rng.standard_normal((2, 5, 3, 4)), rng.standard_normal((6, 5)), rng.standard_normal(6)
    grad, v = rng.standard_normal((2, 6, 3, 4)), pw.conv(x, weight, bias)
    y = pw.conv(x, weight, bias, activation=activation)
    given = [{"v": v}] + [{"y": y}, {"y": y, "v": v}] * (activation in FROM_Y)
    step = 1e-6
    differences = []
    for array in (x, weight, bias):
        difference = np.empty_like(array)
        for at in np.ndindex(array.shape):
            kept, losses = array[at], []
            for moved in (kept + step, kept - step):
                array[at] = moved
                losses.append(np.vdot(pw.conv(x, weight, bias, activation=activation), grad))
            array[at] = kept
            difference[at] = (losses[0] - losses[1]) / (2 * step)
        differences.append(difference)
    for one in given:
        gradients = pw.conv_backward(grad, x, weight, activation=activation, **one)
        for gradient, difference in zip(gradients, differences, strict=True):
            np.testing.assert_allclose(gradient, difference, rtol=0, atol=1e-7)
        narrow = [a.astype(np.float32) for a in (grad, x, weight)]
        one = {name: a.astype(np.float32) for name, a in one.items()}
        gradients = pw.conv_backward(*narrow, activation=activation, **one)
        for gradient, difference in zip(gradients, differences, strict=True):
            assert gradient.dtype == np.float32
            np.testing.assert_allclose(gradient, difference, rtol=0, atol=1e-4)


def test_backward_without_an_activation_gives_the_same_bits(rng):
    case = Case(rng, "NHWC", "float32", "uint8")
    gradients = pw.conv_backward(case.grad, case.x, case.weight, **case.how)
    for gradient, expected in zip(gradients, (case.input(), case.of_weight(), case.bias()), strict=True):
        reference.assert_same_bits(gradient, expected)


@pytest.mark.any_cpu
def test_derivatives_at_bounds():
    """The derivative is 0 at the bounds of an activation that is constant beyond them."""
    v = np.array([[-3.0, -1, 0, 1, 3, 6]])
    eye, one = np.eye(6), np.ones((1, 6))
    expected = {
        "relu": [0, 0, 0, 1, 1, 1],
        "relu6": [0, 0, 0, 1, 1, 0],
        ("clip", -1, 3): [0, 0, 1, 1, 0, 0],
        ("leaky_relu", 0.5): [0.5, 0.5, 1, 1, 1, 1],
        "hardsigmoid": [0, 1 / 6, 1 / 6, 1 / 6, 0, 0],
    }
    for activation, derivative in expected.items():
        y = pw.conv(v, eye, layout="NC", activation=activation)
        for given in ({"y": y}, {"v": v}):
            dx, _, _ = pw.conv_backward(one, v, eye, layout="NC", activation=activation, **given)
            np.testing.assert_allclose(dx[0], derivative, rtol=1e-15)


@pytest.mark.any_cpu
def test_errors_of_backward():
    call = pw.conv_backward
    with pytest.raises(ValueError, match=r"^y must be the result of the convolution for activation 'relu', got None"):
        call(grad0, x0, w0, activation="relu")
    with pytest.raises(ValueError, match=r"^v must be the sum before activation 'gelu', because .*pass v="):
        call(grad0, x0, w0, activation="gelu", y=grad0)
    with pytest.raises(ValueError, match=r"^y must have the shape of grad, \(1, 4, 2, 3\), got \(1, 4, 2, 4\)$"):
        call(grad0, x0, w0, activation="relu", y=np.ones((1, 4, 2, 4), F))
    with pytest.raises(TypeError, match=r"^y must have the dtype of grad, float32, got float64: pass y.astype"):
        call(grad0, x0, w0, activation="relu", y=grad0.astype(float))
    with pytest.raises(ValueError, match=r"^activation must be None or one of"):
        call(grad0, x0, w0, activation="rely", y=grad0)
    with pytest.raises(TypeError, match=r"^grad must be float32, float64, float16 or bfloat16, got uint8"):
        call(grad0.astype("u1"), x0, w0, activation="relu", y=grad0)
    with pytest.raises(ValueError, match=r"^grad must have the shape of the result"):
        call(grad0[..., :2], x0, w0)
    with pytest.raises(ValueError, match=r"^activation 'prelu' must have slopes of shape \(4,\), one for each output"):
        call(grad0, x0, w0, activation=("prelu", (1, 2)), y=grad0)
    for layout in ("rows", 3, "NHW"):
        with pytest.raises((ValueError, TypeError), match=r"^layout "):
            call(grad0, x0, w0, activation=("prelu", np.ones(4)), y=grad0, layout=layout)


F = np.float32
grad0, w0, x0 = np.ones((1, 4, 2, 3), F), np.ones((4, 6), F), np.ones((1, 6, 2, 3), F)
WRONG = [
    (ValueError, r"^grad must have the shape of the result of the convolution, \(1, 4, 2, 3\), got \(1, 4, 3, 2\)$",
     "input", {"grad": np.ones((1, 4, 3, 2), F)}),
    (ValueError, r"^grad must have the 4 axes of layout NCHW, got shape \(4, 2\)$", "input",
     {"grad": np.ones((4, 2), F)}),
    (ValueError, r"^x_shape must have 6 channels .* for weight shape \(4, 6\)", "input", {"x_shape": (1, 5, 2, 3)}),
    (ValueError, r"^x_shape must have no negative size", "input", {"x_shape": (-1, 6, 2, 3)}),
    (ValueError, r"^x_shape must have the 4 axes of layout NCHW, got 3$", "input", {"x_shape": (6, 2, 3)}),
    (TypeError, r"^x_shape must be a tuple of integers, got int$", "input", {"x_shape": 3}),
    (TypeError, r"^x_shape must be an integer, got float$", "input", {"x_shape": (1, 6, 2, 3.0)}),
    (ValueError, r"^groups must divide the 4 output channels, got 3$", "input", {"groups": 3}),
    (ValueError, r"^stride must be at least 1, got 0$", "input", {"stride": 0}),
    (ValueError, r"^padding must be at least 0, got -1$", "input", {"padding": -1}),
    (ValueError, r"^layout must be one of", "input", {"layout": "NCHV"}),
    (TypeError, r"^grad must be float32, float64, .*, got uint8: pass grad.astype\(numpy.float32\)$", "input",
     {"grad": grad0.astype("u1")}),
    (TypeError, r"^weight must be castable to float32", "input", {"weight": w0.astype(complex)}),
    (ValueError, r"^weight must have shape", "input", {"weight": np.ones(4, F)}),
    (ValueError, r"^out must have shape \(1, 6, 2, 3\), got \(1, 6, 2, 4\)$", "input",
     {"out": np.ones((1, 6, 2, 4), F)}),
    (TypeError, r"^out must have dtype float32, got float64$", "input", {"out": np.ones((1, 6, 2, 3))}),
    (ValueError, r"^out must have its own element for each index", "input",
     {"out": np.lib.stride_tricks.as_strided(np.ones(9, F), (1, 6, 2, 3), (0, 4, 0, 0))}),
    (ValueError, r"^accumulate must be False if out is None, got True: pass out=numpy.zeros\(shape, dtype\)$", "input",
     {"accumulate": True}),
    (TypeError, r"^accumulate must be a bool, got int$", "input", {"accumulate": 1}),
    (TypeError, r"^grad must be a plain array, got a MaskedArray", "weight", {"grad": np.ma.array(grad0)}),
    (TypeError, r"^x must have the dtype of grad, float32, got float64: pass x.astype\(numpy.float32\)$", "weight",
     {"x": x0.astype(float)}),
    (TypeError, r"^x must have the dtype of grad, float64, got uint8: pass x.astype\(numpy.float64\)$", "weight",
     {"x": x0.astype("u1"), "grad": grad0.astype(float)}),
    (ValueError, r"^x must have the 4 axes of layout NCHW, got shape \(6, 2\)$", "weight", {"x": np.ones((6, 2), F)}),
    (ValueError, r"^grad must have the shape of the result of the convolution, \(1, 4, 2, 3\), got \(1, 4, 2, 4\)$",
     "weight", {"grad": np.ones((1, 4, 2, 4), F)}),
    (ValueError, r"^groups must divide the 6 input channels, got 4$", "weight", {"groups": 4}),
    (ValueError, r"^out must have shape \(4, 6\), got \(6, 4\)$", "weight", {"out": np.ones((6, 4), F)}),
    (ValueError, r"^grad must have the 4 axes of layout NCHW, got shape \(4,\)$", "bias", {"grad": np.ones(4, F)}),
    (ValueError, r"^out must have shape \(4,\), got \(3,\)$", "bias", {"out": np.ones(3, F)}),
    (ValueError, r"^out must be writable", "bias", {"out": np.broadcast_to(F(1), (4,))}),
]  # fmt: skip
GIVEN = {
    "input": {"grad": grad0, "weight": w0, "x_shape": (1, 6, 2, 3)},
    "weight": {"grad": grad0, "x": x0},
    "bias": {"grad": grad0},
}


@pytest.mark.any_cpu
@pytest.mark.parametrize("case", range(len(WRONG)))
def test_errors(case):
    """The message names the argument. The call leaves `out` unchanged."""
    error, message, name, wrong = WRONG[case]
    function = getattr(pw, f"conv_grad_{name}")
    assert function(**GIVEN[name]).any(), "the other arguments are right"
    out = np.full_like(function(**GIVEN[name]), 7)
    with pytest.raises(error, match=message):
        function(**(GIVEN[name] | ({} if "accumulate" in wrong else {"out": out}) | wrong))
    assert (out == 7).all()


def test_out_must_not_overlap():
    memory = np.ones(100, F)
    grad, weight = memory[:24].reshape(1, 4, 2, 3), memory[30:54].reshape(4, 6)
    with pytest.raises(ValueError, match=r"^out must share no element with grad.*pass grad.copy\(\)$"):
        pw.conv_grad_input(grad, w0, x0.shape, out=memory[10:46].reshape(1, 6, 2, 3))
    with pytest.raises(ValueError, match=r"^out must share no element with weight.*pass weight.copy\(\)$"):
        pw.conv_grad_input(grad0, weight, x0.shape, out=memory[10:46].reshape(1, 6, 2, 3))
    with pytest.raises(ValueError, match=r"^out must share no element with x"):
        pw.conv_grad_weight(grad0, memory[60:96].reshape(1, 6, 2, 3), out=memory[70:94].reshape(4, 6))
    with pytest.raises(ValueError, match=r"^out must share no element with grad"):
        pw.conv_grad_bias(grad, out=memory[20:24])
    assert (memory == 1).all()


SECOND_OPINION = """
import itertools, sys
import numpy as np
try:
    import torch
except ImportError:
    sys.exit("no torch")
import pointwise as pw
rng = np.random.default_rng(0)
for stride, padding, groups, channels in itertools.product((1, 2, 3), (0, 2), (1, 4), ((8, 12), (64, 96))):
    x = torch.tensor(rng.standard_normal((3, channels[0], 13, 9)), requires_grad=True)
    weight = torch.tensor(rng.standard_normal((channels[1], channels[0] // groups, 1, 1)), requires_grad=True)
    bias = torch.tensor(rng.standard_normal(channels[1]), requires_grad=True)
    how = {"stride": stride, "padding": padding, "groups": groups}
    y = torch.nn.functional.conv2d(x, weight, bias, **how)
    grad = torch.tensor(rng.standard_normal(tuple(y.shape)))
    y.backward(grad)
    g = grad.numpy()
    ours = (pw.conv_grad_input(g, weight.detach().numpy(), x.shape, **how),
            pw.conv_grad_weight(g, x.detach().numpy(), **how), pw.conv_grad_bias(g))
    for mine, other in zip(ours, (x.grad, weight.grad[:, :, 0, 0], bias.grad)):
        np.testing.assert_allclose(mine, other.numpy(), rtol=0, atol=1e-11)
print("agreed")
"""


def test_autograd_of_pytorch_agrees(python):
    """PyTorch runs in a child process, so that other tests keep their threads."""
    done = python(SECOND_OPINION, check=False)
    if done.returncode and done.stderr.strip() == "no torch":
        pytest.skip("PyTorch is not installed")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "agreed"
