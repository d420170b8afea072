"""Test the arguments of `mix`."""

import numpy as np
import pointwise as pw
import pytest

F = np.float32
x = np.ones((4, 5, 3), F)
square = np.ones((3, 3), F)


@pytest.mark.parametrize(
    ("arguments", "keywords", "error", "message"),
    [
        ((F(3), square), {}, ValueError, r"x must have at least one axis, got shape \(\)"),
        ((x, square), {"axis": 3}, ValueError, r"axis must be at least -3 and less than 3 for x of shape .*, got 3"),
        ((x, square), {"axis": -4}, ValueError, "axis must be at least -3"),
        ((x, square), {"axis": 1.0}, TypeError, "axis must be an integer, got float"),
        ((x, square), {"axis": 2**80}, ValueError, "axis must be within the range of int64"),
        ((x, np.ones(3, F)), {}, ValueError, r"matrix must have shape \(K, C\), or \(N, K, C\) .*, got \(3,\)"),
        ((x, np.ones((1, 4, 3, 3), F)), {}, ValueError, r"matrix must have shape \(K, C\)"),
        ((x, np.ones((5, 3, 3), F)), {}, ValueError, r"matrix must have 4 matrices, .*, got shape \(5, 3, 3\)"),
        ((x, np.ones((4, 3, 4), F)), {"axis": 0}, ValueError, r"axis must not be the first axis .* got 0"),
        ((x, np.ones((2, 5), F)), {}, ValueError, r"x must have 5 channels \(axis 2\), .* matrix of shape \(2, 5\)$"),
        ((x, np.ones((3, 7), F)), {}, ValueError, r"the matrix seems to be transposed: pass matrix.swapaxes\(-1, -2\)"),
        ((x, np.ones((3, 4), F)), {}, ValueError, r"affine: pass matrix\[..., :3\] and bias=matrix\[..., 3\]"),
        ((x, square, [1]), {}, ValueError, r"bias must have shape \(3,\), got \(1,\)"),
        ((x, square * 1j), {}, TypeError, "matrix must be castable to float32"),
        ((x.astype(complex), square), {}, TypeError, "x must be float32, float64, float16, bfloat16 or an integer"),
        (([1, 2, 3], square), {}, TypeError, r"x must be .*, got int64: pass numpy.asarray\(x, numpy.float32\)"),
        ((x.astype(int), square), {}, TypeError, r"got int64: pass x.astype\(numpy.float32\)"),
        ((np.ma.array(x), square), {}, TypeError, "x must be a plain array, got a MaskedArray"),
        ((x, square.astype(">f4")), {}, TypeError, "matrix must have native byte order"),
        ((x, square), {"activation": "reul"}, ValueError, "activation must be None or one of"),
        ((x, square), {"activation": ("clip", 2, 1)}, ValueError, "activation clip must have bounds lo <= hi"),
        ((x, square), {"out": np.ones((4, 5, 2), F)}, ValueError, r"out must have shape \(4, 5, 3\), got \(4, 5, 2\)"),
        ((x, square), {"out": np.ones((4, 5, 3))}, TypeError, "out must have dtype float32, .* bfloat16, got float64"),
        ((x, square), {"out": [1]}, TypeError, "out must be a NumPy array, got list"),
        ((x, square), {"out": x}, ValueError, "out must share no element with x"),
        ((square[0], square), {"out": square[1]}, ValueError, "out must share no element with matrix"),
        ((x, square), {"out": np.broadcast_to(F(0), x.shape)}, ValueError, "out must be writable"),
    ],
)  # fmt: skip
def test_errors(arguments, keywords, error, message):
    out = keywords.get("out")
    before = out.copy() if isinstance(out, np.ndarray) else None
    with pytest.raises(error, match=message):
        pw.mix(*arguments, **keywords)
    if before is not None:
        np.testing.assert_array_equal(out, before)


def test_out_may_be_another_part_of_the_same_array():
    """x may be the even channels of an array, and `out` the odd channels."""
    memory = np.arange(48, dtype=F).reshape(4, 2, 6)
    before = memory.copy()
    pw.mix(memory[..., ::2], square, out=memory[..., 1::2])
    np.testing.assert_array_equal(memory[..., 1::2], before[..., ::2] @ square)
    np.testing.assert_array_equal(memory[..., ::2], before[..., ::2])


def test_arrays_of_many_axes():
    shape = (1,) * 25 + (2, 3, 2, 3, 2, 3, 2)
    values = np.arange(432, dtype=F).reshape(shape)
    apart = np.empty((4, 6, 4, 6, 4, 6, 4), F)[(slice(None, None, 2),) * 7][(np.newaxis,) * 25]
    apart[...] = values
    np.testing.assert_array_equal(pw.mix(apart, np.eye(2, dtype=F)[::-1]), values[..., ::-1])
    out = np.empty_like(apart)
    pw.mix(apart, np.eye(2, dtype=F)[::-1], out=out)
    np.testing.assert_array_equal(out, values[..., ::-1])
