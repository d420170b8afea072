"""Test `flush_subnormals`. Subnormal numbers count as zeros in all threads of the layer's calls, and nowhere else."""

import copy
import inspect
import pickle
import platform

import numpy as np
import pointwise as pw
import pytest
import reference
from pointwise import _core

pytestmark = [
    pytest.mark.kernels,
    pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the option has an effect only on x86"),
]

LAYOUTS = ["NCW", "NWC"]
canonical_only = pytest.mark.skipif(pw.isa() == "portable", reason="the portable kernels keep the bound, not the bits")


@pytest.fixture(autouse=True)
def all_threads():
    """Make calls use the requested number of threads, even for little work."""
    _core._testing.force_teams(True)
    yield
    _core._testing.force_teams(False)


def of_layout(a, layout):
    return np.ascontiguousarray(a if layout == "NCW" else a.transpose(0, 2, 1))


def small(rng, shape, dtype, spread=3):
    """Return numbers near the square root of the smallest normal number. Half of their products are subnormal."""
    return (rng.standard_normal(shape) * np.sqrt(np.finfo(dtype).tiny) * 10 ** rng.uniform(-spread, 2, shape)).astype(
        dtype
    )


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("c_in", "c_out", "pixels"), [(1, 17, 33), (7, 35, 50), (300, 20, 17), (2051, 3, 5)])
def test_the_bound_has_the_smallest_normal_number_in_place_of_the_smallest_subnormal(
    layout, c_in, c_out, pixels, dtype, rng
):
    x, weight = small(rng, (2, c_in, pixels), dtype), small(rng, (c_out, c_in), dtype)
    tiny = np.finfo(dtype).tiny
    bias = (rng.standard_normal(c_out) * tiny).astype(dtype)
    residual = (rng.standard_normal((2, c_out, pixels)) * tiny).astype(dtype)
    x[..., 0], weight[1] = x[..., 0] * 1e-15, weight[1] * dtype.type(1e-10) * 1e-10  # subnormal operands, or zeros
    x, residual = of_layout(x, layout), of_layout(residual, layout)
    counted = [reference.flushed(a) for a in (x, weight, bias)]
    value, bound = reference.exact(*counted, layout=layout, residual=reference.flushed(residual))
    wide = bound.dtype.type
    info = np.finfo(dtype)
    bound += (c_in - (-c_in // reference.CHUNK) + 1) * (wide(info.tiny) - wide(info.smallest_subnormal))
    layer = pw.Conv(weight, bias, layout=layout, flush_subnormals=True)
    for threads in (1, 3):
        with pw.num_threads(threads):
            y = layer(x, residual)
        assert (abs(y.astype(bound.dtype) - value) <= bound).all()
        assert not ((y != 0) & (abs(y) < tiny)).any()
    plain = pw.Conv(weight, bias, layout=layout)(x, residual)
    assert ((plain != 0) & (abs(plain) < tiny)).any(), "without the option, some results must be subnormal"


@canonical_only
@pytest.mark.parametrize("layout", ["CW", "WC"])
@pytest.mark.parametrize(("c_in", "c_out", "pixels"), [(0, 5, 7), (1, 17, 33), (7, 35, 50), (65, 9, 15)])
def test_every_operation_flushes(layout, c_in, c_out, pixels, dtype, rng):
    """Results have the bits of the canonical order with every operand and result flushed."""
    tiny = np.finfo(dtype).tiny
    x, weight = small(rng, (c_in, pixels), dtype), small(rng, (c_out, c_in), dtype)
    bias = (rng.standard_normal(c_out) * tiny).astype(dtype)
    residual = (rng.standard_normal((c_out, pixels)) * tiny).astype(dtype)
    expected = reference.canonical(x, weight, bias, layout="CW", residual=residual, flush=True)
    plain = reference.canonical(x, weight, bias, layout="CW", residual=residual)
    assert (expected != reference.flushed(plain)).any() or c_in == 0, (
        "intermediate sums must be flushed, too, not only the result"
    )
    turn = (lambda a: np.ascontiguousarray(a.T)) if layout == "WC" else (lambda a: a)
    layer = pw.Conv(weight, bias, layout=layout, flush_subnormals=True)
    reference.assert_same_bits(turn(layer(turn(x), turn(residual))), expected)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_no_arithmetic_touches_is_flushed_too(layout, dtype):
    """The bias and the bounds of clip are flushed, even if there are no input channels."""
    tiny = np.finfo(dtype).tiny
    bias = np.array([tiny / 2, -tiny / 2, tiny, -tiny, 0.0, -0.0, np.nan, np.inf] * 3, dtype)
    none, x = np.ones((24, 0), dtype), np.ones((1, 0, 5) if layout == "NCW" else (1, 5, 0), dtype)
    expected = of_layout(np.broadcast_to(reference.flushed(bias)[None, :, None], (1, 24, 5)), layout)
    layer = pw.Conv(none, bias, layout=layout, flush_subnormals=True)
    reference.assert_same_bits(layer(x), expected)
    reference.assert_same_bits(layer.bias, reference.flushed(bias))
    padded = pw.Conv(np.ones((24, 1), dtype), bias, layout=layout, padding=2, flush_subnormals=True)
    x = np.ones((1, 1, 1), dtype)
    reference.assert_same_bits(
        padded(x).take([0, 1, 3, 4], layout.index("W")), expected.take([0] * 4, layout.index("W"))
    )
    clip = pw.Conv(-np.ones((24, 1), dtype), layout=layout, activation=("clip", tiny / 2, 1), flush_subnormals=True)
    assert (clip(x) == 0).all()


def test_input_scale(dtype):
    tiny = np.finfo(dtype).tiny
    x, weight = np.full((2, 3, 40), tiny, dtype), np.full((17, 3), 4, dtype)
    scale = np.array([[0.5, 1, 0.25], [1, 1, tiny / 2]], dtype)
    y = pw.Conv(weight, layout="NCW", flush_subnormals=True)(x, input_scale=scale)
    np.testing.assert_array_equal(y, np.broadcast_to(np.array([4, 8], dtype)[:, None, None] * tiny, y.shape))
    y = pw.Conv(weight, layout="NCW")(x, input_scale=scale)
    np.testing.assert_array_equal(y[0], np.full((17, 40), 7 * tiny))


@canonical_only
@pytest.mark.parametrize("activation", ["relu", "gelu", ("leaky_relu", 0.01), "tanh"])
def test_threads_layouts_and_batches_change_no_bits(activation, dtype, rng):
    x, weight = small(rng, (3, 20, 301), dtype), small(rng, (35, 20), dtype)
    how = {"activation": activation, "flush_subnormals": True}
    layer, last = pw.Conv(weight, layout="NCW", **how), pw.Conv(weight, layout="NWC", **how)
    with pw.num_threads(1):
        y = layer(x)
    for threads in (2, 3, 7):
        with pw.num_threads(threads):
            reference.assert_same_bits(layer(x), y)
            reference.assert_same_bits(last(of_layout(x, "NWC")), of_layout(y, "NWC"))
            reference.assert_same_bits(layer(x[1:2]), y[1:2])


@canonical_only
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "which", [(True, False), (False, True), (True, True), (False, True, False), (True, False, True)]
)
@pytest.mark.parametrize("pixels", [40, 3000])
def test_in_a_chain_each_layer_has_its_own(layout, which, pixels, dtype, rng):
    """Each layer of a chain has its own setting, in one strip of few pixels and in several strips of many pixels."""
    c = 12
    middle = np.sqrt(np.finfo(dtype).tiny)
    x = of_layout(small(rng, (2, c, pixels), dtype), layout)
    layers = [
        pw.Conv(
            (rng.standard_normal((c, c)) * (middle if i == 0 else 1)).astype(dtype), layout=layout, flush_subnormals=f
        )
        for i, f in enumerate(which)
    ]
    plain = [pw.Conv(layer.weight, layout=layout) for layer in layers]
    for threads in (1, 3):
        with pw.num_threads(threads):
            expected, other = x, x
            for layer, without in zip(layers, plain, strict=True):
                expected, other = layer(expected), without(other)
            reference.assert_same_bits(pw.Chain(layers)(x), expected)
            assert expected.tobytes() != other.tobytes(), "the option must make a difference"


def test_other_calls_are_as_they_were(dtype, rng):
    """A layer with the option does not affect later calls on the threads that computed it."""
    x, weight = small(rng, (1, 20, 900), dtype), small(rng, (35, 20), dtype)
    plain, flushing = pw.Conv(weight, layout="NCW"), pw.Conv(weight, layout="NCW", flush_subnormals=True)
    with pw.num_threads(3):
        y, z = plain(x), flushing(x)
        assert y.tobytes() != z.tobytes()
        for _ in range(3):
            reference.assert_same_bits(plain(x), y)
            reference.assert_same_bits(flushing(x), z)
    half = np.finfo(dtype).tiny / dtype.type(2)
    assert half * 1 != 0


class TestTheArgument:
    def test_property_repr_and_copies(self):
        weight = np.eye(2, dtype=np.float32)
        for given, value in ((True, True), (np.True_, True), (False, False), (np.False_, False)):
            layer = pw.Conv(weight, flush_subnormals=given)
            batchnorm = pw.Conv.from_batchnorm(weight, mean=[0, 0], variance=[1, 1], flush_subnormals=given)
            for one in (layer, batchnorm, copy.copy(layer), copy.deepcopy(layer), pw.Chain([layer]).layers[0]):
                assert one.flush_subnormals is value
            for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
                assert pickle.loads(pickle.dumps(layer, protocol)).flush_subnormals is value
            assert ("flush_subnormals=True" in repr(layer)) is value
            assert ("flush_subnormals" in repr(layer)) is value
        assert pw.Conv(weight).flush_subnormals is False

    def test_read_only(self):
        with pytest.raises(AttributeError):
            pw.Conv([[1.0]]).flush_subnormals = True

    def test_keyword_only(self):
        for function in (pw.Conv, pw.Conv.from_batchnorm):
            parameter = inspect.signature(function).parameters["flush_subnormals"]
            assert parameter.kind is inspect.Parameter.KEYWORD_ONLY
            assert parameter.default is False
        assert "flush_subnormals" not in inspect.signature(pw.conv).parameters

    @pytest.mark.parametrize("value", [1, 0, None, "no", 1.0, [], np.array([True])])
    def test_errors(self, value):
        message = rf"\bflush_subnormals must be a bool, got .*{type(value).__name__}"
        with pytest.raises(TypeError, match=message):
            pw.Conv([[1.0]], flush_subnormals=value)
        with pytest.raises(TypeError, match=message):
            pw.Conv.from_batchnorm([[1.0]], mean=[0], variance=[1], flush_subnormals=value)
