"""Compare the figures of `cost` with explicit counts."""

import dataclasses

import hypothesis.strategies as st
import numpy as np
import pointwise as pw
import pytest
import reference
from hypothesis import given


def test_the_figures_of_a_small_layer():
    cost = pw.cost((1, 32, 10, 10), 16)
    assert (cost.params, cost.macs, cost.flops) == (512, 51200, 102400)
    assert cost.output_shape == (1, 16, 10, 10)
    assert cost.bytes == 4 * (3200 + 512 + 1600)
    assert cost.intensity == 102400 / cost.bytes
    assert all(type(value) is int for value in (cost.params, cost.macs, cost.flops, cost.bytes, *cost.output_shape))
    assert type(cost.output_shape) is tuple
    assert type(cost.intensity) is float


def test_bias_dtype_stride_padding_groups():
    assert pw.cost((1, 32, 10, 10), 16, bias=True).params == 528
    assert pw.cost((1, 32, 10, 10), 16, bias=True).bytes == 4 * (3200 + 528 + 1600)
    assert pw.cost((1, 32, 10, 10), 16, dtype="float64").bytes == 8 * (3200 + 512 + 1600)
    for dtype, itemsize in (("uint8", 1), (np.int16, 2)):
        assert pw.cost((1, 32, 10, 10), 16, dtype=dtype).bytes == itemsize * 3200 + 4 * (512 + 1600)
    assert pw.cost((1, 32, 10, 10), 16, dtype=np.float64) == pw.cost((1, 32, 10, 10), 16, dtype=np.dtype("f8"))
    stride = pw.cost((1, 32, 10, 10), 16, stride=2)
    assert (stride.params, stride.macs, stride.output_shape) == (512, 12800, (1, 16, 5, 5))
    assert stride.bytes == 4 * (800 + 512 + 400)  # only the pixels of x that are read
    padding = pw.cost((1, 32, 10, 10), 16, padding=1)
    assert (padding.macs, padding.output_shape) == (16 * 144 * 32, (1, 16, 12, 12))
    assert padding.bytes == 4 * (3200 + 512 + 16 * 144)
    groups = pw.cost((1, 32, 10, 10), 16, groups=4)
    assert (groups.params, groups.macs) == (128, 12800)
    assert pw.cost((2, 5, 6, 32), 16, layout="NHWC", stride=(2, 3)).output_shape == (2, 3, 2, 16)


@pytest.mark.parametrize(
    ("shape", "c_out", "expected"),
    [
        ((0, 32, 10, 10), 16, (512, 0, 4 * 512)),
        ((1, 0, 10, 10), 16, (0, 0, 4 * 1600)),
        ((1, 32, 10, 10), 0, (0, 0, 4 * 3200)),
        ((1, 32, 0, 10), 16, (512, 0, 4 * 512)),
        ((0, 0, 0, 0), 0, (0, 0, 0)),
    ],
)
def test_nothing(shape, c_out, expected):
    cost = pw.cost(shape, c_out)
    assert (cost.params, cost.macs, cost.bytes) == expected
    assert cost.intensity == 0


def test_a_cost_is_a_frozen_dataclass():
    cost = pw.cost((1, 32, 10, 10), 16)
    assert isinstance(cost, pw.Cost)
    names = [field.name for field in dataclasses.fields(cost)]
    assert names == ["params", "macs", "flops", "bytes", "intensity", "output_shape"]
    with pytest.raises(dataclasses.FrozenInstanceError):
        cost.params = 0
    assert cost == pw.cost([1, np.int32(32), 10, 10], np.int8(16))
    assert hash(cost) == hash(pw.cost((1, 32, 10, 10), 16))


@given(st.data())
def test_against_counting(data):
    layout = data.draw(st.sampled_from(reference.LAYOUTS))
    groups = data.draw(st.integers(1, 3))
    sizes = {axis: data.draw(st.integers(0, 9)) for axis in "NDHW"} | {"C": groups * data.draw(st.integers(0, 3))}
    shape = tuple(sizes[axis] for axis in layout)
    c_out, bias = groups * data.draw(st.integers(0, 3)), data.draw(st.booleans())
    spatial = len(reference.spatial(layout))

    def window(least):
        one = st.integers(least, 12)
        return data.draw(one | st.tuples(*[one] * spatial))

    how = {"layout": layout, "stride": window(1), "padding": window(0)}
    itemsize = data.draw(st.sampled_from([4, 8]))
    cost = pw.cost(shape, c_out, groups=groups, bias=bias, dtype=f"f{itemsize}", **how)

    number = np.arange(1, np.prod(shape) + 1).reshape(shape)  # a different number for each element of x
    src, inside = reference.source(number, layout, how["stride"], how["padding"])
    read = len(np.unique(src[..., inside]))
    y = reference.in_layout(np.empty((src.shape[0], c_out, *src.shape[2:])), layout)
    per_group = sizes["C"] // groups
    assert cost.output_shape == y.shape
    assert cost.params == c_out * per_group + bias * c_out
    assert cost.macs == y.size * per_group
    assert cost.flops == 2 * cost.macs
    assert cost.bytes == itemsize * (read + cost.params + y.size)
    assert cost.intensity == (cost.flops / cost.bytes if cost.bytes else 0)
    if y.size < 10000:
        x, weight = np.zeros(shape, f"f{itemsize}"), np.zeros((c_out, per_group), f"f{itemsize}")
        assert pw.conv(x, weight, groups=groups, **how).shape == cost.output_shape


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(
    ("dtype", "x_bytes", "bytes_of_others", "bias_bytes"),
    [
        ("float32", 4, 4, 4),
        ("float64", 8, 8, 8),
        ("float16", 2, 2, 4),
        (np.float16, 2, 2, 4),
        ("bfloat16", 2, 2, 4),
        ("uint8", 1, 4, 4),
        ("int8", 1, 4, 4),
        ("uint16", 2, 4, 4),
        ("int16", 2, 4, 4),
    ],
)
def test_every_dtype_of_x_is_counted(dtype, x_bytes, bytes_of_others, bias_bytes, bias):
    cost = pw.cost((2, 12, 5, 7), 8, stride=2, groups=4, bias=bias, dtype=dtype)
    read, weight, y = 2 * 12 * 3 * 4, 8 * 3, 2 * 8 * 3 * 4
    assert cost.bytes == read * x_bytes + (weight + y) * bytes_of_others + 8 * bias * bias_bytes
    assert cost.intensity == cost.flops / cost.bytes
    plain = pw.cost((2, 12, 5, 7), 8, stride=2, groups=4, bias=bias)
    assert (cost.params, cost.macs, cost.output_shape) == (plain.params, plain.macs, plain.output_shape)


def test_bfloat16_with_and_without_ml_dtypes(python):
    script = """
import sys
import pointwise as pw
print(pw.cost((2,), 3, layout="C", dtype="bfloat16").bytes, "ml_dtypes" in sys.modules)
"""
    assert python(script) == "22 False"
    ml_dtypes = pytest.importorskip("ml_dtypes")
    assert pw.cost((2,), 3, layout="C", dtype=ml_dtypes.bfloat16).bytes == 22


@pytest.mark.parametrize(
    ("arguments", "keywords", "exception", "message"),
    [
        (((1, 32, 10), 16), {}, ValueError, r"\bx_shape must .*4 axes of layout NCHW.*3"),
        (((1, 32, 10, 10), 16), {"layout": "NCW"}, ValueError, r"\bx_shape must .*3 axes of layout NCW.*4"),
        (((), 16), {}, ValueError, r"\bx_shape must .*4 axes of layout NCHW.*0"),
        (((1, 32, -1, 10), 16), {}, ValueError, r"\bx_shape must .*at least 0.*-1"),
        (((1, 32, 2**63, 10), 16), {}, ValueError, r"\bx_shape must .*int64.*9223372036854775808"),
        (((1, 32, 10.0, 10), 16), {}, TypeError, r"\bx_shape must .*integers.*10\.0"),
        (("NCHW", 16), {}, TypeError, r"\bx_shape must .*integers.*NCHW"),
        ((None, 16), {}, TypeError, r"\bx_shape must .*integers.*None"),
        ((5, 16), {}, TypeError, r"\bx_shape must .*integers.*5"),
        (((1, 32, 10, 10), -1), {}, ValueError, r"\bc_out must .*at least 0.*-1"),
        (((1, 32, 10, 10), 2**63), {}, ValueError, r"\bc_out must .*int64.*9223372036854775808"),
        (((1, 32, 10, 10), 16.0), {}, TypeError, r"\bc_out must be an integer, got float"),
        (((1, 32, 10, 10), None), {}, TypeError, r"\bc_out must be an integer, got NoneType"),
        (((1, 32, 10, 10), 16), {"layout": "HW"}, ValueError, r'\blayout must be one of NCHW.*got "HW"'),
        (((1, 32, 10, 10), 16), {"stride": 0}, ValueError, r"\bstride must be at least 1, got 0"),
        (((1, 32, 10, 10), 16), {"padding": (1, -1)}, ValueError, r"\bpadding must be at least 0, got \(1, -1\)"),
        (((1, 32, 10, 10), 16), {"groups": 3}, ValueError, r"\bgroups must divide the 16 output channels, got 3"),
        (((1, 30, 10, 10), 16), {"groups": 4}, ValueError, r"\bgroups must divide the 30 input channels, got 4"),
        (((1, 32, 10, 10), 16), {"groups": 0}, ValueError, r"\bgroups must be at least 1, got 0"),
        (((1, 32, 10, 10), 16), {"dtype": "int32"}, TypeError, r"\bdtype must be one of float32, .*, got int32$"),
        (((1, 32, 10, 10), 16), {"dtype": "float8"}, TypeError, r"\bdtype must be one of float32, .*, got 'float8'$"),
        (((1, 32, 10, 10), 16), {"dtype": ">f2"}, TypeError, r"\bdtype must .* byte order, got >f2: pass 'float16'"),
    ],
)
def test_errors(arguments, keywords, exception, message):
    with pytest.raises(exception, match=message):
        pw.cost(*arguments, **keywords)


@pytest.mark.parametrize(
    ("shape", "c_out", "keywords", "names"),
    [
        ((2**31, 2**31, 2**31, 1), 1, {}, "x_shape"),
        ((2**62, 1, 1, 1), 4, {}, "x_shape"),
        ((1, 2**32, 1, 1), 2**32, {}, "x_shape"),
        ((1, 2**20, 2**20, 1), 2**22, {}, "x_shape"),  # macs are 2**62, flops exceed int64
        ((2**61, 1, 1, 1), 1, {}, "x_shape"),  # bytes exceed int64
        ((2**60, 1, 1, 1), 1, {"dtype": "float64"}, "x_shape"),
        ((1, 1, 1, 1), 1, {"padding": 2**31}, "padding|x_shape"),
        ((1, 1, 1, 1), 1, {"padding": 2**62}, "padding"),
        ((1, 1, 1, 1), 1, {"padding": 2**63 - 1}, "padding"),
        ((1, 1, 2**63 - 1, 1), 1, {"padding": 1}, "padding"),
    ],
)
def test_counts_beyond_int64(shape, c_out, keywords, names):
    with pytest.raises(ValueError, match=rf"\b({names}) must .*int64"):
        pw.cost(shape, c_out, **keywords)


def test_counts_just_within_int64():
    assert pw.cost((2**59, 1), 1, layout="NC").bytes == 4 * (2**60 + 1)
    assert pw.cost((1, 2**31 - 1), 2**29, layout="NC").params == (2**31 - 1) * 2**29
    assert pw.cost((0, 2**31, 2**62, 2**62), 1).macs == 0
    assert pw.cost((1, 1, 2**62, 1), 1, stride=2**62).output_shape == (1, 1, 1, 1)


@pytest.mark.parametrize(
    ("how", "nbytes"),
    [
        ({"dtype": "uint8", "weight_dtype": "int8", "out_dtype": "uint8"}, 2 * 3200 + 512 + 64 + 64 + 2 * 1600),
        ({"dtype": "uint8", "out_dtype": "uint8"}, 2 * 3200 + 4 * 512 + 64 + 2 * 1600),
        ({"weight_dtype": "int8"}, 8 * 3200 + 512 + 64 + 64 + 8 * 1600),
        ({"dtype": "float16", "out_dtype": "float32"}, 4 * 3200 + 2 * 512 + 64 + 8 * 1600),
        ({"dtype": "bfloat16", "weight_dtype": np.int8}, 4 * 3200 + 512 + 64 + 64 + 4 * 1600),
        ({"dtype": "float64", "out_dtype": np.float64}, 16 * 3200 + 8 * 512 + 128 + 16 * 1600),
    ],
)
def test_dtypes_of_weights_and_results(how, nbytes):
    found = pw.cost((2, 32, 10, 10), 16, bias=True, **how)
    assert found.bytes == nbytes
    assert found.macs == 2 * 1600 * 32
    without = pw.cost((2, 32, 10, 10), 16, **how)
    assert nbytes - without.bytes == (128 if how.get("dtype") == "float64" else 64)


def test_wrong_dtypes_of_weights_and_results():
    for name, dtype, expected in (
        ("weight_dtype", "float32", "weight_dtype must be int8 or uint8, got float32"),
        ("weight_dtype", "bfloat16", "weight_dtype must be int8 or uint8"),
        ("out_dtype", "int32", "out_dtype must be one of float32, .*, got int32"),
        ("out_dtype", "x", "out_dtype must be one of float32, .*, got 'x'"),
        ("out_dtype", ">f4", "out_dtype must have native byte order, got >f4"),
    ):
        with pytest.raises(TypeError, match=expected):
            pw.cost((1, 4), 2, layout="NC", **{name: dtype})
