"""Test conversions from and to float16 and bfloat16 with every 16-bit number, against NumPy and ml_dtypes."""

import ml_dtypes
import numpy as np
import pointwise as pw
import pytest
import reference
from children import EMULATOR

pytestmark = pytest.mark.kernels

F = np.float32
BFLOAT16 = np.dtype(ml_dtypes.bfloat16)
DTYPES = ("float32", "float16", "bfloat16")
# A bias of -0.0 changes no number. Without a bias, sums start at +0.0, which turns -0.0 into +0.0.
ZERO = np.full(1, -0.0, F)


def every_number(dtype):
    """Return all 65,536 numbers of a 16-bit dtype."""
    return np.arange(1 << 16, dtype=np.uint16).view(dtype)


def widened(numbers):
    """Return 16-bit numbers as float32. bfloat16 flushes subnormal numbers."""
    wide = reference.rounded(numbers, F)
    return reference.flushed(wide) if numbers.dtype == BFLOAT16 else wide


def near(dtype):
    """Return all 16-bit numbers and the ties between them, and the float32 numbers next to each."""
    halves = reference.rounded(every_number(dtype), F)
    halves = np.sort(halves[np.isfinite(halves)])
    with np.errstate(all="ignore"):
        ties = halves[:-1] + (halves[1:] - halves[:-1]) / 2
        beyond = halves[-1] + (halves[-1] - halves[-2]) / 2  # rounds to infinity. It is a tie
        exact = np.concatenate([halves, ties, F([beyond, -beyond, 3e38, -3e38, np.inf, -np.inf])])
        return np.concatenate(
            [exact, *(np.nextafter(exact, F(end)) for end in (np.inf, -np.inf)), F([0, -0.0, np.nan])]
        )


@pytest.mark.any_cpu
@pytest.mark.parametrize("out_dtype", DTYPES)
def test_every_number_of_x(out_dtype, half):
    """Test one channel (channels last, channels first), one group for each channel of a pixel, and 1 -> 3 channels."""
    if EMULATOR and half == BFLOAT16 and out_dtype == "float16":
        pytest.skip("qemu flushes subnormal results of VCVTPS2PH, but CPUs ignore FTZ there (Intel's manual)")
    x, one = every_number(half), np.ones((1, 1), half)
    expected = reference.rounded(widened(x), np.dtype(out_dtype))
    how = {"out_dtype": out_dtype}
    for y in (
        pw.mix(x[:, np.newaxis], one, ZERO, **how)[:, 0],
        pw.mix(x[np.newaxis], one, ZERO, axis=0, **how)[0],
        pw.conv(x[np.newaxis], np.ones((len(x), 1), half), np.repeat(ZERO, len(x)), layout="NC", groups=len(x), **how)[
            0
        ],
        pw.mix(x.reshape(-1, 4)[..., np.newaxis], np.ones((3, 1), half), np.repeat(ZERO, 3), **how)[..., 2].ravel(),
    ):
        reference.assert_same_bits(y, expected)


@pytest.mark.any_cpu
def test_every_number_of_other_arguments(half):
    """Weights, residuals and factors are converted like x."""
    numbers = every_number(half)
    one, many = np.ones((1, 1), half), np.repeat(ZERO, len(numbers))
    wide = widened(numbers)
    how = {"layout": "NC", "out_dtype": "float32"}
    for weight in (numbers[:, np.newaxis], numbers[:, np.newaxis].astype(F)):
        reference.assert_same_bits(pw.conv(one, weight, many, **how)[0], wide)
        reference.assert_same_bits(pw.Conv(weight, many, dtype=half, **how)(one)[0], wide)
    y = pw.conv(np.ones((1, len(numbers)), half), one, ZERO, layout="CW", input_scale=numbers[:1], out_dtype="float32")
    reference.assert_same_bits(y, np.broadcast_to(wide[:1], y.shape))
    x = np.ones((len(numbers), 1), half)
    reference.assert_same_bits(pw.conv(x, one, ZERO, input_scale=numbers[:, np.newaxis], **how)[:, 0], wide)
    none, how = np.ones((1, 0), half), {"layout": "NC"}
    residual = numbers[:, np.newaxis]
    y = pw.conv(np.ones((len(numbers), 0), half), none, ZERO, residual=residual, **how)
    reference.assert_same_bits(y[:, 0], reference.rounded(wide, half))
    y = pw.conv(np.ones((len(numbers), 0), F), none, ZERO, residual=residual, out_dtype=half, **how)
    reference.assert_same_bits(y[:, 0], numbers)  # with x of float32, subnormal numbers are not flushed


@pytest.mark.any_cpu
def test_every_rounding(half):
    """Results are rounded to nearest, half to even. Numbers beyond the range become infinite, and NaN stays NaN."""
    v = near(half)
    expected = reference.rounded(v, half)
    assert np.isnan(expected).sum() == np.isnan(v).sum() > 0
    assert np.isinf(expected).sum() > np.isinf(v).sum()
    how = {"out_dtype": half}
    for y in (
        pw.mix(v[:, np.newaxis], np.ones((1, 1), F), ZERO, **how)[:, 0],
        pw.mix(v[np.newaxis], np.ones((1, 1), F), ZERO, axis=0, **how)[0],
        pw.mix(np.ones((1, 0), F), np.ones((len(v), 0), F), v, **how)[0],
    ):
        reference.assert_same_bits(y, expected)


@pytest.mark.parametrize("count", [*range(1, 36), 63, 64, 65])
def test_every_remainder(count, half):
    """Each lane of a vector and of a remainder rounds in the same way."""
    v = np.resize(F([1 + 2.0**-8, 1 + 3 * 2.0**-8, 1 + 2.0**-11, 65520, 3.4e38, np.nan, -0.0, 2.0**-25, -1e-41]), count)
    expected = reference.rounded(v, half)
    one, zeros = np.ones((1, 1), F), np.repeat(ZERO, count)
    how = {"out_dtype": half}
    reference.assert_same_bits(pw.mix(v[:, np.newaxis], one, ZERO, **how)[:, 0], expected)
    reference.assert_same_bits(pw.mix(v[np.newaxis], one, ZERO, axis=0, **how)[0], expected)
    ones = np.ones((count, 1), F)
    y = pw.conv(v[np.newaxis], ones, zeros, layout="NC", groups=count, **how)
    reference.assert_same_bits(y[0], expected)
    wide = pw.mix(np.ones((5, 0), F), np.ones((count, 0), F), v, **how)
    reference.assert_same_bits(wide, np.broadcast_to(expected, wide.shape))


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16"])
def test_every_integer(dtype, half):
    limits = np.iinfo(dtype)
    x = np.arange(limits.min, limits.max + 1).astype(dtype)
    y = pw.mix(x[:, np.newaxis], np.ones((1, 1), F), out_dtype=half)[:, 0]
    reference.assert_same_bits(y, reference.rounded(x.astype(F), half))
