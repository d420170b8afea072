"""Run cases of test_bounds.py in a process that may crash: python bounds_cases.py SECTION FILE

The last line of standard output is the result of the section, such as its number of cases. FILE holds the current case.
`named_case.py` runs this file and shows the case after a crash.
"""

import faulthandler
import itertools
import os
import re
import sys

import definitions
import guarded
import ml_dtypes  # noqa: F401
import numpy as np
import pointwise as pw
import reference
import views

ACTIVATIONS = {
    None: lambda v: v,
    "relu": reference.relu,
    ("clip", -3, 9): lambda v: np.clip(v, -3, 9),
    ("leaky_relu", 0.5): lambda v: np.where(v < 0, v / 2, v),
}
DTYPES = ("float32", "float64", "float16", "bfloat16")  # NumPy knows bfloat16 because of ml_dtypes
X_DTYPES = ("float32", "float32", "uint8", "int8", "uint16", "int16")  # dtypes of x for float32 weights
CHANNELS = (1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 24, 31, 33, 40, 65)
INTEGERS = ("uint8", "int8", "uint16", "int16")
FLOATS = ("float32", "float16", "bfloat16")  # dtypes of results for x of any dtype except float64
SIZES = {1: (1, 2, 7, 16, 17, 33, 49, 100), 2: (1, 2, 3, 7, 11, 14, 16), 3: (1, 2, 3, 5)}


class Notes:
    """The current case, in a file that remains when the process crashes."""

    def __init__(self, path):
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT)
        self.count = 0

    def __call__(self, *words):
        self.count += 1
        os.pwrite(self.file, f"case {self.count}: {' '.join(map(str, words))}".encode().ljust(2000), 0)


def integers(rng, shape, dtype):
    least = 0 if np.dtype(dtype).kind == "u" else -4
    return rng.integers(least, 5, shape).astype(dtype)


def sum_dtype(dtype):
    return "float64" if dtype == "float64" else "float32"


def shape_of(layout, sizes, c):
    return tuple(c if axis == "C" else sizes[axis] for axis in layout)


def draw(rng, layout):
    """Draw the sizes and options of a convolution. Sometimes one of the sizes is 0."""

    def one(values):
        return values[rng.integers(len(values))]

    spatial = reference.spatial(layout)
    sizes = {axis: int(one(SIZES[len(spatial)])) for axis in spatial} | {"N": int(rng.integers(1, 4))}
    groups = 1 + int(rng.integers(4) == 0)
    c_in, c_out = (groups * int(one(CHANNELS)) for _ in range(2))
    if rng.integers(10) == 0:
        which = one(["c_in", "c_out", *[axis for axis in layout if axis != "C"]])
        c_in, c_out = (0 if which == name else c for name, c in (("c_in", c_in), ("c_out", c_out)))
        sizes |= {which: 0} if which in sizes else {}
    how = {"layout": layout, "groups": groups}
    if spatial:
        how["stride"], how["padding"] = int(one((1, 1, 2, 3))), int(one((0, 0, 1, 2)))
    return sizes, c_in, c_out, how


def check_views(rng, note, layout, way, side, dtype):
    """Check all calls with each array next to an inaccessible page. x and out are views of the kind `way`."""
    ways = list(views.WAYS)

    def put(array, way):
        return guarded.put(views.put(way, array), side)

    def any_way():
        return ways[rng.integers(len(ways))]

    sizes, c_in, c_out, how = draw(rng, layout)
    activation = list(ACTIVATIONS)[rng.integers(len(ACTIVATIONS))]
    x_dtype = X_DTYPES[rng.integers(len(X_DTYPES))] if dtype == "float32" else dtype
    x = integers(rng, shape_of(layout, sizes, c_in), x_dtype)
    weight = integers(rng, (c_out, c_in // how["groups"]), dtype)
    bias = integers(rng, c_out, sum_dtype(dtype)) if rng.integers(2) else None
    note(
        layout,
        x.shape,
        weight.shape,
        x_dtype,
        dtype,
        way,
        side,
        how,
        activation,
        "bias" if bias is not None else "no bias",
    )
    scale = None
    if rng.integers(3) == 0:
        scale = integers(rng, (x.shape[0], c_in) if "N" in layout else c_in, dtype)
        axes = [n if axis in "NC" else 1 for axis, n in zip(layout, x.shape, strict=True)]
        scaled = x.astype(dtype) * (scale if "N" in layout else scale[None]).reshape(axes)
    total = reference.exact_value(x.astype(dtype) if scale is None else scaled, weight, bias, **how)
    residual = integers(rng, total.shape, dtype) if rng.integers(2) else None
    total = total if residual is None else total + residual
    if rng.integers(4) == 0:
        activation = ("prelu", put(rng.integers(-4, 5, c_out) / 4, any_way()))

    def activated(total):
        if isinstance(activation, tuple) and activation[0] == "prelu":
            return definitions.computed(activation, total, dtype, axis=layout.index("C"))
        return ACTIVATIONS[activation](total)

    expected = activated(total).astype(dtype)

    x_in, weight_in = put(x, way), put(weight, any_way())
    bias_in = None if bias is None else put(bias, any_way())
    arrays = {
        "residual": None if residual is None else put(residual, any_way()),
        "input_scale": None if scale is None else put(scale, any_way()),
    }
    layer = pw.Conv(weight_in, bias_in, activation=activation, **how)
    calls = [
        lambda **arrays: layer(x_in, **arrays),
        lambda **arrays: pw.conv(x_in, weight_in, bias_in, activation=activation, **how, **arrays),
    ]
    if dtype == "float32":
        pair = (put(weight.astype("int8"), any_way()), np.ones(c_out, "f4"))
        int8 = pw.Conv(pair, bias_in, activation=activation, weight_dtype="int8", **how)
        calls.append(lambda **arrays: int8(x_in, **arrays))
    for call in calls:
        out = guarded.Guarded(views.empty(way, expected.shape, dtype)[0], side)
        assert call(out=out.array, **arrays) is out.array
        out.assert_wrote_only(expected)
        np.testing.assert_array_equal(call(**arrays), expected)
        if residual is not None:  # in place
            out.array[...] = residual
            call(out=out.array, **(arrays | {"residual": out.array}))
            out.assert_wrote_only(expected)

    if dtype != "float64":
        others = FLOATS + (INTEGERS if x_dtype in INTEGERS else ())
        y_dtype = others[rng.integers(len(others))]
        numbers = activated(reference.exact_value(x.astype(dtype) if scale is None else scaled, weight, bias, **how))
        if y_dtype in INTEGERS:
            limits = np.iinfo(y_dtype)
            numbers = np.rint(numbers).clip(limits.min, limits.max)
        numbers = numbers.astype(y_dtype)
        for call in calls:
            out = guarded.Guarded(views.empty(way, numbers.shape, y_dtype)[0], side)
            call(out=out.array, input_scale=arrays["input_scale"])
            out.assert_wrote_only(numbers)

    if how.get("padding", 0) or scale is not None:
        return
    c_between = int(CHANNELS[rng.integers(len(CHANNELS))])
    before = pw.Conv(put(integers(rng, (c_between, c_in), dtype), any_way()), None, **(how | {"groups": 1}))
    after = pw.Conv(put(integers(rng, (c_out, c_between), dtype), any_way()), bias_in, layout=layout)
    expected = after(before(x), residual)
    out = guarded.Guarded(views.empty(way, expected.shape, dtype)[0], side)
    pw.Chain([before, after])(x_in, arrays["residual"], out.array)
    out.assert_wrote_only(expected)


def run_views(note):
    rng = np.random.default_rng(1)
    for layout, way, side, _ in itertools.product(reference.LAYOUTS, views.WAYS, guarded.SIDES, range(5)):
        check_views(rng, note, layout, way, side, DTYPES[rng.integers(len(DTYPES))])
    return note.count


def check_mix(rng, note, rank, way, side, dtype):
    """Check `mix` with each array next to an inaccessible page. x and out are views of the kind `way`."""
    axis, shape = int(rng.integers(rank)), [int(n) for n in rng.integers(1, 4 if rank > 4 else 9, rank)]
    shape[axis] = int(CHANNELS[rng.integers(len(CHANNELS))])
    x_dtype = X_DTYPES[rng.integers(len(X_DTYPES))] if dtype == "float32" else dtype
    each = (shape[0],) if axis > 0 and rng.integers(2) else ()
    matrix_shape = (*each, int(CHANNELS[rng.integers(len(CHANNELS))]), shape[axis])
    x, matrix = integers(rng, shape, x_dtype), integers(rng, matrix_shape, dtype)
    note("mix", shape, axis, matrix_shape, x_dtype, dtype, way, side)
    last = np.moveaxis(x, axis, -1).astype(float)
    one_each = (slice(None), *(np.newaxis,) * (rank - 2)) if each else ()
    expected = np.moveaxis(np.matmul(matrix[one_each], last[..., np.newaxis])[..., 0], -1, axis).astype(dtype)
    ways = list(views.WAYS)
    x_in = guarded.put(views.put(way, x), side)
    matrix_in = guarded.put(views.put(ways[rng.integers(len(ways))], matrix), side)
    out = guarded.Guarded(views.empty(way, expected.shape, dtype)[0], side)
    assert pw.mix(x_in, matrix_in, axis=axis, out=out.array) is out.array
    out.assert_wrote_only(expected)
    np.testing.assert_array_equal(pw.mix(x_in, matrix_in, axis=axis), expected)
    if x_dtype in INTEGERS:
        limits = np.iinfo(x_dtype)
        out = guarded.Guarded(views.empty(way, expected.shape, x_dtype)[0], side)
        pw.mix(x_in, matrix_in, axis=axis, out=out.array)
        out.assert_wrote_only(expected.clip(limits.min, limits.max).astype(x_dtype))


def check_few_channels(rng, note, c_in, c_out, x_dtype, dtype):
    """Check `mix` of images of few channels, which kernels of their own compute, with every remainder of pixels."""
    matrix, bias = integers(rng, (c_out, c_in), "f4"), integers(rng, c_out, "f4")
    for pixels, side in itertools.product((1, 2, 7, 8, 9, 16, 31, 49), guarded.SIDES):
        note("few channels", pixels, c_in, c_out, x_dtype, dtype, side)
        x = integers(rng, (pixels, c_in), x_dtype)
        expected = x.astype(float) @ matrix.T + bias
        expected = expected.clip(0, 255).astype(dtype) if dtype == "uint8" else expected.astype(dtype)
        out = guarded.Guarded(np.empty(expected.shape, dtype), side)
        pw.mix(guarded.put(x, side), matrix, bias, out=out.array)
        out.assert_wrote_only(expected)


def run_mix(note):
    rng = np.random.default_rng(4)
    for rank, way, side, _ in itertools.product(range(1, 8), views.WAYS, guarded.SIDES, range(3)):
        check_mix(rng, note, rank, way, side, DTYPES[rng.integers(len(DTYPES))])
    kinds = (("f4", "f4"), ("uint8", "f4"), ("uint8", "uint8"))
    for c_in, c_out, (x_dtype, dtype) in itertools.product((1, 2, 3, 4), (1, 2, 3, 4), kinds):
        check_few_channels(rng, note, c_in, c_out, x_dtype, dtype)
    return note.count


def check_gradients(rng, note, layout, way, side, dtype):
    """Check the gradients with each array next to an inaccessible page. All arrays are views of the kind `way`."""
    sizes, c_in, c_out, how = draw(rng, layout)
    x_dtype = X_DTYPES[rng.integers(len(X_DTYPES))] if dtype == "float32" else dtype
    x_shape = shape_of(layout, sizes, c_in)
    x, weight = integers(rng, x_shape, x_dtype), integers(rng, (c_out, c_in // how["groups"]), dtype)
    grad = integers(rng, pw.conv(x, weight, **how).shape, dtype)
    note("gradients", layout, x_shape, weight.shape, x_dtype, dtype, way, side, how)
    x_in, weight_in, grad_in = (guarded.put(views.put(way, array), side) for array in (x, weight, grad))
    others = tuple(i for i, axis in enumerate(layout) if axis != "C")
    calls = [
        (pw.conv_grad_input, (grad_in, weight_in, x_shape), how, reference.grad_input(grad, weight, x_shape, **how)),
        (pw.conv_grad_weight, (grad_in, x_in), how, reference.grad_weight(grad, x, **how)),
        (pw.conv_grad_bias, (grad_in,), {"layout": layout}, grad.astype(float).sum(others)),
    ]
    for function, given, keywords, exact in calls:
        expected = exact.astype(sum_dtype(dtype) if function is pw.conv_grad_weight else dtype)
        out = guarded.Guarded(views.empty(way, expected.shape, expected.dtype)[0], side)
        assert function(*given, out=out.array, **keywords) is out.array
        out.assert_wrote_only(expected)
        function(*given, out=out.array, accumulate=True, **keywords)
        out.assert_wrote_only((expected.astype(float) + exact).astype(expected.dtype))
        np.testing.assert_array_equal(function(*given, **keywords), expected)


def run_gradients(note):
    rng = np.random.default_rng(5)
    for layout, way, side, _ in itertools.product(reference.LAYOUTS, views.WAYS, guarded.SIDES, range(3)):
        check_gradients(rng, note, layout, way, side, DTYPES[rng.integers(len(DTYPES))])
    return note.count


def check_quantized(rng, note, layout, way, side):
    """Check quantized convolutions with each array next to an inaccessible page. x and out are views of one kind."""
    sizes, c_in, c_out, how = draw(rng, layout)
    x_dtype, weight_dtype, y_dtype = (("uint8", "int8")[rng.integers(2)] for _ in range(3))
    ways = list(views.WAYS)
    x = integers(rng, shape_of(layout, sizes, c_in), x_dtype)
    weight = integers(rng, (c_out, c_in // how["groups"]), weight_dtype)
    bias = integers(rng, c_out, np.int32)
    note("quantized", layout, x.shape, weight.shape, x_dtype, weight_dtype, y_dtype, way, side, how)
    total = reference.exact_value(x.astype("f4"), weight.astype("f4"), **how)
    axes = [-1 if axis == "C" else 1 for axis in layout]
    limits = np.iinfo(y_dtype)
    quantized = np.rint((total + bias.reshape(axes)) / 4).clip(limits.min, limits.max)
    x_in = guarded.put(views.put(way, x), side)
    weight_in, bias_in = (guarded.put(views.put(ways[rng.integers(len(ways))], a), side) for a in (weight, bias))
    scales = guarded.put(np.full(c_out, 0.5, np.float32), side)
    calls = [
        (pw.conv_integer, (x_in, weight_in), total.astype(np.int32)),
        (pw.qconv, (x_in, 1, 0, weight_in, scales, 0, 2, y_zero(y_dtype), bias_in), quantized.astype(y_dtype)),
    ]
    for function, given, expected in calls:
        out = guarded.Guarded(views.empty(way, expected.shape, expected.dtype)[0], side)
        assert function(*given, out=out.array, **how) is out.array
        out.assert_wrote_only(expected)
        np.testing.assert_array_equal(function(*given, **how), expected)


def y_zero(dtype):
    return np.dtype(dtype).type(0)


def run_quantized(note):
    rng = np.random.default_rng(6)
    for layout, way, side, _ in itertools.product(reference.LAYOUTS, views.WAYS, guarded.SIDES, range(3)):
        check_quantized(rng, note, layout, way, side)
    return note.count


def run_rows(note):
    """Run every kernel row, chosen or not, with x and out next to an inaccessible page."""
    rng = np.random.default_rng(2)
    known, ran = set(), set()
    pixels = {
        "NCHW": ((1, 1), (1, 7), (3, 11), (7, 7), (5, 13), (8, 16)),
        "NHWC": ((1, 1), (2, 3), (3, 11), (5, 13), (4, 8)),
    }
    for dtype, layout in itertools.product(("float32", "float64", "bfloat16"), pixels):
        for (h, w), c_in, c_out in itertools.product(pixels[layout], (1, 5, 33), (1, 3, 8, 17, 24, 40, 72)):
            known |= compare_rows(rng, note, ran, dtype, layout, (h, w), c_in, c_out)
        for c_in, c_out in ((300, 40), (1600, 24)):  # pixels of a tile are copied; input channels are split
            known |= compare_rows(rng, note, ran, dtype, layout, (7, 9), c_in, c_out)
        for (h, w), groups in itertools.product(pixels[layout], (2, 9, 40, 150)):
            known |= compare_rows(rng, note, ran, dtype, layout, (h, w), groups, groups, groups)
    known = {name for name in known if "_u8" not in name}  # the alternatives of a layer have floating x
    assert ran == known, f"did not run: {sorted(known - ran)}"
    return sorted(known)


def compare_rows(rng, note, ran, dtype, layout, size, c_in, c_out, groups=1):
    x = integers(rng, shape_of(layout, {"N": 2, "H": size[0], "W": size[1]}, c_in), dtype)
    weight, bias = integers(rng, (c_out, c_in // groups), dtype), integers(rng, c_out, dtype)
    layer = pw.Conv(weight, bias, layout=layout, groups=groups)
    expected = np.ascontiguousarray(reference.exact_value(x, weight, bias, layout=layout, groups=groups).astype(dtype))
    for side in guarded.SIDES:
        x_in = guarded.put(x, side)
        for words, _, run in layer._alternatives(x.shape):
            note(words, layout, x.shape, weight.shape, dtype, side)
            out = guarded.Guarded(expected, side)
            run(x_in, out.array)
            out.assert_wrote_only(expected)
            ran.add(words.split(",")[0])
    return set(re.findall(r"\bgemm_\w+", layer.explain(x.shape)))


def run_streams(note):
    """Check results that are treated as too large for L3. Only whole cache lines of such results get non-temporal
    stores.

    The last axis of `out` has whole lines, or it ends within a line and has a gap behind it. With a gap, the axis
    begins at the start of a line on one side of the memory, and within a line on the other side.
    """
    rng = np.random.default_rng(3)
    l3 = 2 << 20
    pw._core._testing.assume_l3_cache_size(l3)
    shapes = ((0, False), (5, False), (5, True))
    for dtype, layout, side, (rest, added) in itertools.product(DTYPES, ("NCW", "NWC"), guarded.SIDES, shapes):
        line = 64 // np.dtype(dtype).itemsize
        c_in, c_out = 2, max(16, line) + rest
        pixels = (l3 // 2 // (c_out * np.dtype(dtype).itemsize) // 64 + 1) * 64 + (rest if layout == "NCW" else 0)
        x, weight = integers(rng, (1, c_in, pixels), dtype), integers(rng, (c_out, c_in), dtype)
        expected = np.matmul(weight.astype(float), x.astype(float)).astype(dtype)
        if layout == "NWC":
            x, expected = (np.ascontiguousarray(a.transpose(0, 2, 1)) for a in (x, expected))
        how = {}
        if added:  # another function stores these results
            how = {"residual": integers(rng, expected.shape, dtype), "activation": ("leaky_relu", 0.5)}
            expected = ACTIVATIONS["leaky_relu", 0.5](expected + how["residual"])
        note(layout, x.shape, weight.shape, dtype, side, "a gap behind rows" if rest else "whole lines", *how)
        row = -(-expected.shape[-1] // line) * line
        like = np.empty((*expected.shape[:-1], row), dtype)[..., : expected.shape[-1]]
        x_in, out = guarded.put(x, side), guarded.Guarded(like, side)
        assert (out.array.ctypes.data % 64 == 0) == (side == "begin" or not rest)
        pw.conv(x_in, weight, layout=layout, out=out.array, **how)
        out.assert_wrote_only(expected)
    return note.count


def run_fault(note):
    """Check that an access beyond an array ends the process. All other sections assume this."""
    for name in guarded.SIDES:
        note("reading beyond the", name)
        array = guarded.Guarded(np.zeros(7, np.uint8), name).array
        beyond = array.ctypes.data + (7 if name == "end" else -1)
        if os.fork() == 0:
            guarded.ctypes.string_at(beyond, 1)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.wait()[1]) != 0, f"the page at the {name} can be read"
    guarded.ctypes.string_at(beyond, 1)


if __name__ == "__main__":
    faulthandler.enable()
    print(globals()[f"run_{sys.argv[1]}"](Notes(sys.argv[2])))
