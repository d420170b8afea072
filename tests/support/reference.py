"""The definition of the operation in NumPy. This module uses nothing of the package.

`exact` computes the sum in a wider type, and the error bound of results. `canonical` computes a result bit by bit as
pointwise does: in the canonical order (docs/design/numbers.md), with correctly rounded multiply-adds.
"""

import ctypes
import math

import numpy as np

_c_fma = ctypes.CDLL(None).fma
_c_fma.argtypes, _c_fma.restype = [ctypes.c_double] * 3, ctypes.c_double
_fma_float64 = np.frompyfunc(_c_fma, 3, 1)

AXES = "NCDHW"
CHUNK = 256  # input channels of a partial sum
HALVES = ("float16", "bfloat16")  # names of dtypes whose sums are float32
LAYOUTS = ["NCHW", "NHWC", "NCW", "NWC", "NCDHW", "NDHWC", "NC", "CHW", "HWC", "CW", "WC", "CDHW", "DHWC", "C"]


def spatial(layout):
    return [axis for axis in layout if axis in "DHW"]


def per_axis(value, layout):
    """Return an integer for each of D, H and W, or None if the layout lacks the axis.

    `value` is one integer, or one for each spatial axis.
    """
    values = dict(zip(spatial(layout), value, strict=True)) if isinstance(value, (tuple, list)) else {}
    return [int(values.get(axis, 0 if values else value)) if axis in layout else None for axis in "DHW"]


def channels_first(x, layout):
    """Return a view of x as (N, C, D, H, W), with axes of length 1 in place of missing axes."""
    x = x.transpose([layout.index(axis) for axis in AXES if axis in layout])
    return x[tuple(slice(None) if axis in layout else None for axis in AXES)]


def in_layout(y, layout):
    """Return a view of an (N, C, D, H, W) array with the axes of the layout."""
    y = y[tuple(slice(None) if axis in layout else 0 for axis in AXES)]
    kept = [axis for axis in AXES if axis in layout]
    return y.transpose([kept.index(axis) for axis in layout])


def source(x, layout, stride, padding):
    """Return x at the source pixel of every output pixel, as (N, C, D, H, W), and a mask of the pixels in the image."""
    x = channels_first(x, layout)
    inside = np.ones((1, 1, 1), bool)
    for i, (s, p) in enumerate(zip(per_axis(stride, layout), per_axis(padding, layout), strict=True)):
        if s is None:
            continue
        size = x.shape[2 + i]
        count = (size + 2 * p - 1) // s + 1 if size + 2 * p > 0 else 0
        at = [k * s - p for k in range(count)]
        seen = np.array([0 <= k < size for k in at], bool)
        picked = np.array([k if 0 <= k < size else 0 for k in at], np.intp)
        if size == 0:  # noqa: SIM108
            x = np.zeros((*x.shape[: 2 + i], count, *x.shape[3 + i :]), x.dtype)
        else:
            x = x.take(picked, axis=2 + i)
        inside = inside & seen.reshape([-1 if k == i else 1 for k in range(3)])
    return x, np.broadcast_to(inside, x.shape[2:])


def relu(v):
    return np.where(v < 0, v.dtype.type(0), v)


def flushed(a):
    """Return `a` with zeros in place of subnormal numbers, with signs kept."""
    return np.where(abs(a) < np.finfo(a.dtype).tiny, np.copysign(a.dtype.type(0), a), a)


def rounded(a, dtype):
    """Return `a` in another dtype. NaN and numbers beyond the largest one give no warning."""
    with np.errstate(all="ignore"):
        return a.astype(dtype)


def operands(x, weight, bias=None, residual=None):
    """Return the numbers that take part in the sum. First, the weights are rounded to the dtype of x.

    The sums of 16-bit numbers are float32. Subnormal numbers count as zeros if x is bfloat16.
    """
    weight = rounded(weight, x.dtype)
    if x.dtype.name not in HALVES:
        return x, weight, None if bias is None else rounded(bias, x.dtype), residual
    wide = [None if a is None else rounded(a, np.float32) for a in (x, weight, bias, residual)]
    return [None if a is None else flushed(a) for a in wide] if x.dtype.name == "bfloat16" else wide


def scaled(x, scale, layout):
    """Return x times `input_scale`, rounded to the dtype of x."""
    dtype, axes = x.dtype, [n if axis in "NC" else 1 for axis, n in zip(layout, x.shape, strict=True)]
    x, scale, *_ = operands(x, scale)
    with np.errstate(all="ignore"):
        product = x * scale.reshape(axes)
    return rounded(flushed(product) if dtype.name == "bfloat16" else product, dtype)


def exact(x, weight, bias=None, *, layout="NCHW", stride=1, padding=0, groups=1, residual=None):
    """Return the sum before the activation in a wider type, and the error bound of a result in the type of x.

    For 16-bit x, it is the error bound of a float32 result.
    """
    flushes = x.dtype.name == "bfloat16"
    x, weight, bias, residual = operands(x, weight, bias, residual)
    how = {"layout": layout, "stride": stride, "padding": padding, "groups": groups}
    value = exact_value(x, weight, bias, residual=residual, **how)
    magnitude = exact_value(abs(x), *(None if a is None else abs(a) for a in (weight, bias)),
                            residual=None if residual is None else abs(residual), **how)  # fmt: skip
    wide, c = value.dtype.type, weight.shape[1]  # c: input channels of a group
    chunks, info = -(-c // CHUNK), np.finfo(x.dtype)
    nu = (min(c, CHUNK) + chunks + 2) * wide(info.eps) / 2
    own = (c + 2) * np.finfo(wide).eps  # errors of the wider type: about 2**-28 (float64: 2**-10) of the bound
    least = info.tiny if flushes else info.smallest_subnormal
    return value, (nu / (1 - nu) + own) * magnitude + (c + chunks + 1) * wide(least)


def exact_value(x, weight, bias=None, *, layout="NCHW", stride=1, padding=0, groups=1, residual=None):
    """Return the first result of `exact`, in half of the time."""
    x, weight, bias, residual = operands(x, weight, bias, residual)
    wide = np.float64 if x.dtype == np.float32 else np.longdouble
    src, inside = source(x, layout, stride, padding)
    c_out, c = weight.shape
    w = weight.reshape(groups, c_out // groups, c)
    y = _sums(w, src.reshape(src.shape[0], groups, c, *src.shape[2:]), wide)
    y = np.where(inside, y.reshape(src.shape[0], c_out, *src.shape[2:]), wide(0))
    if bias is not None:
        y = y + bias.astype(wide)[:, None, None, None]
    if residual is not None:
        y = y + channels_first(residual, layout).astype(wide)
    return in_layout(y, layout)


def _sums(w, src, wide):
    """Return the sums over the input channels in the type `wide`. Uses float64 if it holds each sum exactly."""
    if wide is np.float64 or _are_exact(w, src):
        flat = src.reshape(*src.shape[:3], math.prod(src.shape[3:]))
        return np.matmul(w.astype(np.float64), flat.astype(np.float64)).astype(wide)
    return np.einsum("goi,ngidhw->ngodhw", w.astype(wide), src.astype(wide))


def _are_exact(w, src):
    """Check that the numbers are integers, and that float64 holds each sum of their products exactly."""
    if not all((np.trunc(a) == a).all() for a in (w, src)):
        return False
    return w.shape[2] * float(abs(w).max(initial=0)) * float(abs(src).max(initial=0)) < 2**53


def assert_within_bound(y, value, bound, activation=None):
    """Check that the error of every element is within the bound, and that no element is NaN.

    relu may be the activation, because it does not increase errors. A 16-bit result passes if it lies between the two
    ends of the bound, each rounded to 16 bits.
    """
    value = relu(value) if activation else value
    assert y.shape == value.shape
    if y.dtype.name in HALVES:
        least, most = (rounded(value + sign * bound, y.dtype) for sign in (-1, 1))
        good = (least <= y) & (y <= most)
    else:
        good = abs(y.astype(value.dtype) - value) <= bound
    assert good.all(), f"{(~good).sum()} of {good.size} beyond the bound, the first at {np.argwhere(~good)[0]}"


def fma(a, b, c):
    """Return a*b + c, rounded once.

    For float32 the sum is rounded to odd in float64 (Boldo and Melquiond), and then to float32. For float64, the
    C library computes the sum.
    """
    if a.dtype == np.float64:
        with np.errstate(all="ignore"):
            return np.asarray(_fma_float64(a, b, c), np.float64)
    with np.errstate(all="ignore"):
        product, c = a.astype(np.float64) * b.astype(np.float64), c.astype(np.float64)  # the product is exact
        total = np.asarray(product + c)
        part = total - product
        error = (product - (total - part)) + (c - part)  # total + error is exactly the sum
        bits = total.view(np.int64)
        away = np.where((error > 0) == (total > 0), 1, -1)
        odd = np.where(np.isfinite(total) & (error != 0) & (bits & 1 == 0), bits + away, bits)
        return odd.view(np.float64).astype(np.float32)


def canonical(
    x,
    weight,
    bias=None,
    *,
    layout="NCHW",
    stride=1,
    padding=0,
    groups=1,
    activation=None,
    residual=None,
    pairs=None,
    flush=None,
):
    """Compute in the canonical order, which defines the bits of a result.

    Each chunk of channels has a sum, computed by acc = fma(w_i, x_i, acc). The first sum starts at bias or +0. Later
    sums start at +0. Each later sum is added to the total. The residual and the activation follow. For 16-bit x, the
    result is float32, which the caller must round to the dtype of the result.

    With `pairs`, channels go in pairs, the odd one first: 1, 0, 3, 2. With `flush`, subnormal numbers count as zeros in
    every operation. The default of both is True for bfloat16 x, and False for other x.
    """
    pairs, flush = (x.dtype.name == "bfloat16" if a is None else a for a in (pairs, flush))
    x, weight, bias, residual = operands(x, weight, bias, residual)
    after = flushed if flush else np.asarray
    dtype, c_out, per_group = x.dtype, weight.shape[0], weight.shape[1]
    src, inside = source(x, layout, stride, padding)
    shape = (src.shape[0], c_out, *src.shape[2:])
    start = np.zeros(c_out, dtype) if bias is None else after(bias)
    acc = np.broadcast_to(start[:, None, None, None], shape)
    group = np.arange(c_out) // max(c_out // groups, 1)
    total = acc
    for i in range(per_group):
        if i % CHUNK == 0:
            acc = acc if i == 0 else np.zeros(shape, dtype)
        c = i ^ 1 if pairs and (i ^ 1) < per_group else i
        step = after(fma(after(weight[:, c])[:, None, None, None], after(src[:, group * per_group + c]), acc))
        acc = np.where(inside, step, acc)
        if i + 1 == per_group or (i + 1) % CHUNK == 0:
            with np.errstate(all="ignore"):
                total = acc if i < CHUNK else np.where(inside, after(total + acc), total)
    acc = total
    if residual is not None:
        with np.errstate(all="ignore"):
            acc = after(acc + after(channels_first(residual, layout)))
    return in_layout(relu(acc) if activation else np.array(acc), layout)


def _pixels_of(grad, x, layout="NCHW", stride=1, padding=0):
    """Return grad and x at the output pixels that read the image, as (pixels, channels), in the order of the sum."""
    src, inside = source(x, layout, stride, padding)
    mask = np.broadcast_to(inside, (src.shape[0], *inside.shape)).reshape(-1)
    flat = [np.moveaxis(a, 1, -1).reshape(mask.size, a.shape[1])[mask] for a in (channels_first(grad, layout), src)]
    return flat[0], flat[1]


def _by_group(grad, x, groups):
    """Return arrays of shape (pixels, C_out, 1) and (pixels, C_out, C_in / groups)."""
    per_group = x.shape[1] // groups
    owner = np.arange(grad.shape[1]) // max(grad.shape[1] // groups, 1)
    return grad[:, :, None], x.reshape(len(x), groups, per_group)[:, owner]


def grad_weight(grad, x, *, groups=1, **how):
    """Return the exact gradient of the weights, for integers. Their sums are exact in any order."""
    g, s = _pixels_of(grad.astype(float), x.astype(float), **how)
    g, s = (a.reshape(len(a), groups, a.shape[1] // groups) for a in (g, s))
    return np.matmul(g.transpose(1, 2, 0), s.transpose(1, 0, 2)).reshape(groups * g.shape[2], s.shape[2])


def canonical_grad_weight(grad, x, *, groups=1, **how):
    """Return the gradient of the weights with the bits that the order of the sum defines."""
    g, s = _by_group(*_pixels_of(grad, x.astype(grad.dtype), **how), groups)
    total = None
    for begin in range(0, len(g), CHUNK):
        acc = np.zeros(s.shape[1:], grad.dtype)
        for p in range(begin, min(begin + CHUNK, len(g))):
            acc = fma(g[p], s[p], acc)
        total = acc if total is None else total + acc
    return total


def grad_input(grad, weight, x_shape, *, layout="NCHW", stride=1, padding=0, groups=1, convolve=exact):
    """Return the gradient of x: a convolution with transposed weights, whose results are scattered to their pixels."""
    c_out, per_group = weight.shape
    turned = weight.reshape(groups, c_out // groups, per_group).transpose(0, 2, 1)
    turned = turned.reshape(groups * per_group, c_out // groups)
    at = np.arange(np.prod(x_shape), dtype=np.intp).reshape(x_shape)
    at, inside = source(at, layout, stride, padding)
    values = convolve(grad, turned, layout=layout, groups=groups)
    values = values[0] if isinstance(values, tuple) else values
    dx = np.zeros(x_shape, values.dtype)
    dx.reshape(-1)[at[..., inside]] = channels_first(values, layout)[..., inside]
    return dx


def assert_same_bits(y, expected):
    """Check that shape, dtype and bits are the same, including signs of zeros. All NaNs count as equal."""
    assert y.shape == expected.shape
    assert y.dtype == expected.dtype
    with np.errstate(invalid="ignore"):  # isnan of bfloat16 warns of signalling NaN
        both_nan = np.isnan(y) & np.isnan(expected)
    integer = f"i{y.dtype.itemsize}"
    same = both_nan | (np.ascontiguousarray(y).view(integer) == np.ascontiguousarray(expected).view(integer))
    assert same.all(), (
        f"{(~same).sum()} of {same.size} differ, the first at {np.argwhere(~same)[0]}: "
        f"{y[~same][0]!r} instead of {expected[~same][0]!r}"
    )
