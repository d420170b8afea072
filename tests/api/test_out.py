"""Test which arrays the argument `out` accepts, and which arrays it refuses."""

import itertools

import numpy as np
import pointwise as pw
import pytest
import reference
import views

pytestmark = pytest.mark.kernels

SIZES = {"N": 2, "C": 6, "D": 2, "H": 3, "W": 9}
C_OUT = 35
strided = np.lib.stride_tricks.as_strided


def shape_of(layout, c=6):
    return tuple((SIZES | {"C": c})[axis] for axis in layout)


@pytest.mark.any_cpu
@pytest.mark.parametrize("way", views.WAYS)
@pytest.mark.parametrize("layout", reference.LAYOUTS)
def test_any_writable_view(layout, way, dtype, integers):
    x, weight, bias = integers(shape_of(layout), dtype), integers((C_OUT, 6), dtype), integers(C_OUT, dtype)
    for how in ({}, {"stride": 2, "padding": 1}):
        layer = pw.Conv(weight, bias, layout=layout, **how)
        expected = reference.exact_value(x, weight, bias, layout=layout, **how).astype(dtype)
        residual = integers(expected.shape, dtype)

        def conv(x, residual, out, how=how):
            return pw.conv(x, weight, bias, layout=layout, residual=residual, out=out, **how)

        for call in (layer, conv):
            out, base = views.empty(way, expected.shape, dtype)
            assert call(x, None, out) is out
            views.assert_wrote_only(way, base, expected)
            assert call(x, views.put(way, residual), out) is out
            views.assert_wrote_only(way, base, expected + residual)
            out[...] = residual
            assert call(x, out, out) is out  # in place
            views.assert_wrote_only(way, base, expected + residual)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC", "NC", "CHW", "HWC", "C"])
@pytest.mark.parametrize(("begin", "end", "total"), [(0, 35, 64), (29, 64, 64), (3, 38, 41), (0, 35, 35)])
def test_channel_slice_of_a_concatenation(layout, begin, end, total, integers):
    x, weight, axis = integers(shape_of(layout)), integers((C_OUT, 6)), layout.index("C")
    buffer = integers(shape_of(layout, total))
    part = (slice(None),) * axis + (slice(begin, end),)
    expected = buffer.copy()
    expected[part] = reference.exact_value(x, weight, layout=layout)
    out = buffer[part]
    assert pw.conv(x, weight, layout=layout, out=out) is out
    np.testing.assert_array_equal(buffer, expected)


@pytest.mark.parametrize("layout", ["NCHW", "NHWC", "NWC", "CW"])
def test_dense_block_reads_and_writes_one_buffer(layout, integers):
    """x = buf[:, :32] and out = buf[:, 32:] may interleave in memory, because they share no element."""
    axis = layout.index("C")
    buffer, weight = integers(shape_of(layout, 64)), integers((32, 32))
    x, out = (buffer[(slice(None),) * axis + (part,)] for part in (slice(None, 32), slice(32, None)))
    expected = np.concatenate([x, reference.exact_value(x, weight, layout=layout)], axis)
    assert pw.conv(x, weight, layout=layout, out=out) is out
    np.testing.assert_array_equal(buffer, expected)


def test_interleaved_elements_are_no_overlap(integers):
    buffer, weight, bias = integers((2, 6, 3, 20)), integers((6, 6)), integers(6)
    x, out = buffer[..., ::2], buffer[..., 1::2]
    expected = reference.exact_value(x, weight, bias)
    pw.conv(x, weight, bias, out=out)
    np.testing.assert_array_equal(out, expected)

    parts = np.zeros(200, np.float32)  # elements of out, weight, bias and residual alternate
    out, w, b, r = parts[0:100:5], parts[1:50:5].reshape(10, 1), parts[2:50:5], parts[3:103:5]
    w[...], b[...], r[...] = integers((10, 1)), integers(10), integers(20)
    x = integers((2, 1))
    expected = reference.exact_value(x, w.copy(), b.copy(), layout="NC", residual=r.reshape(2, 10).copy())
    result = pw.conv(x, w, b, layout="NC", residual=r.reshape(2, 10), out=strided(out, (2, 10), (200, 20)))
    np.testing.assert_array_equal(result, expected)


def test_out_may_have_axes_that_interleave_without_an_overlap(integers):
    """`out` may have axes whose strides interleave, if no two indices refer to the same element."""
    memory, x, weight = np.zeros(40, np.float32), integers((3, 4, 1)), integers((4, 4))
    out = strided(memory, (3, 4, 1), (4 * 4, 4 * 3, 4))  # offsets 4i + 3j: 0 3 6 9 4 7 10 13 8 11 14 17
    assert len({4 * i + 3 * j for i in range(3) for j in range(4)}) == 12
    assert pw.conv(x, weight, layout="NCW", out=out) is out
    np.testing.assert_array_equal(out, reference.exact_value(x, weight, layout="NCW"))


def test_a_subclass_is_returned_as_it_is(integers, tmp_path):
    class Mine(np.ndarray):
        pass

    x, weight = integers((2, 6)), integers((4, 6))
    expected = reference.exact_value(x, weight, layout="NC")
    for out in (
        np.zeros((2, 4), np.float32).view(Mine),
        np.memmap(tmp_path / "out", np.float32, "w+", shape=(2, 4)),
    ):
        assert pw.conv(x, weight, layout="NC", out=out) is out
        np.testing.assert_array_equal(np.asarray(out), expected)


# name: (function of a buffer of 4096 float32 numbers that returns arrays, argument in the message)
OVERLAPS = {
    "x is out": (lambda b: {"x": b[:64].reshape(1, 4, 16), "out": b[:64].reshape(1, 4, 16)}, "x"),
    "x meets out": (lambda b: {"x": b[:64].reshape(1, 4, 16), "out": b[63:127].reshape(1, 4, 16)}, "x"),
    "x meets out by a byte": (
        lambda b: {"x": b[:64].reshape(1, 4, 16), "out": b.view(np.uint8)[253:509].view(np.float32).reshape(1, 4, 16)},
        "x",
    ),
    "x reversed": (lambda b: {"x": b[:64].reshape(1, 4, 16), "out": b[:64].reshape(1, 4, 16)[:, :, ::-1]}, "x"),
    "x before its first element": (
        lambda b: {"x": b[100:36:-1].reshape(1, 4, 16), "out": b[:64].reshape(1, 4, 16)},
        "x",
    ),
    "out before its first element": (
        lambda b: {"x": b[:64].reshape(1, 4, 16), "out": b[100:36:-1].reshape(1, 4, 16)},
        "x",
    ),
    "x is one element of out": (
        lambda b: {"x": np.broadcast_to(b[60:61], (1, 4, 16)), "out": b[:64].reshape(1, 4, 16)},
        "x",
    ),
    "x interleaves": (lambda b: {"x": b[:128:2].reshape(1, 4, 16), "out": b[:192:3].reshape(1, 4, 16)}, "x"),
    "x in a memoryview": (
        lambda b: {"x": memoryview(b[:64].reshape(1, 4, 16)), "out": b[:64].reshape(1, 4, 16)},
        "x",
    ),
    "weight": (lambda b: {"weight": b[:16].reshape(4, 4), "out": b[15:79].reshape(1, 4, 16)}, "weight"),
    "weight transposed": (lambda b: {"weight": b[:16].reshape(4, 4).T, "out": b[15:79].reshape(1, 4, 16)}, "weight"),
    "bias": (lambda b: {"bias": b[:4], "out": b[3:67].reshape(1, 4, 16)}, "bias"),
    "bias that is converted": (lambda b: {"bias": b.view(np.float64)[:4], "out": b[7:71].reshape(1, 4, 16)}, "bias"),
    "weight that is converted": (
        lambda b: {"weight": b.view(np.float64)[:16].reshape(4, 4), "out": b[31:95].reshape(1, 4, 16)},
        "weight",
    ),
    "residual shifted": (
        lambda b: {"residual": b[:64].reshape(1, 4, 16), "out": b[1:65].reshape(1, 4, 16)},
        "residual",
    ),
    "residual backwards": (
        lambda b: {"residual": b[:64].reshape(1, 4, 16), "out": b[:64].reshape(1, 4, 16)[..., ::-1]},
        "residual",
    ),
    "residual with other strides": (
        lambda b: {"residual": b[:64].reshape(1, 4, 16), "out": b[:64].reshape(1, 16, 4).transpose(0, 2, 1)},
        "residual",
    ),
    "residual of one number": (
        lambda b: {"residual": np.broadcast_to(b[:1], (1, 4, 16)), "out": b[:64].reshape(1, 4, 16)},
        "residual",
    ),
    "out of one number": (lambda b: {"out": strided(b, (1, 4, 16), (0, 0, 0))}, "out"),
    "out with equal pixels": (lambda b: {"out": strided(b, (1, 4, 16), (0, 4, 0))}, "out"),
    "out with windows": (lambda b: {"out": strided(b, (1, 4, 16), (4, 4, 4))}, "out"),
    "out with a shared last element": (lambda b: {"out": strided(b, (1, 4, 16), (0, 60, 4))}, "out"),
    "out with halves of numbers": (lambda b: {"out": strided(b, (1, 4, 16), (0, 64, 2))}, "out"),
    "out and residual of one number": (
        lambda b: {"out": strided(b, (1, 4, 16), (0, 4, 0)), "residual": strided(b, (1, 4, 16), (0, 4, 0))},
        "out",
    ),
}


@pytest.mark.any_cpu
@pytest.mark.parametrize("case", OVERLAPS)
def test_overlaps(case, integers):
    make, name = OVERLAPS[case]
    memory = integers(4096)
    arrays = {"x": integers((1, 4, 16)), "weight": integers((4, 4)), "bias": integers(4)} | make(memory)
    before = memory.tobytes()
    message = rf"\bout\b.*\b{name}\b" if name != "out" else r"\bout\b.*(itself|overlap)"
    with pytest.raises(ValueError, match=message):
        pw.conv(**arrays, layout="NCW")
    assert memory.tobytes() == before
    if name in ("x", "residual", "out"):
        layer = pw.Conv(arrays["weight"], arrays["bias"], layout="NCW")
        with pytest.raises(ValueError, match=message):
            layer(arrays["x"], arrays.get("residual"), arrays["out"])
        assert memory.tobytes() == before


@pytest.mark.any_cpu
@pytest.mark.parametrize("name", ["matrix", "bias"])
def test_overlaps_of_mix_with_what_is_converted(name, integers):
    memory = integers(4096)
    arrays = {"x": integers((16, 4)), "matrix": integers((4, 4))}
    arrays[name] = memory.view("f8")[:16].reshape(4, 4) if name == "matrix" else memory.view("f8")[:4]
    before = memory.tobytes()
    with pytest.raises(ValueError, match=rf"\bout\b.*\b{name}\b"):
        pw.mix(**arrays, out=memory[7:71].reshape(16, 4))
    assert memory.tobytes() == before


def test_overlap_is_decided_exactly(integers):
    """`out` is refused if it shares an element with x, or if two of its indices share an element, and only then."""
    weight, bias = np.zeros((2, 2), np.float32), np.ones(2, np.float32)
    memory = np.zeros(64, np.float32)
    for s, t, u, v, at in itertools.product((1, 2, 3, 5), (1, 3, 4), (1, 2, 6), (0, 2, 5), (0, 1, 7)):
        x, out = strided(memory[at:], (3, 2), (4 * u, 4 * v)), strided(memory, (3, 2), (4 * s, 4 * t))
        of_x = [at + i * u + j * v for i in range(3) for j in range(2)]
        of_out = [i * s + j * t for i in range(3) for j in range(2)]
        if len(set(of_out)) < 6 or set(of_x) & set(of_out):
            with pytest.raises(ValueError, match="out"):
                pw.conv(x, weight, bias, layout="NC", out=out)
        else:
            assert (pw.conv(x, weight, bias, layout="NC", out=out) == 1).all()


def test_the_residual_may_be_x(integers):
    x, weight = integers((2, 6, 3, 3)), integers((6, 6))
    np.testing.assert_array_equal(pw.conv(x, weight, residual=x), reference.exact_value(x, weight, residual=x))


def test_a_broadcast_residual(integers):
    x, weight = integers((2, 6, 3, 3)), integers((6, 6))
    for source in (integers(()), integers((6, 1, 1)), integers((2, 1, 3, 1)), integers(3)):
        residual = np.broadcast_to(source, x.shape)
        expected = reference.exact_value(x, weight, residual=residual)
        np.testing.assert_array_equal(pw.conv(x, weight, residual=residual), expected)


def test_a_layer_has_weights_of_its_own(integers):
    """`out` may be the array that a layer's weight was copied from."""
    x, weight, bias = integers((6, 6)), integers((6, 6)), integers(6)
    layer = pw.Conv(weight, bias, layout="NC")
    expected = reference.exact_value(x, weight.copy(), bias.copy(), layout="NC")
    for _ in range(2):
        np.testing.assert_array_equal(layer(x, None, weight), expected)


def test_a_wrong_shape_is_said_before_overlaps_are_looked_for(monkeypatch):
    """Shapes are checked before the search for shared elements, because this search can take exponential time."""
    monkeypatch.setattr(np, "shares_memory", lambda *arrays: pytest.fail("searched"))
    buffer = np.ones(40, np.float32)
    x = buffer[:16].reshape(1, 4, 2, 2)
    with pytest.raises(ValueError, match=r"^out must have shape \(1, 4, 2, 2\)"):
        pw.conv(x, np.eye(4, dtype=np.float32), out=buffer[:24].reshape(1, 6, 2, 2))


def test_overlap_does_not_use_what_a_subclass_overrides():
    class Array(np.ndarray):
        def __getitem__(self, key):
            raise AssertionError("indexed")

    buffer = np.ones((1, 8, 2, 2), np.float32)
    out = buffer[:, 2:6].view(Array)
    with pytest.raises(ValueError, match="out must share no element with x"):
        pw.conv(buffer[:, :4], np.eye(4, dtype=np.float32), out=out)
