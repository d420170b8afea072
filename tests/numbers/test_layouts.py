"""Test x in every layout, in every kind of view, and of every type that numpy.asarray takes."""

import array

import numpy as np
import pointwise as pw
import pytest
import reference
import views

SIZES = {"N": 2, "C": 6, "D": 2, "H": 3, "W": 9}
C_OUT = 19

pytestmark = pytest.mark.kernels


def shape_of(layout):
    return tuple(SIZES[axis] for axis in layout)


def expected_of(x, weight, bias=None, **how):
    return reference.exact_value(np.array(x), weight, bias, **how).astype(x.dtype)


@pytest.mark.parametrize("way", views.WAYS)
@pytest.mark.parametrize("layout", reference.LAYOUTS)
def test_every_view_in_every_layout(layout, way, dtype, integers):
    x, weight, bias = integers(shape_of(layout), dtype), integers((C_OUT, 6), dtype), integers(C_OUT, dtype)
    view = views.put(way, x)
    before = np.array(view)
    view.flags.writeable = False
    for how in ({}, {"stride": 2}, {"padding": 1, "stride": 3}):
        expected = expected_of(x, weight, bias, layout=layout, **how)
        residual = views.put(way, integers(expected.shape, dtype))
        for y in (pw.conv(view, weight, bias, layout=layout, **how), pw.Conv(weight, bias, layout=layout, **how)(view)):
            assert type(y) is np.ndarray
            assert y.flags.c_contiguous
            assert y.flags.writeable
            np.testing.assert_array_equal(y, expected)
        with_residual = pw.conv(view, weight, bias, layout=layout, residual=residual, **how)
        np.testing.assert_array_equal(with_residual, expected + residual)
    np.testing.assert_array_equal(view, before)


@pytest.mark.parametrize("layout", reference.LAYOUTS)
def test_zero_strides(layout, integers):
    full, weight = integers(shape_of(layout)), integers((C_OUT, 6))
    axes = [{axis} for axis in range(full.ndim)] + [set(range(full.ndim))]
    for zero in axes:
        one = full[tuple(slice(0, 1) if axis in zero else slice(None) for axis in range(full.ndim))]
        x = np.broadcast_to(one, full.shape)
        np.testing.assert_array_equal(pw.conv(x, weight, layout=layout), expected_of(x, weight, layout=layout))


@pytest.mark.parametrize(
    "way", ["strided", "cropped", "transposed", "rolled", "misaligned", "record", "negative", "channel second"]
)
@pytest.mark.parametrize("layout", ["NCHW", "NHWC", "WC", "CW", "NDHWC"])
@pytest.mark.parametrize("pixels", [49, 196, 2100])
def test_views_of_many_pixels(layout, way, pixels, integers):
    """Results are right for views whose pixels are packed in several blocks."""
    spatial = {"W": pixels} if len(reference.spatial(layout)) == 1 else {"H": 7, "W": pixels // 7, "D": 1}
    sizes = {"N": 2, "C": 5} | spatial
    x, weight = integers([sizes[axis] for axis in layout]), integers((35, 5))
    for stride in (1, 2):
        y = pw.conv(views.put(way, x), weight, layout=layout, stride=stride)
        np.testing.assert_array_equal(y, expected_of(x, weight, layout=layout, stride=stride))


@pytest.mark.parametrize("layout", reference.LAYOUTS)
def test_the_rank_of_x_must_be_that_of_the_layout(layout):
    weight = np.ones((2, 3), np.float32)
    layer = pw.Conv(weight, layout=layout)
    for rank in {0, 1, 2, 3, 4, 5, 6, 12} - {len(layout)}:
        x = np.ones((3,) * rank, np.float32)
        message = rf"\bx must .*{len(layout)} ax.*\b{layout}\b.*\({', '.join('3' * rank)}"
        for call in (lambda x=x: pw.conv(x, weight, layout=layout), lambda x=x: layer(x)):
            with pytest.raises(ValueError, match=message):
                call()


class TestWhatAsarrayTakes:
    """x, weight and bias may be anything that numpy.asarray takes on the CPU."""

    @pytest.fixture
    def arrays(self, integers):
        x, weight, bias = integers((3, 6), "float64"), integers((4, 6), "float64"), integers(4, "float64")
        return x, weight, bias, expected_of(x, weight, bias, layout="NC")

    def check(self, arrays, convert):
        x, weight, bias, expected = arrays
        x, weight, bias = (convert(a) for a in (x, weight, bias))
        for y in (
            pw.conv(x, weight, bias, layout="NC"),
            pw.Conv(weight, bias, layout="NC")(x),
            pw.Conv(weight, bias, layout="NC", dtype="float64")(x),
        ):
            assert type(y) is np.ndarray
            assert y.dtype == np.float64
            np.testing.assert_array_equal(y, expected)

    def test_lists(self, arrays):
        self.check(arrays, lambda a: a.tolist())

    def test_memoryviews(self, arrays):
        self.check(arrays, memoryview)

    def test_array_of_the_standard_library(self, arrays):
        x, weight, bias, expected = arrays
        row = pw.conv(array.array("d", x[0]), weight, array.array("d", bias), layout="C")
        np.testing.assert_array_equal(row, expected[0])

    def test_array_protocol(self, arrays):
        class Wrapped:
            def __init__(self, a):
                self.a = a

            def __array__(self, dtype=None, copy=None):
                return self.a

        self.check(arrays, Wrapped)

    def test_dlpack_alone(self, arrays):
        class Exported:
            def __init__(self, a):
                self.a = a

            def __dlpack__(self, **keywords):
                return self.a.__dlpack__(**keywords)

            def __dlpack_device__(self):
                return self.a.__dlpack_device__()

        self.check(arrays, Exported)

    def test_subclasses(self, arrays):
        class Mine(np.ndarray):
            def __array_finalize__(self, parent):
                pass

            def __array_wrap__(self, *_):
                raise AssertionError("__array_wrap__ must not be called")

        self.check(arrays, lambda a: a.view(Mine))
        self.check(arrays, lambda a: a.view(np.recarray))

    @pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
    def test_matrix(self, arrays):
        x, weight, bias, expected = arrays
        y = pw.conv(np.matrix(x), np.matrix(weight), bias, layout="NC")
        assert type(y) is np.ndarray
        np.testing.assert_array_equal(y, expected)

    def test_memory_map(self, arrays, tmp_path):
        paths = iter(tmp_path / str(i) for i in range(3))

        def convert(a):
            path = next(paths)
            np.save(path.with_suffix(".npy"), a)
            return np.load(path.with_suffix(".npy"), mmap_mode="r")

        x, weight, bias, expected = arrays
        y = pw.conv(convert(x), convert(weight), convert(bias), layout="NC")
        assert type(y) is np.ndarray
        np.testing.assert_array_equal(y, expected)


def test_no_full_hidden_copy(python):
    """A call makes no full copy of a strided x. The view x has 512 MiB, but its memory has only 32 KiB."""
    script = """
import numpy as np, pointwise as pw
def peak():
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
row = np.ones(8192, np.float32)
strided = np.lib.stride_tricks.as_strided
views = {
    ("zero", "CW"): strided(row, (16, 1 << 23), (4, 0)),
    ("zero channels", "CW"): strided(row, (16, 1 << 23), (0, 0)),
    ("windows", "CHW"): strided(row, (16, 2048, 4096), (4, 4, 4)),
    ("negative", "CHW"): strided(row[-1:], (16, 2048, 4096), (-4, -4, -4)),
    ("windows", "HWC"): strided(row, (2048, 4096, 16), (4, 4, 4)),
    ("every second", "HWC"): strided(row, (2048, 2048, 16), (4, 8, 4)),
    ("transposed", "WC"): strided(row, (1 << 23, 16), (0, 8)),
}
weight = np.ones((1, 16), np.float32)
layers = {layout: pw.Conv(weight, layout=layout) for _, layout in views}
out = {layout: np.zeros([1 if axis == "C" else size for axis, size in zip(layout, x.shape)], np.float32)
       for (_, layout), x in views.items()}
for layer in layers.values():
    layer(np.ones([16] * len(layer.layout), np.float32))
for y in out.values():
    y.fill(1)
for (name, layout), x in views.items():
    y = out[layout] if out[layout].shape[:2] == x.shape[:2] else None
    before = peak()
    y = layers[layout](x, None, y)
    extra = peak() - before
    assert (y == 16).all(), name
    assert extra < 100, f"{name} in {layout}: {extra} MiB more"
    print(name, layout, extra)
"""
    try:
        with open("/proc/self/status") as status:
            if "VmHWM" not in status.read():
                pytest.skip("/proc/self/status has no VmHWM, which would show a copy")
    except FileNotFoundError:
        pytest.skip("there is no /proc/self/status, which would show a copy")
    python(script)
