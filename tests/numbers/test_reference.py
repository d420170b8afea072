"""Test the reference: its multiply-add rounds once, and sums in float64 are exact."""

from fractions import Fraction

import numpy as np
import pytest
import reference


def numbers(rng, spread, dtype):
    return (rng.standard_normal(4000) * 2.0 ** rng.integers(-spread, spread + 1, 4000)).astype(dtype)


@pytest.mark.parametrize("spread", [1, 12, 30, 60])
def test_fma_against_fractions(spread, dtype, rng):
    """Results of the multiply-add are nearest to the exact sum, and even at a tie."""
    info = np.finfo(dtype)
    a, b, c = (numbers(rng, n, dtype) for n in (spread, spread, 2 * spread))
    c[::4] = -(a * b)[::4]  # sums that cancel
    with np.errstate(over="ignore"):
        c[1::4] = np.clip((a * b)[1::4] / info.epsneg, info.min / 4, info.max / 4)  # sums close to a tie
    for got, *abc in zip(reference.fma(a, b, c), a, b, c, strict=True):
        a_, b_, c_ = (Fraction(float(v)) for v in abc)
        total = a_ * b_ + c_
        error = abs(Fraction(float(got)) - total)
        for neighbour in (np.nextafter(got, dtype.type(np.inf)), np.nextafter(got, dtype.type(-np.inf))):
            other = abs(Fraction(float(neighbour)) - total)
            even = int(got.view(f"i{dtype.itemsize}")) & 1 == 0
            assert error < other or (error == other and even)


def test_fma_rounds_once():
    """A multiply-add rounds once.

    c + 2**-24 * (1 - 2**-46) lies just below a tie, so rounding once to float32 goes down. Rounding to float64
    drops the last term. Then rounding the tie to float32 would go up.
    """
    a, b, c = np.float32(1 - 2**-23), np.float32(2**-24 * (1 + 2**-23)), np.float32(1 + 2**-23)
    twice = np.float32(np.float64(c) + np.float64(a) * np.float64(b))
    assert twice == np.float32(1 + 2**-22)
    assert reference.fma(a, b, c) == c


def test_fma_of_float64():
    up = 1 + 2.0**-52
    a = np.array([up, 0.1, 1.0, np.inf, 1e200, -0.0, 0.0, 1e200])
    b = np.array([up, 10.0, -1.0, 0.0, 1e200, 1.0, -1.0, 1e200])
    c = np.array([-1.0, -1.0, 1.0, 1.0, -np.inf, -0.0, 0.0, np.nan])
    expected = np.array([2.0**-51 + 2.0**-104, 2.0**-54, 0.0, np.nan, -np.inf, -0.0, 0.0, np.nan])
    reference.assert_same_bits(reference.fma(a, b, c), expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_integer_sums_are_the_same_in_the_wider_type(dtype, rng, monkeypatch):
    x = rng.integers(-99, 100, (2, 7, 3, 5)).astype(dtype)
    weight, bias = rng.integers(-99, 100, (4, 7)).astype(dtype), rng.integers(-9, 10, 4).astype(dtype)
    value = reference.exact_value(x, weight, bias, padding=1)
    monkeypatch.setattr(reference, "_are_exact", lambda *_: False)
    np.testing.assert_array_equal(reference.exact_value(x, weight, bias, padding=1), value, strict=True)


@pytest.mark.parametrize(
    ("number", "exact"), [(2.0**25, True), (2.0**26, False), (0.5, False), (np.nan, False), (np.inf, False)]
)
def test_which_sums_float64_holds_exactly(number, exact):
    w, src = np.array([[[0.0, number]]]), np.array([[[0.0, -number]]])
    assert reference._are_exact(w, src) == exact
