"""Test the numbers of `mix` against numpy.tensordot, for all ranks, axes, orders and dtypes."""

import itertools

import numpy as np
import pointwise as pw
import pytest
import reference
import views

pytestmark = pytest.mark.kernels
INTEGERS = ("uint8", "int8", "uint16", "int16")


def expected(x, matrix, axis, bias=0):
    """Return the exact result in float64."""
    if np.ndim(matrix) == 3:
        return np.stack([expected(*each, axis % x.ndim - 1, bias) for each in zip(x, matrix, strict=True)])
    sums = np.tensordot(np.asarray(matrix, float), x.astype(float), (1, axis))
    return np.moveaxis(sums + np.reshape(bias, (-1,) + (1,) * (x.ndim - 1)), 0, axis)


def result_dtype(dtype):
    return np.dtype("float32") if np.dtype(dtype).kind in "iu" else np.dtype(dtype)


def small(rng, shape, dtype):
    least = 0 if np.dtype(dtype).kind == "u" else -8
    return rng.integers(least, 9, shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64", *INTEGERS])
@pytest.mark.parametrize("rank", range(1, 9))
def test_every_rank_axis_and_order(rank, dtype, rng):
    for axis, order, permuted in itertools.product(range(-rank, rank), "CF", (False, True)):
        shape = rng.integers(1, 5 if rank < 6 else 4, rank)
        x = small(rng, shape, dtype)
        x = np.asarray(x.transpose(rng.permutation(rank)) if permuted else x, order=order)
        matrix, bias = small(rng, (3, x.shape[axis]), "int64"), small(rng, 3, "int64")
        y = pw.mix(x, matrix, bias, axis=axis)
        assert y.dtype == result_dtype(dtype)
        assert y.flags.c_contiguous
        np.testing.assert_array_equal(y, expected(x, matrix, axis, bias))


@pytest.mark.parametrize("way", views.WAYS)
@pytest.mark.parametrize(("rank", "axis"), [(1, 0), (2, 0), (3, 1), (4, -1), (6, 2), (7, 6)])
def test_every_view(rank, axis, way, dtype, rng):
    """x and out are views of every kind. The call writes nothing outside `out`."""
    shape = [2, 3, 4, 2, 3, 2, 3][:rank]
    x, matrix = small(rng, shape, dtype), small(rng, (5, shape[axis]), dtype)
    want = np.maximum(expected(x, matrix, axis), 0).astype(dtype)
    out, base = views.empty(way, want.shape, dtype)
    given = (views.put(way, x), views.put(way, matrix))
    assert pw.mix(*given, axis=axis, activation="relu", out=out) is out
    views.assert_wrote_only(way, base, want)


@pytest.mark.any_cpu
@pytest.mark.parametrize("axis", [1, 2, -1])
@pytest.mark.parametrize("shape", [(3, 4, 50), (4, 5, 6, 7), (2, 3, 2, 3, 2, 3, 2)])
def test_a_matrix_for_each_image(shape, axis, dtype, rng):
    x, bias = small(rng, shape, dtype), small(rng, 6, dtype)
    matrices = small(rng, (shape[0], 6, shape[axis]), dtype)
    for given in (matrices, matrices[::-1][::-1], np.broadcast_to(matrices[:1], matrices.shape)):
        np.testing.assert_array_equal(pw.mix(x, given, bias, axis=axis), expected(x, given, axis, bias))
    out = np.empty((*shape[:-1], 12), dtype)[..., ::2]
    if axis == -1:
        assert pw.mix(x, matrices, bias, out=out) is out
        np.testing.assert_array_equal(out, expected(x, matrices, -1, bias))


def test_the_bits_of_conv(dtype, rng):
    """`mix` and `conv` give the same bits, even if `mix` calls the kernels several times."""
    x = rng.standard_normal((2, 3, 4, 5, 300)).astype(dtype)
    matrix, bias = rng.standard_normal((7, 300)).astype(dtype), rng.standard_normal(7).astype(dtype)
    y = pw.conv(x, matrix, bias, layout="NDHWC", activation="gelu")
    assert pw.mix(x, matrix, bias, activation="gelu").tobytes() == y.tobytes()
    first = pw.mix(np.moveaxis(x, -1, 0), matrix, bias, axis=0, activation="gelu")
    assert np.moveaxis(first, 0, -1).tobytes() == y.tobytes()
    apart = np.empty((4, 6, 8, 10, 2, 300), dtype)[::2, ::2, ::2, ::2]  # five axes that cannot be merged
    apart[...] = x[..., None, :]
    apart = apart[..., :1, :]
    assert pw.mix(apart, matrix, bias, activation="gelu").tobytes() == y.tobytes()


@pytest.mark.any_cpu
def test_the_bound(dtype, rng):
    x, matrix = rng.standard_normal((40, 50, 200)).astype(dtype), rng.standard_normal((10, 200)).astype(dtype)
    value, bound = reference.exact(x, matrix, layout="HWC")
    reference.assert_within_bound(pw.mix(x, matrix), value, bound)


@pytest.mark.any_cpu
@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("size", list(itertools.product((0, 3), repeat=3)))
def test_axes_without_elements(size, axis, dtype):
    x, bias = np.ones(size, dtype), np.arange(2, dtype=dtype)
    y = pw.mix(x, np.ones((2, size[axis]), dtype), bias, axis=axis)
    np.testing.assert_array_equal(y, expected(x, np.ones((2, size[axis])), axis, bias))
    assert pw.mix(x, np.ones((0, size[axis]), dtype), axis=axis).size == 0


@pytest.mark.any_cpu
def test_lists(dtype):
    assert pw.mix([1.0, 2.0], [[1, 2], [3, 4]], [1, 1]).tolist() == [6, 12]
    x = np.ones((2, 3), dtype)
    assert pw.mix(x, [[1, 2, 3]], axis=1).tolist() == [[6], [6]]
    assert pw.mix(x, [[[1, 2, 3]], [[4, 5, 6]]]).dtype == dtype


def test_threads_change_no_bit(rng):
    x, matrix = rng.standard_normal((200, 200, 31), np.float32), rng.standard_normal((8, 31), np.float32)
    with pw.num_threads(1):
        alone = pw.mix(x, matrix)
    with pw.num_threads(3):
        assert pw.mix(x, matrix).tobytes() == alone.tobytes()
