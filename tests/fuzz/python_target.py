"""Turn bytes into a call. Check that its result is right, or that its exception is documented.

An exception must name an argument. A call that raises must leave `out` unchanged. `python_fuzzer.py` calls `one_input`
with inputs of the fuzzer. tests/robustness/test_fuzz.py calls `one_input` with saved and random inputs.
"""

import itertools
import re

import ml_dtypes
import numpy as np
import pointwise as pw
import reference

F = np.float32
HALVES = (np.dtype(np.float16), np.dtype(ml_dtypes.bfloat16))
DOCUMENTED = (ValueError, TypeError, NotImplementedError, MemoryError)
ARGUMENTS = (
    "x|weight|bias|layout|stride|padding|groups|activation|residual|out|input_scale|dtype|layers|x_shape|c_out|n|matrix"
    "|axis|out_dtype|weight_dtype|x_scale|x_zero_point|weight_scale|weight_zero_point|y_scale|y_zero_point"
)
QUANTIZED = range(161, 181)  # first bytes of quantized calls; older saved inputs do not begin with them
strided = np.lib.stride_tricks.as_strided


class Subclass(np.ndarray):
    pass


class Raises:
    """An object whose conversions raise exceptions."""

    def __index__(self):
        raise ValueError("n of Raises")

    def __array__(self, dtype=None, copy=None):
        raise TypeError("x of Raises")


JUNK = (
    *(None, 0, -1, 2**63, 10**5000, 1.5, float("nan"), True, 1j, "", "relu", b"NCHW", "\udc80", (), [], {}, [[[]]]),
    *((1, 2), ("relu",), ("clip", 0, 1), ("clip", 2, 1), (1,) * 9, range(2), Ellipsis, object, Raises(), slice(1)),
    *(np.float16(1), np.int8(2), np.datetime64("NaT"), np.array(1), np.ones((2, 2)), np.ones((2, 6), F), np.ma.masked),
    *(np.zeros(2, "f4,i1"), np.array([None]), np.zeros((1,) * 30, F), memoryview(b"1234"), np.dtype(F), Subclass),
)
DTYPES = ("f2", ">f4", "<f4", "f8", "i1", "u8", "?", "c8", "O", "U2", "M8[s]", "g")


class Bytes:
    """The bytes of an input, read as choices. After the last byte all choices are 0."""

    def __init__(self, data):
        self.rest = iter(data)

    def below(self, count):
        return next(self.rest, 0) % count

    def one_in(self, count):
        """Return True for one of every `count` values of the next byte. The value 0 gives False."""
        return next(self.rest, 0) >= 256 - 256 // count

    def of(self, choices):
        return choices[self.below(len(choices))]


def numbers(shape, dtype, data):
    """Return small integers. Their sums are exact."""
    count = int(np.prod(shape))
    least = 0 if np.dtype(dtype).kind == "u" else 4
    return (np.arange(count) * (2 * data.below(8) + 1) % 9 - least).astype(dtype).reshape(shape)


def laid(array, data):
    """Return the array with other memory, strides or type. A call may accept or refuse the new array."""
    way = data.below(16)
    if way < 5 or array.ndim == 0:
        return array
    if way == 5:
        return np.repeat(array, 2, axis=-1)[..., ::2]
    if way == 6:
        return np.ascontiguousarray(array[::-1])[::-1]
    if way == 7:
        return np.asfortranarray(array)
    if way == 8:
        memory = np.zeros(array.nbytes + 1, np.uint8)[1:]
        memory[:] = np.frombuffer(array.tobytes(), np.uint8)
        return memory.view(array.dtype).reshape(array.shape)
    if way == 9:
        return np.broadcast_to(array[:1], array.shape)
    if way == 10:
        return array.view(Subclass)
    if way == 11:
        array.setflags(write=False)
        return array
    if way == 12:
        return array[..., :-1]
    if way == 13:
        return array[np.newaxis]
    if way == 14:
        return np.ma.array(array)
    if data.one_in(2):
        wide = array.astype(F) if array.dtype in HALVES else array  # NumPy cannot cast bfloat16 to some of DTYPES
        return wide.astype(data.of(DTYPES))
    return array.tolist()


def cells(array):
    """Return the address of each byte of each element. An address occurs twice if elements overlap."""
    start, _ = array.__array_interface__["data"]
    offsets = [sum(i * s for i, s in zip(index, array.strides, strict=True)) for index in np.ndindex(array.shape)]
    return [start + at + byte for at, byte in itertools.product(offsets, range(array.itemsize))]


def overlaps(out, others, residual):
    """Return True if `out` shares a byte that it must not share."""
    mine = cells(out)
    shared = len(set(mine)) < len(mine)
    shared |= any(isinstance(a, np.ndarray) and set(mine) & set(cells(a)) for a in others)
    if isinstance(residual, np.ndarray) and cells(residual) != mine:
        shared |= bool(set(mine) & set(cells(residual)))
    return bool(shared)


def drawn(data):
    """Return matching arguments of a convolution, and sometimes change some of them."""
    layout = data.of(reference.LAYOUTS)
    dtype = np.dtype(data.of(["f4", "f4", "f8"]))
    axes = len(reference.spatial(layout))
    groups = 1 + data.below(3) if data.one_in(4) else 1
    each, out_each = data.below(5), data.below(5)
    sizes = {axis: 1 + data.below(3) for axis in "NDHW"} | {"C": groups * each}
    for axis in "NDHW":
        if data.one_in(16):
            sizes[axis] = 0
    if dtype == np.float64 and (groups + each + out_each) % 2:  # the sizes select a dtype, as for x below
        dtype = HALVES[out_each % 2]
    how = {"layout": layout, "stride": 1 + data.below(3), "padding": data.below(2), "groups": groups}
    if axes and data.one_in(4):
        how["stride"] = tuple(1 + data.below(3) for _ in range(axes))
    if data.one_in(2):
        how["activation"] = data.of([None, "relu", ("clip", -3, 3), "gelu", ("elu", 2), ("leaky_relu",)])
    # Integer x needs float32 weights. The sizes select the dtype, because another choice from `data` would change the
    # meaning of all later bytes of saved inputs.
    x_dtype = ["f4", "f4", "u1", "i1", "u2", "i2"][(each + out_each) % 6] if dtype == F else dtype
    given = {
        "x": numbers([sizes[axis] for axis in layout], x_dtype, data),
        "weight": numbers((groups * out_each, each), dtype, data),
    }
    shape = output_shape(given["x"].shape, groups * out_each, how)
    if data.one_in(2):
        given["bias"] = numbers((groups * out_each,), dtype, data)
        if how.get("activation") == ("leaky_relu",):  # no choice from `data`, so that saved inputs stay valid
            how["activation"] = ("prelu", given["bias"].copy())
    if data.one_in(2):
        given["residual"] = numbers(shape, dtype, data)
    if data.one_in(4):
        scale = (sizes["N"], sizes["C"]) if "N" in layout else (sizes["C"],)
        given["input_scale"] = numbers(scale, dtype, data)
    if data.one_in(2):
        # Sometimes asks for integer results. The sizes decide, so that saved inputs keep their meaning.
        integer = np.dtype(x_dtype).kind in "ui" and (each + axes) % 2 == 0
        given["out"] = numbers(shape, x_dtype if integer else dtype, data)
    elif (each + out_each + axes) % 3 == 0:
        how["out_dtype"] = ["u1", "i1", "u2", "i2", "f4", "f8", *HALVES][(2 * each + out_each) % 8]
    for name in list(given):
        given[name] = laid(given[name], data)
    if "out" in given and data.one_in(2):
        share(given, shape, dtype, data)
    everything = given | how
    for name in everything:
        if data.one_in(24):
            everything[name] = data.of(JUNK)
    return everything


def share(given, shape, dtype, data):
    """Move `out` into the memory of another argument, with drawn strides."""
    other = given[data.of(sorted(given))]
    if not isinstance(other, np.ndarray) or other.dtype != dtype or other.size == 0:
        return
    memory = np.concatenate([np.zeros(200, dtype), other.ravel().view(np.ndarray), np.zeros(200, dtype)])
    for name, array in given.items():
        if array is other:
            given[name] = memory[200 : 200 + other.size].reshape(other.shape)
    steps = (
        [data.below(7) for _ in shape]
        if data.one_in(2)
        else [s // dtype.itemsize for s in np.empty(shape, dtype).strides]
    )
    reach = sum((n - 1) * s for n, s in zip(shape, steps, strict=True) if n)
    begin = data.below(200) + data.below(200)
    if begin + reach < memory.size:
        given["out"] = strided(memory[begin:], shape, [s * dtype.itemsize for s in steps])


def output_shape(shape, c_out, how):
    steps = dict(zip("DHW", reference.per_axis(how["stride"], how["layout"]), strict=True))
    pads = dict(zip("DHW", reference.per_axis(how["padding"], how["layout"]), strict=True))
    return tuple(
        c_out
        if axis == "C"
        else n
        if axis == "N"
        else (n + 2 * pads[axis] - 1) // steps[axis] + 1
        if n + pads[axis]
        else 0
        for axis, n in zip(how["layout"], shape, strict=True)
    )


def as_function(given):
    return pw.conv(**given), ("x", "weight", "bias", "input_scale")


def as_layer(given):
    of_call = ("x", "residual", "out", "input_scale")  # out_dtype belongs to the layer
    layer = pw.Conv(**{name: value for name, value in given.items() if name not in of_call})
    call = {name: value for name, value in given.items() if name in of_call}
    return layer(**call), ("x", "input_scale")


def as_chain(given):
    scale = given.pop("input_scale", None)
    layer = pw.Conv(**{name: given[name] for name in given if name not in ("x", "residual", "out")})
    call = {name: value for name, value in given.items() if name in ("x", "residual", "out")}
    between = layer.dtype if layer.out_dtype is None else layer.out_dtype
    integers = between.kind in "ui"
    eye = np.eye(layer.weight.shape[0], dtype=F if integers else between)
    same = pw.Conv(eye, layout=layer.layout, out_dtype=between if integers else None)
    y = pw.Chain([layer, same] if "residual" not in given and scale is None else [layer])(**call)
    return y, ("x",)


def axis_of_mix(layout):
    """Return the index of "C" if `layout` is a string that contains "C", else `layout` itself, which may be junk."""
    return layout.index("C") if isinstance(layout, str) and "C" in layout else layout


def as_mix(given):
    call = {name: given[name] for name in ("x", "bias", "activation", "out", "out_dtype") if name in given}
    return pw.mix(matrix=given["weight"], axis=axis_of_mix(given["layout"]), **call), ("x", "weight", "bias")


def named(error):
    """Check that a message begins with the name of an argument. A MemoryError of Python has no message."""
    if not isinstance(error, MemoryError):
        assert re.match(rf"({ARGUMENTS})\b", str(error)), f"{type(error).__name__} names no argument: {error}"


def result_dtype(given, dtype):
    """Return the dtype that the result must have. `dtype` is the dtype of the sums."""
    if isinstance(given.get("out"), np.ndarray):
        return given["out"].dtype
    return np.dtype(dtype if given.get("out_dtype") is None else given["out_dtype"])


def right_integers(y, value, bound, activation):
    """Check results that were converted to integers. A sum within its bound may round to the next integer."""
    if activation in (None, "relu", ("relu",)) and np.isfinite(value).all():
        limits, value = np.iinfo(y.dtype), value.astype(float) if activation is None else np.maximum(value, 0)
        least, most = (np.rint(value + sign * bound).clip(limits.min, limits.max) for sign in (-1, 1))
        assert ((least <= y) & (y <= most)).all()


def right(y, given, kept):
    """Check shape and dtype. If the activation is None or relu, also check the numbers."""
    x, layout = np.asarray(kept["x"]), str(given["layout"])
    dtype = x.dtype if x.dtype.kind not in "ui" else np.dtype(F)
    x = x.astype(dtype)
    if kept.get("input_scale") is not None:
        scale = np.asarray(kept["input_scale"]).astype(dtype)
        if scale.ndim == (2 if "N" in layout else 1):
            images = len(scale) if "N" in layout else 1
            scale = reference.in_layout(scale.reshape(images, scale.shape[-1], 1, 1, 1), layout)
        x = reference.rounded(x * scale, dtype)
    weight = np.asarray(kept["weight"]).astype(dtype)
    bias = None if kept.get("bias") is None else np.asarray(kept["bias"])
    residual = None if kept.get("residual") is None else np.asarray(kept["residual"])
    whole = {name: plain(given[name]) for name in ("stride", "padding", "groups")}
    weight = weight.reshape(weight.shape[:2])
    with np.errstate(all="ignore"):
        value, bound = reference.exact(x, weight, bias, layout=layout, residual=residual, **whole)
    assert y.shape == value.shape
    assert y.dtype == result_dtype(given, dtype)
    activation = given.get("activation")
    if y.dtype.kind in "ui":
        right_integers(y, value, bound, activation)
    elif activation in (None, "relu", ("relu",)) and np.isfinite(value).all():
        reference.assert_within_bound(np.asarray(y), value, bound, activation)


def right_mix(y, given, kept):
    """Check shape and dtype of `mix`. If the activation is None or relu, also check the numbers."""
    x, matrix = np.asarray(kept["x"]), np.asarray(kept["weight"])
    dtype = x.dtype if x.dtype.kind not in "ui" else np.dtype(F)
    axis = int(axis_of_mix(given["layout"])) % x.ndim
    vectors, matrix = np.moveaxis(x, axis, -1).astype(float), matrix.astype(dtype).astype(float)
    if matrix.ndim == 3:
        matrix = matrix.reshape(len(matrix), *(1,) * (x.ndim - 2), *matrix.shape[1:])
    with np.errstate(all="ignore"):
        value = np.matmul(matrix, vectors[..., np.newaxis])[..., 0]
        magnitude = np.matmul(abs(matrix), abs(vectors)[..., np.newaxis])[..., 0]
        if kept.get("bias") is not None:
            bias = np.asarray(kept["bias"]).astype(F if dtype in HALVES else dtype)
            value, magnitude = value + bias, magnitude + abs(bias)
        value, magnitude = np.moveaxis(value, -1, axis), np.moveaxis(magnitude, -1, axis)
    assert y.shape == value.shape
    assert y.dtype == result_dtype(given, dtype)
    activation = given.get("activation")
    bound = 1e-5 * (1 + magnitude)  # large terms may cancel, so the error does not follow from the value
    if y.dtype.kind in "ui":
        right_integers(y, value, bound, activation)
    elif activation in (None, "relu", ("relu",)) and np.isfinite(value).all():
        reference.assert_within_bound(np.asarray(y), value, bound, activation)


def plain(value):
    return (
        tuple(int(v) for v in value)
        if isinstance(value, (tuple, list, range, np.ndarray)) and np.ndim(value)
        else int(value)
    )


def right_gradients(given, kept):
    """Check the adjoint identity of the gradients, which is exact for small integers."""
    x, weight = np.asarray(kept["x"]), np.asarray(kept["weight"])
    dtype = x.dtype if x.dtype.kind not in "ui" else np.dtype(F)
    most = 8 if dtype in HALVES else 1000  # bfloat16 holds integers up to 256
    if max(np.abs(a.astype(float)).max(initial=0) for a in (x, weight)) > most:
        return
    weight = weight.astype(dtype).reshape(weight.shape[:2])
    how = {name: given[name] for name in ("layout", "stride", "padding", "groups")}
    y = pw.conv(x, weight, **how)
    grad = (np.arange(y.size) % 5 - 2).astype(dtype).reshape(y.shape)
    gradients = pw.conv_backward(grad, x, weight, **how)
    assert [a.shape for a in gradients] == [x.shape, weight.shape, weight.shape[:1]]
    total = np.vdot(y.astype(float), grad.astype(float))
    assert total == np.vdot(x.astype(float), gradients[0].astype(float))
    assert total == np.vdot(weight.astype(float), gradients[1].astype(float))
    others = tuple(i for i, axis in enumerate(how["layout"]) if axis != "C")
    assert np.array_equal(gradients[2], grad.astype(float).sum(others))


def spread(shape, dtype, data):
    """Return 8-bit integers of the whole range."""
    count = int(np.prod(shape))
    return (np.arange(count) * (2 * data.below(64) + 1) + data.below(256)).astype(np.uint8).view(dtype).reshape(shape)


def drawn_quantized(data):
    """Return matching arguments of `qconv`, and sometimes change some of them."""
    layout = data.of(reference.LAYOUTS)
    groups = 1 + data.below(3) if data.one_in(4) else 1
    each, c_out = data.below(9), groups * data.below(5)
    x_dtype, weight_dtype, y_dtype = (np.dtype(data.of(["u1", "i1"])) for _ in range(3))
    sizes = {axis: data.below(4) for axis in "NDHW"} | {"C": groups * each}
    how = {"layout": layout, "stride": 1 + data.below(3), "padding": data.below(2), "groups": groups}
    x = spread([sizes[axis] for axis in layout], x_dtype, data)
    per_channel = (c_out,) if data.one_in(2) else ()
    given = {
        "x": laid(x, data),
        "x_scale": data.of([1, 0.02, 0.5]),
        "x_zero_point": spread((), x_dtype, data)[()],
        "weight": laid(spread((c_out, each), weight_dtype, data), data),
        "weight_scale": np.full(per_channel, data.of([1, 0.01, 3]), F) * (1 + np.arange(c_out) if per_channel else 1),
        "weight_zero_point": spread(per_channel, weight_dtype, data),
        "y_scale": data.of([1, 0.1, 500]),
        "y_zero_point": spread((), y_dtype, data)[()],
    }
    if data.one_in(2):
        given["bias"] = (np.arange(c_out) * 1000 - 1500).astype(np.int32)
    if data.one_in(2):
        how["activation"] = data.of([None, "relu", "relu6", ("clip", -1, 20)])
    everything = given | how
    if data.one_in(3):
        shape = output_shape(x.shape, c_out, how)
        everything["out"] = x if data.one_in(4) else laid(np.zeros(shape, data.of([y_dtype, "i4"])), data)
    for name in everything:
        if data.one_in(24):
            everything[name] = data.of(JUNK)
    return everything


def as_conv_integer(given):
    names = ("x", "weight", "x_zero_point", "weight_zero_point", "layout", "stride", "padding", "groups", "out")
    return pw.conv_integer(**{name: given[name] for name in names if name in given})


def as_qconv(given):
    return pw.qconv(**given)


def as_qlayer(given):
    layer = pw.QConv(**{name: value for name, value in given.items() if name not in ("x", "out")})
    return layer(**{name: value for name, value in given.items() if name in ("x", "out")})


def exact_sums(given, bias):
    """Return the sums of a quantized call as int64."""
    layout, groups = given["layout"], plain(given["groups"])
    x, weight = (np.asarray(given[name]).astype(np.int64) for name in ("x", "weight"))
    weight = weight.reshape(weight.shape[:2]) - np.asarray(given["weight_zero_point"]).astype(np.int64).reshape(-1, 1)
    shifted = x - np.asarray(given["x_zero_point"]).astype(np.int64).reshape(())
    src, inside = reference.source(shifted, layout, plain(given["stride"]), plain(given["padding"]))
    n, pixels = len(src), src.shape[2:]
    src = np.where(inside, src, 0).reshape(n, groups, weight.shape[1], *pixels)
    by_group = weight.reshape(groups, len(weight) // groups, weight.shape[1])
    sums = np.einsum("goi,ngidhw->ngodhw", by_group, src).reshape(n, len(weight), *pixels)
    if bias is not None:
        sums = sums + np.asarray(bias).astype(np.int64).reshape(-1, 1, 1, 1)
    return reference.in_layout(sums, layout)


def requantized(sums, given, dtype):
    """Return the results of `qconv` for exact sums, by the definition."""
    scales = (np.asarray(given[name]).astype(F).reshape(-1) for name in ("x_scale", "weight_scale", "y_scale"))
    x_scale, weight_scale, y_scale = scales
    factor = (x_scale * weight_scale) / y_scale
    factor = factor.reshape([-1 if axis == "C" else 1 for axis in given["layout"]])
    zero, limits = int(np.asarray(given["y_zero_point"]).reshape(())), np.iinfo(dtype)
    name, *bounds = (given.get("activation"),) if np.ndim(given.get("activation")) == 0 else given["activation"]
    low, high = {"relu": (0, np.inf), "relu6": (0, 6)}.get(name, bounds or (-np.inf, np.inf))
    low, high = (np.rint(F(bound) / y_scale[0]).astype(float) + zero for bound in (low, high))
    y = np.rint(sums.astype(F) * factor).astype(float) + zero
    return y.clip(low, high).clip(limits.min, limits.max).astype(dtype)


def one_quantized(data):
    """Call a quantized convolution, and compare its result with exact integers."""
    call = data.of([as_qconv, as_qlayer, as_conv_integer])
    given = drawn_quantized(data)
    out = given.get("out")
    is_array = isinstance(out, np.ndarray) and not isinstance(out, np.ma.MaskedArray) and not out.dtype.hasobject
    before = out.tobytes() if is_array else None
    kept = {name: value.copy() if isinstance(value, np.ndarray) else value for name, value in given.items()}
    try:
        y = call(dict(given))
    except DOCUMENTED as error:
        named(error)
        assert not is_array or out.tobytes() == before
        return
    if out is not None:
        assert y is out
        assert not np.shares_memory(out, given["x"])
    with np.errstate(all="ignore"):
        if call is as_conv_integer:
            assert y.dtype == np.int32
            expected = exact_sums(kept, None)
        else:
            assert y.dtype in (np.uint8, np.int8)
            expected = requantized(exact_sums(kept, kept.get("bias")), kept, y.dtype)
    assert y.shape == expected.shape
    assert np.array_equal(y, expected)


def one_input(data):
    quantized = data[:1] and data[0] in QUANTIZED
    data = Bytes(data[1:] if quantized else data)
    if quantized:
        one_quantized(data)
        return
    call = data.of([as_function, as_layer, as_chain])
    given = drawn(data)
    if call is as_function and data.one_in(3):
        call = as_mix
        given |= {"stride": 1, "padding": 0, "groups": 1}
        for name in ("residual", "input_scale"):
            given.pop(name, None)
    if call is as_layer and data.one_in(3):
        given["weight_dtype"] = data.of(JUNK) if data.one_in(8) else "int8"
    out = given.get("out")
    is_array = isinstance(out, np.ndarray) and not isinstance(out, np.ma.MaskedArray) and not out.dtype.hasobject
    memory = out
    while is_array and isinstance(memory.base, np.ndarray):
        memory = memory.base
    before = memory.tobytes() if is_array else None
    kept = {name: value.copy() if isinstance(value, np.ndarray) else value for name, value in given.items()}
    if call is as_chain:
        kept.pop("input_scale", None)
    try:
        y, others = call(dict(given))
    except DOCUMENTED as error:
        named(error)
        assert not is_array or memory.tobytes() == before
        if re.match("out must (share no|be residual itself|have one element)", str(error)):
            others = [given.get(name) for name in ("x", "weight", "bias", "input_scale")]
            assert overlaps(out, others, given.get("residual"))
        return
    if out is not None:
        assert y is out
        assert not overlaps(out, [given.get(name) for name in others], given.get("residual"))
    if given.get("weight_dtype") is not None:
        kept["weight"] = pw.Conv(kept["weight"], dtype=F, weight_dtype="int8").weight
    (right_mix if call is as_mix else right)(y, given, kept)
    if call is as_function:
        right_gradients(given, kept)
