"""Test sizes, strides and counts of any magnitude, and calls with little memory.

Each call gives a right result, or raises an error that names the cause.
"""

import os

import numpy as np
import pointwise as pw
import pytest
import reference

F = np.float32
EDGES = (2**31 - 1, 2**31, 2**31 + 1, 2**32, 2**32 + 1, 2**60, 2**62, 2**63 - 1)
sanitized = pytest.mark.skipif(
    "libasan" in os.environ.get("LD_PRELOAD", ""), reason="the address sanitizer needs the address space"
)


def every_call(x, weight, bias=None, **how):
    """Yield the results of `conv` and of a layer. If there is no padding, also yield that of a chain of one layer."""
    layer = pw.Conv(weight, bias, **how)
    yield pw.conv(x, weight, bias, **how)
    yield layer(x)
    if not how.get("padding"):
        yield pw.Chain([layer])(x)


@pytest.mark.parametrize("n", EDGES)
def test_a_stride_beyond_the_image(n, integers):
    x, weight, bias = integers((2, 6, 3, 4)), integers((5, 6)), integers(5)
    expected = reference.exact_value(x[:, :, :1, :1], weight, bias)
    for y in every_call(x, weight, bias, stride=n):
        np.testing.assert_array_equal(y, expected)
    for y in every_call(x, weight, bias, stride=n, padding=2):  # the only pixel lies in the padding
        np.testing.assert_array_equal(y, np.broadcast_to(bias[:, None, None], (2, 5, 1, 1)))


@pytest.mark.parametrize("n", EDGES)
def test_a_padding_as_long_as_the_stride(n, integers):
    """The output pixels lie at -n, 0 and n along each axis. Only the pixel at 0 reads the image."""
    x, weight, bias = integers((2, 6, 3, 4)), integers((5, 6)), integers(5)
    if n >= 2**62:
        with pytest.raises(
            ValueError, match=rf"^padding must keep the size of the padded image within int64, got {n}$"
        ):
            pw.conv(x, weight, bias, stride=n, padding=n)
        return
    expected = np.broadcast_to(bias[:, None, None], (2, 5, 3, 3)).copy()
    expected[:, :, 1:2, 1:2] = reference.exact_value(x[:, :, :1, :1], weight, bias)
    for y in every_call(x, weight, bias, stride=n, padding=n):
        np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("n", EDGES)
def test_groups(n, integers):
    with pytest.raises(ValueError, match=rf"^groups must divide the 5 output channels, got {n}$"):
        pw.conv(integers((1, 6, 3, 4)), integers((5, 6)), groups=n)
    layer = pw.Conv(np.ones((0, 1), F), groups=n)
    assert (layer.groups, layer.weight.shape) == (n, (0, 1))
    message = rf"^x must have {n} channels \(axis 1 of NCHW\), got shape \(1, 6, 3, 4\) for weight shape \(0, 1\)"
    with pytest.raises(ValueError, match=message):
        layer(integers((1, 6, 3, 4)))


@pytest.mark.parametrize("n", [*(n for n in EDGES if n < 2**40), 2**59])
@pytest.mark.parametrize("layout", ["NCW", "NWC"])
def test_an_image_of_one_number(n, layout, integers):
    """An image that repeats a pixel n times works with strides that leave one, two or three pixels."""
    weight, c_in = integers((5, 2)), integers(2)
    pixel = c_in[:, None] if layout == "NCW" else c_in
    x = np.broadcast_to(pixel, (1, 2, n) if layout == "NCW" else (1, n, 2))
    for stride in (n - 1, (n - 1) // 2, n, 2**63 - 1):
        count = (n - 1) // stride + 1
        for y in every_call(x, weight, layout=layout, stride=stride):
            assert y.shape == ((1, 5, count) if layout == "NCW" else (1, count, 5))
            assert (y == (weight @ pixel if layout == "NCW" else weight @ c_in)).all()


@pytest.mark.parametrize(("layout", "axes"), [("NCHW", (2, 2, 2**15, 2**15 + 7)), ("NHWC", (2, 2**15, 2**15 + 7, 2))])
def test_large_strides_in_arrays_of_more_than_two_to_the_32_elements(layout, axes, python):
    """Offsets are right in calls that read and write few elements of such large arrays."""
    script = f"""
import mmap, sys
import numpy as np
import pointwise as pw
import reference

def sparse():
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | getattr(mmap, "MAP_NORESERVE", 0x4000)
    return np.frombuffer(mmap.mmap(-1, 4 * {np.prod(axes)}, flags=flags), np.float32).reshape({axes})

how = {{"layout": {layout!r}, "stride": 2**13}}
few = tuple(slice(None, None, 2**13 if axis in "HW" else 1) for axis in {layout!r})
try:
    x, residual, out = sparse(), sparse(), sparse()
except OSError as error:
    sys.exit(f"no address space: {{error}}")
rng = np.random.default_rng(1)
integers = lambda shape: rng.integers(-8, 9, shape).astype(np.float32)
x[few], weight, bias = integers(x[few].shape), integers((2, 2)), integers(2)
residual[few] = integers(x[few].shape)
expected = reference.exact_value(x[few], weight, bias, layout={layout!r}, residual=residual[few])
layer = pw.Conv(weight, bias, **how)
for call in (layer, pw.Chain([layer])):
    call(x, residual[few], out[few])
    np.testing.assert_array_equal(out[few], expected)
    out[few] = 0
pw.conv(x, weight, bias, residual=residual[few], out=out[few], **how)
np.testing.assert_array_equal(out[few], expected)
"""
    done = python(script, check=False)
    if "no address space" in done.stderr:
        pytest.skip(done.stderr)
    assert done.returncode == 0, done.stderr


def test_channels_beyond_any_memory():
    """Weights that are too large to pack raise MemoryError, unless there are no output channels."""
    for n in (2**50, 2**57, 2**59, 2**60, 2**61 - 1):
        x, weight = np.broadcast_to(F(1), (1, n)), np.broadcast_to(F(1), (1, n))
        with pytest.raises(MemoryError, match="packed weight"):
            pw.Conv(weight, layout="NC")
        with pytest.raises(MemoryError, match="packed weight"):
            pw.conv(x, weight, layout="NC")
        with pytest.raises(MemoryError, match="not enough memory"):
            pw.conv(np.ones((1, 1), F), weight.T, layout="NC")
        for y in every_call(x, np.ones((0, n), F), layout="NC"):
            assert y.shape == (1, 0)


@pytest.mark.parametrize("n", EDGES)
def test_sizes_that_are_explained(n):
    """`explain` describes the plan for a shape, or reports that the shape is too large. No product overflows."""
    for layout, shape in (("NCHW", (1, 6, n, 1)), ("NHWC", (n, 3, n, 6)), ("NCW", (n, 6, 3)), ("NC", (n, 6))):
        for how in ({}, {"stride": n}, {"padding": n}, {"stride": n, "padding": n // 2}):
            layer = pw.Conv(np.ones((24, 6), F), layout=layout, **how)
            try:
                text = layer.explain(shape)
            except ValueError as error:
                text = str(error)
            assert text.startswith(("isa", "x_shape must give arrays of less than 2^63 bytes", "padding must keep"))
            assert "pieces: -" not in text
    with pytest.raises((MemoryError, ValueError)):
        pw.Conv(np.ones((24, 6), F), layout="NCW")._alternatives((1, 6, 2**62))


def test_strides_that_are_never_used(integers):
    """Strides of axes of length 1, and of arrays without elements, may have any value."""
    strided = np.lib.stride_tricks.as_strided
    weight, bias = integers((3, 1)), integers(3)
    for step in (2**62, -(2**62), 2**63 - 1, -(2**63)):
        x = strided(integers(4), (1, 1, 4), (step, step, 4))
        w, b = strided(weight, (3, 1), (4, step)), strided(bias[:1], (1,), (step,))
        expected = reference.exact_value(x.copy(), weight, layout="NCW")
        out = strided(np.zeros(12, F), (1, 3, 4), (step, 16, 4))
        for y in (*every_call(x, w, layout="NCW"), pw.conv(x, w, layout="NCW", out=out)):
            np.testing.assert_array_equal(y, expected)
        assert pw.conv(x, strided(weight, (1, 1), (step, step)), b, layout="NCW").shape == (1, 1, 4)
        empty = strided(integers(4), (3, 0, 4), (step, step, step))
        for y in every_call(empty, np.ones((5, 0), F), np.ones(5, F), layout="NCW"):
            np.testing.assert_array_equal(y, np.ones((3, 5, 4), F))
        nothing = strided(integers(4), (3, 5, 0), (step, step, step))
        assert pw.conv(empty, strided(weight, (0, 0), (step, step)), layout="NCW", out=None).shape == (3, 0, 4)
        assert pw.conv(strided(integers(4), (3, 1, 0), (step,) * 3), np.ones((5, 1), F), layout="NCW", out=nothing) is (
            nothing
        )
        many = strided(weight, (40, 0), (step, step))
        assert pw.Conv(many, layout="NC").weight.shape == (40, 0)


# First lines of scripts that repeat a call with more and more memory. If a call fails, `out` is unchanged and the next
# call gives a right result.
LIMITED = """
import os, pickle, resource
import numpy as np
import pointwise as pw
from pointwise import _core

PAGE = os.sysconf("SC_PAGESIZE")
hard = resource.getrlimit(resource.RLIMIT_AS)[1]

def used():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * PAGE

def sweep(call, right, out=None):
    '''Repeat a call with more and more free memory, from 0 to 512 MiB. It must raise MemoryError and write nothing,
    until there is enough memory.'''
    seen = []
    for extra in [0, *(1 << k for k in range(13, 30))]:
        pw.release_memory()
        if out is not None:
            out.view(np.uint8)[...] = 0xA5
        before, raised, y = used(), None, None
        resource.setrlimit(resource.RLIMIT_AS, (before + extra, hard))
        try:
            y = call()
        except MemoryError as error:
            raised = str(error)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
        if raised is None:
            assert right(y), f"a wrong result with {extra} bytes"
            seen.append("right")
            break
        seen.append(raised)
        assert _core._testing.idle_bytes() == 0
        assert out is None or (out.view(np.uint8) == 0xA5).all(), f"out was written with {extra} bytes"
        assert small(three).sum() == 3 * 48, "the next call must give a right result"
        kept = (used() - before) / (1 << 20)
        assert kept < 12, f"{kept:.1f} MiB are kept, more than 8 MiB of workspace"
    assert seen[0] != "right", "the first call must run out of memory"
    assert seen[-1] == "right", seen[-1]
    assert right(call())
    print(len(seen) - 1, *sorted({word for word in seen if word != "right"} - {""}), sep="; ")

pw.set_num_threads(THREADS)
small, three = pw.Conv(np.ones((3, 48), np.float32), layout="NC"), np.ones((1, 48), np.float32)
small(three)
warm, rows = pw.Conv(np.ones((64, 64), np.float32), layout="NC"), np.ones((20000, 64), np.float32)
tasks = len(os.listdir("/proc/self/task"))
for _ in range(100):  # starts threads, if that is allowed; on a busy machine the first calls may run alone
    warm(rows)
    if THREADS == 1 or len(os.listdir("/proc/self/task")) > tasks:
        break
"""

SCENARIOS = {
    "a result": """
x, w = np.ones((1 << 18, 1), np.float32), np.ones((32, 1), np.float32)
sweep(lambda: pw.conv(x, w, layout="NC"), lambda y: (y == 1).all())
layer = pw.Conv(w, layout="NC")
sweep(lambda: layer(x), lambda y: (y == 1).all())
""",
    "a layer": """
w = np.ones((2048, 2048), np.float32)
sweep(lambda: pw.Conv(w, layout="NC"), lambda layer: layer(np.ones((1, 2048), np.float32)).sum() == 2048 * 2048)
""",
    "packed weights of a single call": """
x, w, out = np.ones((300, 2048), np.float32), np.ones((2048, 2048), np.float32), np.ones((300, 2048), np.float32)
sweep(lambda: pw.conv(x, w, layout="NC", out=out), lambda y: y is out and (y == 2048).all(), out)
""",
    "scaled source": """
x, w, scale = np.ones((64, 60000), np.float32), np.ones((3, 60000), np.float32), np.ones((64, 60000), np.float32)
out, layer = np.ones((64, 3), np.float32), pw.Conv(w, layout="NC")
sweep(lambda: layer(x, None, out, input_scale=scale), lambda y: y is out and (y == 60000).all(), out)
""",
    "scales that are copied": """
x, scale = np.ones((64, 60000), np.float32), np.broadcast_to(np.float32(1), (64, 60000))
out, layer = np.ones((64, 3), np.float32), pw.Conv(np.ones((3, 60000), np.float32), layout="NC")
# A call allocates 15 MiB for the scales, then 15 MiB for x. With 16 MiB free, it must free the scales again.
sweep(lambda: layer(x, None, out, input_scale=scale), lambda y: y is out and (y == 60000).all(), out)
""",
    "a chain's buffers": """
x, out = np.ones((1, 8, 600), np.float32), np.ones((1, 5, 600), np.float32)
wide, narrow = np.ones((40000, 8), np.float32), np.ones((5, 40000), np.float32)
chain = pw.Chain([pw.Conv(wide, layout="NCW"), pw.Conv(narrow, layout="NCW")])
sweep(lambda: chain(x, None, out), lambda y: y is out and (y == 320000).all(), out)
sweep(lambda: chain(x), lambda y: (y == 320000).all())
""",
    "gradients": """
x, grad, weight = np.ones((600, 900), np.float32), np.ones((600, 700), np.float32), np.ones((700, 900), np.float32)
dx, dw = np.ones_like(x), np.ones_like(weight)
how = {"layout": "NC"}
sweep(lambda: pw.conv_grad_input(grad, weight, x.shape, out=dx, **how), lambda y: y is dx and (y == 700).all(), dx)
sweep(lambda: pw.conv_grad_weight(grad, x, out=dw, **how), lambda y: y is dw and (y == 600).all(), dw)
sweep(lambda: pw.conv_grad_input(grad, weight, x.shape, **how), lambda y: (y == 700).all())
sweep(lambda: pw.conv_grad_weight(grad, x, **how), lambda y: (y == 600).all())
""",
    "pickling": """
layer = pw.Conv(np.ones((2048, 2048), np.float32), np.ones(2048, np.float32), layout="NC")
one = np.ones((1, 2048), np.float32)
sweep(lambda: pickle.dumps(layer), lambda data: len(data) > 1 << 24)
data = pickle.dumps(layer)
sweep(lambda: pickle.loads(data), lambda layer: (layer(one) == 2049).all())
sweep(lambda: layer.weight, lambda w: (w == 1).all())
sweep(lambda: layer._alternatives((1, 2048)), lambda ways: len(ways) > 1)
""",
}


@sanitized
@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="the system does not say how much memory is used")
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_little_memory(scenario, python):
    threads = 2 if scenario in ("a result", "packed weights of a single call", "a chain's buffers") else 1
    script = LIMITED.replace("THREADS", str(threads)) + SCENARIOS[scenario]
    # Freed memory returns to the system, and a thread's first allocation does not reserve 64 MiB.
    printed = python(script, MALLOC_MMAP_THRESHOLD_="131072", MALLOC_ARENA_MAX="1")
    for line in printed.splitlines():
        assert "memory" in line or "allocate" in line, line


@sanitized
def test_explain_and_small_calls_with_next_to_no_memory(python):
    """With a few free pages, a call gives a right result or raises MemoryError. The next call works again."""
    script = """
layer, x = pw.Conv(np.ones((24, 16), np.float32)), np.ones((1, 16, 9, 9), np.float32)
chain, w = pw.Chain([layer, pw.Conv(np.ones((5, 24), np.float32))]), np.ones((24, 16), np.float32)
calls = {
    "explain": (lambda: layer.explain((1, 16, 65, 65)), lambda text: text.count("not gemm") > 0),
    "conv": (lambda: pw.conv(x, w), lambda y: (y == 16).all()),
    "layer": (lambda: layer(x), lambda y: (y == 16).all()),
    "chain": (lambda: chain(x), lambda y: (y == 16 * 24).all()),
    "new layer": (lambda: pw.Conv(w), lambda made: made.weight.sum() == 24 * 16),
}
refused = set()
for name, (call, right) in calls.items():
    assert right(call())
for room in (0, 1, 2, 4, 8, 16, 64):
    for name, (call, right) in calls.items():
        kept, y, before = [], None, used()
        resource.setrlimit(resource.RLIMIT_AS, (before, hard))
        for size in (1 << 20, 1 << 16, 1 << 13, 1 << 11):  # uses up the free memory of the allocator
            try:
                while True:
                    kept.append(bytearray(size))
            except MemoryError:
                pass
        resource.setrlimit(resource.RLIMIT_AS, (before + room * PAGE, hard))
        try:
            y = call()
        except MemoryError:
            refused.add(name)
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
        del kept
        assert y is None or right(y), name
        assert right(call()), name
print(*sorted(refused), sep=", ")
"""
    assert python(LIMITED.replace("THREADS", "1") + script) != "", "no call ran out of memory"


@sanitized
def test_a_result_that_memory_cannot_hold(python):
    script = """
import resource
import numpy as np, pointwise as pw
resource.setrlimit(resource.RLIMIT_AS, (8 << 30, -1))
one, weight = np.ones((1, 1, 3), "f4"), np.ones((1, 1), "f4")
layer = pw.Conv(weight, layout="NCW")
for n in (2**31 - 1, 2**31, 2**31 + 1, 2**32, 2**50, 2**59):
    for call in (
        lambda: pw.conv(one, weight, layout="NCW", padding=n),
        lambda: pw.Conv(weight, layout="NCW", padding=n)(one),
        lambda: layer(np.broadcast_to(np.float32(1), (1, 1, n))),
        lambda: pw.Chain([layer])(np.broadcast_to(np.float32(1), (n, 1, 1))),
    ):
        try:
            call()
        except MemoryError as error:
            assert str(error).startswith("not enough memory for a result of shape ("), error
        else:
            raise AssertionError(n)
assert layer(one).sum() == 3
print("alive")
"""
    assert python(script) == "alive"


def available():
    try:
        with open("/proc/meminfo") as file:
            return next(int(line.split()[1]) << 10 for line in file if line.startswith("MemAvailable"))
    except OSError:
        return 0


@pytest.mark.large
@pytest.mark.parametrize("layout", ["NCW", "NWC"])
def test_a_result_of_more_than_two_to_the_31_elements(layout):
    if available() < 12 << 30:
        pytest.skip("needs 12 GiB of memory")
    n, block = 2**31 + 37, 2**24
    x = np.broadcast_to(np.ones(1, F), (1, 1, n) if layout == "NCW" else (1, n, 1))
    y = pw.conv(x, np.full((1, 1), 3, F), np.ones(1, F), layout=layout)
    assert y.size == n
    flat = y.reshape(-1)
    assert all((flat[i : i + block] == 4).all() for i in range(0, n, block))
    flat[:] = 0
    out = y.reshape(1, 1, n) if layout == "NCW" else y.reshape(1, n, 1)
    first = pw.Conv(np.full((2, 1), 3, F), layout=layout)
    pw.Chain([first, pw.Conv(np.ones((1, 2), F), layout=layout)])(x, out, out)
    assert all((flat[i : i + block] == 6).all() for i in range(0, n, block))


@pytest.mark.large
@pytest.mark.parametrize("layout", ["NC", "CW"])
def test_a_source_of_more_than_two_to_the_32_elements(layout):
    """A call reads numbers at the end of x correctly. Most pages of x are the system's page of zeros."""
    pixels, c_in = 2**21 + 5, 2**11
    weight = np.arange(1, c_in + 1, dtype=F)[None]
    x = np.zeros((pixels, c_in) if layout == "NC" else (c_in, pixels), F)
    expected = np.zeros(pixels, F)
    places = [0, 2**29 - 1, 2**29, 2**30, 2**30 + 2**28 + 7, 2**31 - 1, 2**31, 2**32 - 1, 2**32 + 5, x.size - 1]
    for value, place in enumerate(places, 1):
        x.reshape(-1)[place] = value
        pixel, channel = divmod(place, c_in) if layout == "NC" else divmod(place, pixels)[::-1]
        expected[pixel] += value * weight[0, channel]
    for y in (pw.conv(x, weight, layout=layout), pw.Conv(weight, layout=layout)(x)):
        np.testing.assert_array_equal(y.reshape(-1), expected)
