"""Test `gram`, `covariance` and `Covariance` against NumPy."""

import itertools
import pickle

import numpy as np
import pointwise as pw
import pytest
import reference
import views
from pointwise import _core, _statistics

pytestmark = pytest.mark.kernels
DTYPES = ("float32", "float64", "float16", "bfloat16", "uint8", "int8", "uint16", "int16")


def small(rng, shape, dtype):
    return rng.integers(0 if np.dtype(dtype).kind == "u" else -4, 5, shape).astype(dtype)


def sums(x, y, axis):
    """Return the exact sums of products in float64."""
    rows = [np.moveaxis(a.astype(float), axis, 0).reshape(a.shape[axis], -1) for a in (x, y)]
    return rows[0] @ rows[1].T


def result_dtype(dtype):
    return np.dtype("float64" if dtype == "float64" else "float32")


@pytest.mark.any_cpu
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rank", range(1, 8))
def test_gram_of_every_rank_and_axis(rank, dtype, rng):
    for axis, order in itertools.product(range(-rank, rank), "CF"):
        shape = rng.integers(1, 5 if rank < 6 else 4, rank)
        x = np.asarray(small(rng, shape, dtype), order=order)
        shape[axis] = 3
        y = small(rng, shape, dtype)
        for other in (None, y):
            expected = sums(x, x if other is None else other, axis)
            result = pw.gram(x, other, axis=axis)
            assert result.dtype == result_dtype(dtype)
            np.testing.assert_array_equal(result, expected)
            result = pw.gram(x, other, axis=axis, dtype="float64")
            assert result.dtype == np.float64
            np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16", "uint8", "int16"])
def test_arrays_of_two_dtypes(dtype, rng):
    for other in ("float32", "float16", "bfloat16", "int8"):
        x, y = small(rng, (5, 40, 7), dtype), small(rng, (18, 40, 7), other)
        result = pw.gram(x, y, axis=0)
        assert result.dtype == np.float32
        np.testing.assert_array_equal(result, sums(x, y, 0))


@pytest.mark.parametrize("c", [1, 2, 15, 16, 17, 48, 65, 130, 300])
def test_the_half_that_is_copied(c, dtype, rng):
    """The result is symmetric, and has the bits of a result whose products are all computed."""
    for shape, axis in (((c, 3, 101), 0), ((3, 101, c), -1)):
        x = rng.standard_normal(shape).astype(dtype)
        for team in (1, 2, 5):
            _core._testing.force_teams(team > 2)
            try:
                with pw.num_threads(team):
                    half = pw.gram(x, axis=axis)
            finally:
                _core._testing.force_teams(False)
            reference.assert_same_bits(half, np.ascontiguousarray(half.T))
            reference.assert_same_bits(half, pw.gram(x, x.copy(), axis=axis))
            layout = "CHW" if axis == 0 else "HWC"
            reference.assert_same_bits(half, pw.conv_grad_weight(x, x, layout=layout))


@pytest.mark.parametrize("way", views.WAYS)
def test_every_view(way, dtype, rng):
    for shape, axis in (((5, 4, 30), 0), ((2, 7, 3, 4), 1), ((3, 50, 6), -1), ((2, 3, 2, 3, 2, 4), 3)):
        x, y = (small(rng, shape, dtype) for _ in range(2))
        given = views.put(way, x), views.put(way, y)
        np.testing.assert_array_equal(pw.gram(given[0], axis=axis), sums(x, x, axis))
        np.testing.assert_array_equal(pw.gram(*given, axis=axis), sums(x, y, axis))
        np.testing.assert_allclose(pw.covariance(given[0], axis=axis), cov(x, axis), rtol=0, atol=1e-5)


def cov(x, axis, **how):
    rows = np.moveaxis(x.astype(float), axis, 0).reshape(x.shape[axis], -1)
    return np.cov(rows, **how).reshape(x.shape[axis], x.shape[axis])


@pytest.mark.any_cpu
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "axis"), [((40, 33, 21), 0), ((33, 21, 40), -1), ((2, 5, 9, 7), 1), ((1, 90), 0)])
def test_covariance_agrees_with_numpy(shape, axis, dtype, rng):
    x = (rng.standard_normal(shape) * 20 + 60).astype(dtype)
    expected = cov(x, axis)
    scale = np.diag(expected).max()
    result = pw.covariance(x, axis=axis)
    assert result.dtype == np.float64
    np.testing.assert_array_equal(result, result.T)
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-5 * scale)
    np.testing.assert_allclose(pw.covariance(x, axis=axis, dtype="float64"), expected, rtol=0, atol=1e-12 * scale)
    np.testing.assert_allclose(pw.covariance(x, axis=axis, ddof=0), cov(x, axis, ddof=0), rtol=0, atol=1e-5 * scale)


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(_statistics, "BLOCK", 100)


@pytest.mark.parametrize("shape", [(7, 13, 11), (3, 200), (200, 3), (2, 3, 4, 5), (130, 2), (7,)])
def test_blocks_hold_each_pixel_once(shape, small_blocks):
    for axis in range(len(shape)):
        seen = np.zeros(shape, int)
        for index in _statistics._blocks(shape, axis):
            seen[index] += 1
            assert seen[index].size <= 100 or seen[index].size == shape[axis]
            assert seen[index].shape[axis] == shape[axis]
        assert (seen == 1).all()


def test_many_blocks(small_blocks, dtype, rng):
    x = (rng.standard_normal((7, 60, 31)) + 3).astype(dtype)
    np.testing.assert_allclose(pw.covariance(x, axis=0), cov(x, 0), rtol=0, atol=1e-6)
    np.testing.assert_allclose(pw.gram(x, axis=0, dtype="float64"), sums(x, x, 0), rtol=1e-12)


def test_a_large_mean_loses_no_digits(rng):
    """Each block is centred near its mean. Sums of squares minus squares of sums would lose all digits."""
    x = (1e4 + rng.standard_normal((4, 100, 100)) / 8).astype(np.float32)
    x[:, 50:] += 100  # the mean changes
    expected = cov(x, 0)
    np.testing.assert_allclose(pw.covariance(x, axis=0), expected, rtol=1e-5)
    np.testing.assert_allclose(pw.covariance(x, axis=0, dtype=float), expected, rtol=1e-11)


def test_a_mean_that_changes_from_block_to_block(rng, small_blocks):
    """The centre follows the mean. Between two changes of the mean, blocks have the same centre."""
    x = (1e4 + rng.standard_normal((4, 60, 20)) / 8).astype(np.float32)
    x[:, 20:] += 100
    x[2, 40:] -= 1e3
    total = pw.Covariance(axis=0).update(x[:, :30]).update(x[:, 30:])
    for result in (pw.covariance(x, axis=0), total.result()):
        np.testing.assert_allclose(result, cov(x, 0), rtol=1e-5)
        np.testing.assert_array_equal(result, result.T)
    np.testing.assert_allclose(total.mean, x.astype(float).mean((1, 2)), rtol=1e-7)


@pytest.mark.any_cpu
def test_a_layout_names_the_axis(rng):
    x = rng.standard_normal((2, 5, 4, 3), np.float32)
    for layout, axis in (("NCHW", 1), ("nhwc", 3)):
        reference.assert_same_bits(pw.gram(x, layout=layout), pw.gram(x, axis=axis))
        reference.assert_same_bits(pw.gram(x, x + 1, layout=layout), pw.gram(x, x + 1, axis=axis))
        expected = pw.covariance(x, axis=axis)
        reference.assert_same_bits(pw.covariance(x, layout=layout), expected)
        total = pickle.loads(pickle.dumps(pw.Covariance(layout=layout))).update(x)
        reference.assert_same_bits(total.result(), expected)
    reference.assert_same_bits(pw.gram(x[0], layout="CHW"), pw.gram(x[0], axis=0))


def test_a_given_mean(rng):
    x, mean = rng.standard_normal((5, 300)), np.arange(5.0)
    apart = x - mean[:, None]
    np.testing.assert_allclose(pw.covariance(x, axis=0, mean=mean, ddof=0), apart @ apart.T / 300, rtol=1e-10)


def test_pieces_and_merging(rng):
    x = rng.standard_normal((6, 50, 40)) + np.arange(6)[:, None, None]
    whole, left, right = pw.Covariance(axis=0), pw.Covariance(axis=0), pw.Covariance(axis=0)
    assert whole.update(x) is whole
    for first in range(0, 50, 7):
        (left if first < 20 else right).update(x[:, first : first + 7])
    right = pickle.loads(pickle.dumps(right))
    before = right.result()
    assert left.merge(right) is left
    np.testing.assert_array_equal(right.result(), before)
    for total in (whole, left, pw.Covariance(axis=0).merge(left), left.merge(pw.Covariance(axis=0))):
        assert total.count == 2000
        np.testing.assert_allclose(total.mean, x.mean((1, 2)), rtol=0, atol=1e-14)
        np.testing.assert_allclose(total.result(), cov(x, 0), rtol=0, atol=1e-13)
        np.testing.assert_allclose(total.result(ddof=0), cov(x, 0, ddof=0), rtol=0, atol=1e-13)
    copied = pw.Covariance(axis=0).merge(left)
    copied.update(x)
    assert left.count == 2000


def test_threads_change_no_bits(rng):
    x = rng.standard_normal((70, 60, 100), np.float32)
    with pw.num_threads(1):
        one = pw.covariance(x, axis=0)
    with pw.num_threads(2):
        reference.assert_same_bits(pw.covariance(x, axis=0), one)


def test_empty_arrays(dtype):
    np.testing.assert_array_equal(pw.gram(np.empty((3, 0), dtype), axis=0), np.zeros((3, 3)))
    assert pw.gram(np.empty((0, 3), dtype), axis=0).shape == (0, 0)
    np.testing.assert_array_equal(pw.gram(np.empty((3, 0), "f4"), axis=0, dtype=float), np.zeros((3, 3)))
    total = pw.Covariance(axis=0).update(np.empty((3, 0), dtype)).update(np.ones((3, 4), dtype))
    np.testing.assert_array_equal(total.result(), np.zeros((3, 3)))
    assert pw.Covariance(axis=0).update(np.empty((0, 5), dtype)).mean.shape == (0,)


ones = np.ones((4, 6), np.float32)
WRONG = [
    (ValueError, r"^axis must be at least -2 and less than 2 for x of shape \(4, 6\), got 2$", pw.gram, {"axis": 2}),
    (TypeError, r"^axis must be an integer, got float$", pw.gram, {"axis": 1.0}),
    (ValueError, r"^x must have at least one axis, got shape \(\)$", pw.gram, {"x": np.float32(1)}),
    (ValueError, r"^layout must be one of NCHW, .* C, got 'NCX'$", pw.gram, {"layout": "NCX"}),
    (TypeError, r"^layout must be a string, got int$", pw.covariance, {"layout": 1}),
    (ValueError, r"^x must have the 3 axes of layout CHW, got shape \(4, 6\)$", pw.covariance, {"layout": "CHW"}),
    (TypeError, r"^layout names the axis .*, so axis must be left out, got 0$", pw.gram, {"layout": "NC", "axis": 0}),
    (TypeError, r"^x must be float32, float64, float16", pw.gram, {"x": ones.astype(complex)}),
    (ValueError, r"^y must have the shape of x, .* got shape \(5, 6\) for x", pw.gram, {"y": np.ones((5, 6), "f4")}),
    (ValueError, r"^y must have the shape of x", pw.gram, {"y": np.ones((4, 6, 1), "f4")}),
    (TypeError, r"^y must have the dtype of x, float32, got float64: pass", pw.gram, {"y": np.ones((4, 6))}),
    (TypeError, r"^dtype must be float32 or float64", pw.gram, {"dtype": "i4"}),
    (TypeError, r"^dtype must be float64 or None", pw.gram, {"x": np.ones((4, 6)), "dtype": "f4"}),
    (ValueError, r"^ddof must be less than the number of pixels, 4, got 4$", pw.covariance, {"ddof": 4}),
    (TypeError, r"^ddof must be an integer, got str$", pw.covariance, {"ddof": "1"}),
    (ValueError, r"^mean must have shape \(6,\), got \(4,\)", pw.covariance, {"mean": np.ones(4)}),
    (TypeError, r"^mean must be numbers, got object$", pw.covariance, {"mean": object()}),
    (TypeError, r"^x must be a plain array, got a MaskedArray", pw.covariance, {"x": np.ma.array(ones)}),
]


@pytest.mark.any_cpu
@pytest.mark.parametrize("case", range(len(WRONG)))
def test_errors(case):
    error, message, function, wrong = WRONG[case]
    with pytest.raises(error, match=message):
        function(**({"x": ones} | wrong))


@pytest.mark.any_cpu
def test_errors_of_pieces():
    total = pw.Covariance(axis=0).update(ones)
    with pytest.raises(ValueError, match=r"^x must have 4 channels, as in the updates before, got shape \(5, 6\)"):
        total.update(np.ones((5, 6), np.float32))
    with pytest.raises(TypeError, match=r"^other must be a Covariance, got int$"):
        total.merge(3)
    with pytest.raises(ValueError, match=r"^other must have 4 channels, got 5$"):
        total.merge(pw.Covariance().update(np.ones((6, 5))))
    with pytest.raises(ValueError, match=r"^ddof must be less than the number of pixels, 0, got 1$"):
        pw.Covariance().result()
    with pytest.raises(TypeError, match=r"^axis must be an integer"):
        pw.Covariance(axis=None)
    with pytest.raises(ValueError, match=r"^layout must be one of NCHW, .* got 'XY'$"):
        pw.Covariance(layout="XY")
    with pytest.raises(ValueError, match=r"^x must have the 3 axes of layout HWC, got shape \(4, 6\)$"):
        pw.Covariance(layout="HWC").update(ones)
    with pytest.raises(ValueError, match=r"^x must have 4 channels, .* got shape \(4, 5\) and axis 1$"):
        pw.Covariance(layout="NC").update(ones.T).update(ones[:, :5])
    assert total.count == 6
