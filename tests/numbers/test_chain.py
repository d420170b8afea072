"""Test that a chain gives the same bits as its layers one by one, for any shapes, layouts and views."""

import itertools

import hypothesis.strategies as st
import numpy as np
import pointwise as pw
import pytest
import reference
import views
from hypothesis import given

ACTIVATIONS = ["gelu", None, "relu", ("leaky_relu", 0.1), "silu", ("clip", -1, 1)]


def numbers(rng, shape, dtype=np.float32):
    return rng.standard_normal(shape).astype(dtype)


def layers_of(rng, channels, layout="NCHW", stride=1, dtype=np.float32, groups=(), bias=True):
    """Return layers with different activations. Layer i maps channels[i] to channels[i + 1]."""
    made = []
    for i, (c_in, c_out) in enumerate(itertools.pairwise(channels)):
        of_group = groups[i] if i < len(groups) else 1
        weight = numbers(rng, (c_out, c_in // of_group), dtype) / np.dtype(dtype).type(max(c_in, 1) ** 0.5)
        made.append(
            pw.Conv(
                weight,
                numbers(rng, c_out, dtype) if bias else None,
                layout=layout,
                stride=stride if i == 0 else 1,
                groups=of_group,
                activation=ACTIVATIONS[(i + len(channels)) % len(ACTIVATIONS)],
            )
        )
    return made


def one_by_one(layers, x, residual=None, out=None):
    for layer in layers[:-1]:
        x = layer(x)
    return layers[-1](x, residual, out)


def check(layers, x, rng):
    """Check a chain without and with a residual. The results go to a new array, to `out`, or over the residual.

    Returns the result.
    """
    chain = pw.Chain(layers)
    expected = one_by_one(layers, x)
    reference.assert_same_bits(chain(x), expected)
    residual = numbers(rng, expected.shape, x.dtype)
    expected = one_by_one(layers, x, residual)
    reference.assert_same_bits(chain(x, residual), expected)
    out = np.full_like(expected, np.nan)
    assert chain(x, residual=residual, out=out) is out
    reference.assert_same_bits(out, expected)
    out = residual.copy()
    assert chain(x, out, out) is out
    reference.assert_same_bits(out, expected)
    return expected


# Layout, shape of x, output channels of the layers. A chain computes all layers for one strip of pixels, then for the
# next strip. Some cases have one strip. Others have many strips, and the last strip is smaller.
TABLE = [
    ("NCHW", (2, 7, 9, 11), (5,)),
    ("NCHW", (2, 7, 9, 11), (5, 6)),
    ("NHWC", (2, 9, 11, 7), (33, 9)),
    ("NCHW", (3, 16, 40, 40), (64, 17, 40)),
    ("NHWC", (3, 40, 40, 16), (96, 24)),
    ("NCHW", (1, 96, 14, 14), (384, 96)),
    ("NHWC", (1, 50, 60, 300), (400, 30)),
    ("NCW", (2, 3, 5000), (4, 5, 6, 7, 8, 9, 10, 3)),
    ("NWC", (1, 7000, 3), (16, 16, 3)),
    ("NCDHW", (2, 6, 4, 25, 26), (8, 8)),
    ("NDHWC", (2, 4, 5, 6, 6), (8, 8)),
    ("NC", (300, 20), (200, 300)),
    ("NC", (1, 1600), (1700, 5)),
    ("CHW", (8, 130, 50), (40, 4, 1)),
    ("HWC", (13, 50, 8), (40, 4, 1)),
    ("CW", (8, 900), (40, 4)),
    ("WC", (900, 8), (40, 4)),
    ("CDHW", (3, 2, 30, 40), (20, 4)),
    ("DHWC", (2, 30, 40, 3), (20, 4)),
    ("C", (5,), (3, 2)),
    ("NCHW", (1, 3, 30, 40), (1,) * 30),
]
EMPTY = [
    ("NCHW", (0, 3, 4, 4), (5, 6)),
    ("NCHW", (1, 3, 0, 4), (5, 6)),
    ("NCHW", (1, 0, 30, 40), (5, 6)),
    ("NCHW", (1, 3, 30, 40), (5, 0, 6)),
    ("NHWC", (1, 30, 40, 3), (0, 6)),
    ("NCHW", (1, 3, 30, 40), (5, 6, 0)),
    ("C", (0,), (0,)),
]


def parts(rng, layout, shape, channels, dtype=np.float32, **how):
    x = numbers(rng, shape, dtype)
    return x, layers_of(rng, (shape[layout.index("C")], *channels), layout, dtype=dtype, **how)


class TestTheBits:
    @pytest.mark.parametrize(("layout", "shape", "channels"), TABLE + EMPTY)
    @pytest.mark.parametrize(("stride", "dtype"), [(1, np.float32), (2, np.float32), (1, np.float64)])
    def test_of_the_layers_one_by_one(self, layout, shape, channels, stride, dtype, rng):
        x, layers = parts(rng, layout, shape, channels, dtype, stride=stride)
        check(layers, x, rng)

    @pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
    @pytest.mark.parametrize("groups", [(2,), (1, 4), (3, 2, 6)])
    def test_groups(self, layout, groups, rng):
        shape = tuple({"N": 2, "C": 12, "H": 30, "W": 37}[axis] for axis in layout)
        x, layers = parts(rng, layout, shape, (24, 12, 6), groups=groups, stride=(2, 1))
        check(layers, x, rng)

    @pytest.mark.parametrize("threads", [2, 5])
    @pytest.mark.parametrize(("layout", "shape", "channels"), [row for row in TABLE if np.prod(row[1]) > 10000])
    def test_threads(self, threads, layout, shape, channels, rng):
        x, layers = parts(rng, layout, shape, channels)
        with pw.num_threads(1):
            expected = one_by_one(layers, x)
        with pw.num_threads(threads):
            reference.assert_same_bits(pw.Chain(layers)(x), expected)

    @pytest.mark.parametrize("way", views.WAYS)
    @pytest.mark.parametrize("layout", ["NCHW", "NHWC", "CW", "NC"])
    @pytest.mark.parametrize("stride", [1, 2])
    def test_views(self, way, layout, stride, rng):
        shape = tuple({"N": 2, "C": 5, "H": 19, "W": 70}[axis] for axis in layout)
        x, layers = parts(rng, layout, shape, (17, 6), stride=stride)
        chain, expected = pw.Chain(layers), one_by_one(layers, x)
        residual = numbers(rng, expected.shape)
        source, add = views.put(way, x), views.put(way, residual)
        out, base = views.empty(way, expected.shape, x.dtype)
        assert chain(source, out=out) is out
        views.assert_wrote_only(way, base, expected)
        expected = one_by_one(layers, x, residual)
        assert chain(source, add, out) is out
        views.assert_wrote_only(way, base, expected)
        out[...] = residual
        assert chain(source, out, out) is out
        views.assert_wrote_only(way, base, expected)
        reference.assert_same_bits(source, x)

    def test_broadcast_and_read_only(self, rng):
        x, layers = parts(rng, "NCHW", (2, 5, 30, 40), (17, 6))
        for source in (np.broadcast_to(x[:, :, :1], x.shape), np.broadcast_to(x[:1, :1, :1, :1], x.shape)):
            add = np.broadcast_to(numbers(rng, (6, 1, 1)), (2, 6, 30, 40))
            reference.assert_same_bits(pw.Chain(layers)(source, add), one_by_one(layers, source, add))

    def test_a_slice_of_a_concatenation(self, rng):
        """x and out may be slices of one buffer, as in a dense block."""
        x, layers = parts(rng, "NCHW", (2, 8, 30, 40), (32, 8))
        buffer = numbers(rng, (2, 24, 30, 40))
        buffer[:, :8] = x
        expected = buffer.copy()
        expected[:, 8:16] = one_by_one(layers, x)
        out = buffer[:, 8:16]
        assert pw.Chain(layers)(buffer[:, :8], out=out) is out
        reference.assert_same_bits(buffer, expected)

    def test_many_shapes_one_chain(self, rng):
        """A chain gives right results for more shapes than its plan cache keeps, also when shapes repeat."""
        x, layers = parts(rng, "CW", (3, 400), (40, 5))
        chain, expected = pw.Chain(layers), one_by_one(layers, x)
        for _ in range(2):
            for pixels in range(0, 401, 7):
                reference.assert_same_bits(chain(x[:, :pixels]), expected[:, :pixels])
                reference.assert_same_bits(chain(x[:, 400 - pixels :: 2]), expected[:, 400 - pixels :: 2])

    def test_no_numbers(self, rng):
        x, layers = parts(rng, "NCHW", (1, 5, 30, 40), (17, 6))
        x[0, 1, 3, 4], x[0, 2, 9, 9], x[0, 0, 29, 39] = np.nan, np.inf, -np.inf
        y = pw.Chain(layers)(x)
        reference.assert_same_bits(y, one_by_one(layers, x))
        assert np.isfinite(np.delete(y.reshape(6, -1), [3 * 40 + 4, 9 * 40 + 9, 29 * 40 + 39], axis=1)).all()

    @pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
    def test_results_past_the_caches(self, layout, rng):
        shape = (1, 2, 512, 512) if layout == "NCHW" else (1, 512, 512, 2)
        x, layers = parts(rng, layout, shape, (4, 32))
        y = pw.Chain(layers)(x)  # 32 MiB
        for rows in (slice(0, 20), slice(490, 512)):
            part = (slice(None),) * layout.index("H") + (rows,)
            reference.assert_same_bits(y[part], one_by_one(layers, x[part]))

    def test_ways_to_call(self, rng):
        x, layers = parts(rng, "NCHW", (1, 5, 3, 4), (17, 5))
        chain, expected = pw.Chain(layers), one_by_one(layers, x)
        for y in (chain(x), chain(x=x), chain(x, None), chain(x, residual=None, out=None), chain.__call__(x)):
            reference.assert_same_bits(y, expected)
        reference.assert_same_bits(chain(x, residual=x), one_by_one(layers, x, x))
        assert type(chain(x)) is np.ndarray
        assert chain(x[:, :, ::2]).flags.c_contiguous


@given(data=st.data())
def test_any_chain(data):
    """Any chain gives the same bits as its layers, for all sizes, groups, strides, threads and views."""
    draw = data.draw
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    layout = draw(st.sampled_from(reference.LAYOUTS))
    sizes = {axis: draw(st.integers(0, {"N": 3, "D": 3, "H": 20, "W": 70}[axis])) for axis in layout if axis != "C"}
    channels = [4 * draw(st.integers(0, 10)) or draw(st.integers(0, 9)) for _ in range(draw(st.integers(2, 5)))]
    groups = [draw(st.sampled_from([1, 2, 4])) if a % 4 == b % 4 == 0 else 1 for a, b in itertools.pairwise(channels)]
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    how = {"groups": groups, "stride": draw(st.integers(1, 3)), "dtype": dtype, "bias": draw(st.booleans())}
    layers = layers_of(rng, channels, layout, **how)
    x = numbers(rng, [channels[0] if axis == "C" else sizes[axis] for axis in layout], dtype)
    expected = one_by_one(layers, x)
    residual = numbers(rng, expected.shape, dtype) if draw(st.booleans()) else None
    expected = one_by_one(layers, x, residual)
    ways = st.sampled_from(list(views.WAYS) if 0 not in x.shape + expected.shape else ["contiguous"])
    way, chain = draw(ways), pw.Chain(layers)
    out, base = views.empty(way, expected.shape, dtype)
    source, add = views.put(draw(ways), x), None if residual is None else views.put(draw(ways), residual)
    with pw.num_threads(draw(st.integers(1, 3))):
        assert chain(source, add, out) is out
    views.assert_wrote_only(way, base, expected)
