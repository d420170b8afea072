"""Test the class Conv. A layer is immutable, picklable and safe to share, and has its own copy of the weights."""

import copy
import gc
import pickle
import pydoc
import sys
import tracemalloc
import weakref

import numpy as np
import pointwise as pw
import pytest
import reference
from at_once import together

F = np.float32
HOW = {"layout": "NHWC", "stride": (2, 1), "padding": 1, "groups": 2, "activation": "relu"}


class Named(pw.Conv):
    """A subclass with a dictionary and a method of its own."""

    def twice(self, x):
        return self(x) * 2


class Slotted(pw.Conv):
    __slots__ = ("tag",)


class Defaulted(pw.Conv):
    def __new__(cls, c):
        return super().__new__(cls, np.eye(c, dtype=F), layout="NC")

    def __init__(self, c):
        self.c = c

    def __getnewargs_ex__(self):
        return (self.c,), {}


@pytest.fixture
def parts(integers):
    return integers((18, 5)), integers(18), integers((2, 4, 7, 10))


@pytest.fixture
def layer(parts):
    return pw.Conv(*parts[:2], **HOW)


def expected_of(parts, residual=None):
    weight, bias, x = parts
    how = {k: v for k, v in HOW.items() if k != "activation"}
    return reference.relu(reference.exact_value(x, weight, bias, residual=residual, **how)).astype(F)


class TestProperties:
    def test_what_was_given(self, layer, parts):
        weight, bias, _ = parts
        np.testing.assert_array_equal(layer.weight, weight)
        np.testing.assert_array_equal(layer.bias, bias)
        assert layer.weight.dtype == layer.bias.dtype == layer.dtype == np.dtype("float32")
        assert isinstance(layer.dtype, np.dtype)
        for name, value in HOW.items():
            assert getattr(layer, name) == value
            assert type(getattr(layer, name)) is type(value)

    def test_defaults(self):
        layer = pw.Conv([[1.0, 2.0]])
        assert layer.bias is None
        assert layer.activation is None
        assert (layer.layout, layer.stride, layer.padding, layer.groups) == ("NCHW", 1, 0, 1)
        assert layer.dtype == np.float64

    @pytest.mark.parametrize("shape", [(1, 1), (3, 17), (16, 16), (33, 2), (0, 4), (4, 0), (50, 300)])
    @pytest.mark.parametrize("groups", [1, 2])
    def test_copies_equal_what_was_given(self, shape, groups, dtype, rng):
        weight = rng.standard_normal((shape[0] * groups, shape[1])).astype(dtype)
        bias = rng.standard_normal(shape[0] * groups).astype(dtype)
        layer = pw.Conv(weight, bias, groups=groups)
        for given, name in ((weight, "weight"), (bias, "bias")):
            mine = getattr(layer, name)
            reference.assert_same_bits(mine, given)
            assert type(mine) is np.ndarray
            assert mine.flags.c_contiguous
            assert not np.shares_memory(mine, given)
            mine.flags.writeable = True
            mine[...] = 7  # changes the copy, not the layer
            reference.assert_same_bits(getattr(layer, name), given)

    def test_a_name_like_that_of_a_function(self, layer, parts):
        assert layer.__name__ == pw.Conv.__name__ == "Conv"
        assert Named(parts[0]).__name__ == "Named"
        assert pw.Chain([pw.Conv(parts[0])]).__name__ == pw.Chain.__name__ == "Chain"
        assert "Conv in module pointwise._conv object" in pydoc.render_doc(layer, renderer=pydoc.plaintext)

    def test_xarray_applies_a_layer_to_dask_arrays(self, rng):
        dask_array, xarray = pytest.importorskip("dask.array"), pytest.importorskip("xarray")
        layer = pw.Conv(rng.standard_normal((2, 4), dtype=F), layout="HWC")
        x = rng.standard_normal((6, 8, 4), dtype=F)
        cube = xarray.DataArray(dask_array.from_array(x, chunks=(3, 4, 4)), dims=("y", "x", "band"))
        maps = xarray.apply_ufunc(
            layer,
            cube,
            input_core_dims=[["band"]],
            output_core_dims=[["map"]],
            dask="parallelized",
            output_dtypes=[F],
            dask_gufunc_kwargs={"output_sizes": {"map": 2}},
        )
        np.testing.assert_array_equal(maps.values, layer(x))

    def test_weight_and_bias_are_read_only(self, layer, parts):
        for name, given in zip(("weight", "bias"), parts[:2], strict=True):
            array = getattr(layer, name)
            assert not array.flags.writeable
            assert array.flags.owndata
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0
            np.testing.assert_array_equal(getattr(layer, name), given)
        again = pickle.loads(pickle.dumps(layer))
        assert not again.weight.flags.writeable
        assert not again.bias.flags.writeable

    def test_weights_that_are_not_numbers_are_kept_too(self, dtype):
        weight = np.array([[np.nan, np.inf, -0.0], [-np.inf, 0.0, 1.0]], dtype)
        bias = np.array([np.nan, -0.0], dtype)
        layer = pickle.loads(pickle.dumps(pw.Conv(weight, bias)))
        reference.assert_same_bits(layer.weight, weight)
        reference.assert_same_bits(layer.bias, bias)

    def test_repr(self, layer):
        text = repr(layer)
        for part in ("Conv(", "10", "18", "float32", "NHWC", "(2, 1)", "padding=1", "groups=2", "relu"):
            assert part in text
        assert repr(pw.Conv([[1.0, 2.0]])) == "Conv(2 -> 1, float64, layout='NCHW')"
        assert repr(Named([[1.0]])).startswith("Named(")


class TestImmutability:
    @pytest.mark.parametrize("name", ["weight", "bias", *HOW, "dtype", "anything", "__class__", "__call__"])
    def test_no_attribute_is_set_or_deleted(self, layer, parts, name):
        with pytest.raises((AttributeError, TypeError)):
            setattr(layer, name, None)
        with pytest.raises((AttributeError, TypeError)):
            delattr(layer, name)
        np.testing.assert_array_equal(layer(parts[2]), expected_of(parts))

    def test_no_dictionary(self, layer):
        assert not hasattr(layer, "__dict__")

    def test_what_was_given_may_change(self, parts):
        weight, bias, x = parts
        given_weight, given_bias, stride = weight.copy(), bias.copy(), [2, 1]
        layer = pw.Conv(given_weight, given_bias, **(HOW | {"stride": stride}))
        given_weight[...], given_bias[...], stride[0] = np.nan, np.nan, 5
        np.testing.assert_array_equal(layer(x), expected_of(parts))
        np.testing.assert_array_equal(layer.weight, weight)
        assert layer.stride == (2, 1)

    def test_making_it_anew_changes_nothing(self, layer, parts):
        layer.__init__(np.zeros((1, 1), F))
        np.testing.assert_array_equal(layer(parts[2]), expected_of(parts))

    def test_a_result_is_not_the_layers(self, layer, parts):
        first = layer(parts[2])
        first[...] = np.nan
        np.testing.assert_array_equal(layer(parts[2]), expected_of(parts))


class TestCopies:
    @pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
    def test_pickle(self, layer, parts, protocol):
        again = pickle.loads(pickle.dumps(layer, protocol))
        assert type(again) is pw.Conv
        assert repr(again) == repr(layer)
        np.testing.assert_array_equal(again.weight, layer.weight)
        np.testing.assert_array_equal(again.bias, layer.bias)
        assert all(getattr(again, name) == value for name, value in HOW.items())
        np.testing.assert_array_equal(again(parts[2]), expected_of(parts))

    @pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
    def test_a_pickle_holds_plain_weights(self, protocol, rng):
        """A pickle holds the weights as an ordinary array. The packed panel would be 16 times as large here."""
        weight, bias = rng.standard_normal((1, 4000)).astype(F), np.ones(1, F)
        size = len(pickle.dumps(pw.Conv(weight, bias), protocol))
        plain = len(pickle.dumps((weight, bias), protocol))
        assert plain - 200 <= size <= plain + 1000

    @pytest.mark.parametrize("copier", [copy.copy, copy.deepcopy])
    def test_copy(self, copier, layer, parts):
        again = copier(layer)
        assert type(again) is pw.Conv
        assert repr(again) == repr(layer)
        np.testing.assert_array_equal(again(parts[2]), expected_of(parts))

    def test_subclasses(self, parts):
        named = Named(*parts[:2], **HOW)
        named.tag = "mine"
        slotted = Slotted(*parts[:2], **HOW)
        slotted.tag = "mine"
        for layer in (named, slotted):
            np.testing.assert_array_equal(layer(parts[2]), expected_of(parts))
            for again in (pickle.loads(pickle.dumps(layer)), copy.copy(layer), copy.deepcopy(layer)):
                assert type(again) is type(layer)
                assert again.tag == "mine"
                np.testing.assert_array_equal(again(parts[2]), expected_of(parts))
        np.testing.assert_array_equal(named.twice(parts[2]), 2 * expected_of(parts))
        other = pickle.loads(pickle.dumps(Defaulted(3)))
        assert other.c == 3
        np.testing.assert_array_equal(other(np.ones((1, 3), F)), np.ones((1, 3)))

    def test_a_subclass_may_call_in_its_own_way(self, parts):
        class Logged(pw.Conv):
            calls = 0

            def __call__(self, x, residual=None, out=None):
                type(self).calls += 1
                return super().__call__(x, residual, out=out)

        np.testing.assert_array_equal(Logged(*parts[:2], **HOW)(parts[2]), expected_of(parts))
        assert Logged.calls == 1


class TestDtype:
    def test_the_weights_or_the_argument(self):
        for given in (None, "float32", F, np.dtype("f4"), "float64", np.float64, float, "f8"):
            layer = pw.Conv(np.array([[1 / 3]]), np.array([1 / 3]), layout="C", dtype=given)
            dtype = np.dtype(given or "float64")
            assert layer.dtype == layer.weight.dtype == layer.bias.dtype == dtype
            y = layer(np.ones(1, dtype))
            assert y.dtype == dtype
            assert y[0] == dtype.type(1 / 3) + dtype.type(1 / 3)

    def test_the_bias_is_cast_to_the_weights_dtype(self):
        layer = pw.Conv(np.ones((1, 1), F), np.array([1 / 3]), layout="C")
        assert layer.bias[0] == F(1 / 3)
        assert pw.Conv(np.ones((1, 1)), np.array([2], np.int8), layout="C")(np.ones(1))[0] == 3

    def test_integers_need_the_argument(self):
        with pytest.raises(TypeError, match=r"\bweight must be float32, float64, float16 or bfloat16, got int64"):
            pw.Conv(np.ones((1, 1), np.int64))
        assert pw.Conv(np.ones((1, 1), np.int64), dtype="float32").dtype == np.float32

    def test_no_other_kind(self):
        with pytest.raises(TypeError, match=r"\bweight must .*float32.*got complex128"):
            pw.Conv(np.ones((1, 1), complex), dtype="float32")
        with pytest.raises(TypeError, match=r"\bbias must .*float32.*got complex64"):
            pw.Conv(np.ones((1, 1), F), np.ones(1, np.complex64))


class TestCalls:
    def test_ways_to_call(self, layer, parts, integers):
        x = parts[2]
        residual = integers(layer(x).shape)
        plain, added = expected_of(parts), expected_of(parts, residual)
        for y in (layer(x), layer(x=x), layer(x, None), layer(x, residual=None, out=None), layer.__call__(x)):
            np.testing.assert_array_equal(y, plain)
        for y in (layer(x, residual), layer(x, residual=residual), layer(residual=residual, x=x)):
            np.testing.assert_array_equal(y, added)
        for call in (
            lambda out: layer(x, residual, out),
            lambda out: layer(x, residual, out=out),
            lambda out: layer(out=out, x=x, residual=residual),
            lambda out: layer(*[x], **{"residual": residual, "out": out}),
        ):
            out = np.full(plain.shape, np.nan, F)
            assert call(out) is out
            np.testing.assert_array_equal(out, added)
        assert callable(layer)
        np.testing.assert_array_equal(next(map(layer, [x])), plain)

    def test_many_shapes_one_layer(self, integers):
        """A layer gives right results for more shapes than its plan cache keeps, also when shapes repeat."""
        weight = integers((5, 3))
        layer = pw.Conv(weight, layout="CW")
        x = integers((3, 200))
        expected = reference.exact_value(x, weight, layout="CW")
        for _ in range(2):
            for pixels in range(201):
                np.testing.assert_array_equal(layer(x[:, :pixels]), expected[:, :pixels])
                np.testing.assert_array_equal(layer(x[:, 200 - pixels :: 2]), expected[:, 200 - pixels :: 2])

    def test_eight_threads_call_one_layer(self, rng):
        weight, bias = rng.standard_normal((70, 33)).astype(F), rng.standard_normal(70).astype(F)
        layer = pw.Conv(weight, bias, activation="relu")
        shapes = [(1, 33, 1, 1), (2, 33, 7, 7), (1, 33, 28, 28), (3, 33, 5, 9), (1, 33, 56, 56), (0, 33, 3, 3)]
        inputs = [rng.standard_normal(shape).astype(F) for shape in shapes]
        expected = [pw.Conv(weight, bias, activation="relu")(x) for x in inputs]

        def work(first):
            for i in range(40):
                at = (first + i) % len(inputs)
                y = layer(inputs[at]) if i % 2 else layer(inputs[at], out=np.empty_like(expected[at]))
                assert y.tobytes() == expected[at].tobytes()

        together(work)

    def test_weak_references(self):
        layer = pw.Conv([[1.0]])
        seen = weakref.ref(layer)
        assert seen() is layer
        del layer
        gc.collect()
        assert seen() is None

    def test_hash_and_equality_are_by_identity(self, layer):
        assert layer == layer
        assert layer != copy.copy(layer)
        assert {layer: 1}[layer] == 1


class TestExplain:
    def test_what_it_says(self):
        layer = pw.Conv(np.ones((64, 32), F))
        for shape in ((1, 32, 56, 56), [1, 32, 56, 56], np.array((1, 32, 56, 56)), (np.int64(1), 32, 56, 56)):
            text = layer.explain(shape)
            assert isinstance(text, str)
            for word in ("kernel", "thread", pw.isa(), "not "):
                assert word in text

    def test_empty_results_too(self):
        assert isinstance(pw.Conv(np.ones((4, 3), F)).explain((0, 3, 5, 5)), str)
        assert isinstance(pw.Conv(np.ones((0, 3), F)).explain((1, 3, 5, 5)), str)
        assert isinstance(pw.Conv(np.ones((4, 0), F), padding=1).explain((1, 0, 5, 5)), str)

    @pytest.mark.parametrize(
        ("shape", "exception", "message"),
        [
            ((1, 32, 56), ValueError, r"\bx_shape must .*4 axes of layout NCHW.*got 3"),
            ((), ValueError, r"\bx_shape must .*4 axes of layout NCHW.*got 0"),
            ((1, 31, 5, 5), ValueError, r"\bx_shape must .*32 channels.*axis 1 of NCHW.*\(1, 31, 5, 5\)"),
            ((1, 32, -5, 5), ValueError, r"\bx_shape must .*negative.*\(1, 32, -5, 5\)"),
            ((1, 32, 2**63, 5), ValueError, r"\bx_shape must .*int64"),
            ((1, 32, 5.0, 5), TypeError, r"\bx_shape must .*integer.*float"),
            ("NCHW", TypeError, r"\bx_shape must .*integer.*str"),
            (5, TypeError, r"\bx_shape must .*int"),
            (None, TypeError, r"\bx_shape must .*NoneType"),
        ],
    )
    def test_bad_shapes(self, shape, exception, message):
        with pytest.raises(exception, match=message):
            pw.Conv(np.ones((64, 32), F)).explain(shape)


def resident():
    try:
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * 4096
    except FileNotFoundError:
        pytest.skip("there is no /proc/self/statm to see the memory")


class TestLeaks:
    """A call keeps no memory and no references, whether it succeeds or fails."""

    def calls(self):
        """Return the objects that calls use, and functions that make every kind of call.

        A call holds at least 4 KiB while it runs, so that a leak in each of 10000 calls is visible.
        """
        x, weight, bias = np.ones((1, 16, 64), F), np.ones((16, 16), F), np.ones(16, F)
        layer = pw.Conv(weight, bias, layout="NCW")
        residual, out, activation = np.ones((1, 16, 64), F), np.empty((1, 16, 64), F), "".join(["re", "lu"])
        how = {"layout": "NCW", "activation": activation}
        chain, scale = pw.Chain([layer, layer]), np.ones((1, 16), F)
        objects = [x, weight, bias, layer, chain, scale, residual, out, pw.Conv, pw.Chain, np.dtype(F), np.ndarray]

        def bad(call, *arguments, **keywords):
            try:
                call(*arguments, **keywords)
            except (ValueError, TypeError, NotImplementedError):
                return
            raise AssertionError("no error")

        def good_calls():
            layer(x)
            layer(x, residual)
            layer(x, residual=residual, out=out)
            layer(x, out, out)
            layer(x[..., ::2])
            pw.conv(x, weight, bias, residual=residual, out=out, **how)
            pw.conv(x.tolist(), weight, bias.tolist(), **how)
            pw.conv(x, weight.astype(np.float64), **how)
            pw.conv(x, weight, stride=(2,), padding=[1], **how)
            pw.conv(x, weight, layout="NCW", activation=("clip", 0, 6), input_scale=scale)
            layer(x, input_scale=scale)
            layer(x, input_scale=scale.astype(np.float64)[:, ::-1, None])
            chain(x, residual, out)

        def bad_calls():
            bad(layer, x[0])
            bad(layer, x[:, :5])
            bad(layer, x, residual[0])
            bad(layer, x, residual, x)
            bad(layer, x, residual, residual[..., ::-1])
            bad(layer, x, None, out[..., :5])
            bad(layer, x.astype(np.float64))
            bad(layer, x.astype(int))
            bad(layer, x, z=1)
            bad(layer, None)
            bad(pw.conv, x, weight[0], **how)
            bad(pw.conv, x, weight, bias[:3], **how)
            bad(pw.conv, x, weight, residual=1, **how)
            bad(pw.conv, x, weight, layout="nope")
            bad(pw.conv, x, weight, layout="NCW", activation=("relu", 1))
            bad(pw.conv, x, weight, layout="NCW", stride=(1, 2))
            bad(pw.conv, x, weight, layout="NCW", stride="1")
            bad(pw.Conv, weight, bias, groups=3)
            bad(pw.Conv, weight, bias.astype(complex))
            bad(layer.explain, (1, 2))
            bad(layer, x, input_scale=scale[0])
            bad(layer, x, input_scale=scale.astype(complex))
            bad(layer, x, None, out, input_scale=out[:, :, 0])
            bad(chain, x[:, :5])
            bad(chain, x, residual, x)
            bad(pw.Chain, [layer, None])
            bad(pw.Chain, [layer, pw.Conv(weight)])

        def layers():
            again = pw.Conv(weight, bias, **how)
            again(x)
            assert again.weight is not again.weight
            assert again.bias is not None
            repr(again)
            again.explain(x.shape)
            copy.copy(again)
            copy.copy(pw.Chain([again] * 3))(x)
            Named(weight).tag = again

        return objects, (good_calls, bad_calls, layers)

    @pytest.mark.skipif(
        not getattr(sys, "_is_gil_enabled", lambda: True)(), reason="reference counts are split without the GIL"
    )
    def test_reference_counts(self):
        objects, kinds = self.calls()
        for calls in kinds:
            for _ in range(10):
                calls()
            gc.collect()
            before = [sys.getrefcount(thing) for thing in objects]
            for _ in range(300):
                calls()
            gc.collect()
            assert [sys.getrefcount(thing) for thing in objects] == before

    def test_what_python_and_numpy_allocate(self):
        _, kinds = self.calls()
        # Without a GIL, CPython frees some memory later. The size of this memory does not grow with the number of
        # calls, but the size of a leak does.
        count = 150 if getattr(sys, "_is_gil_enabled", lambda: True)() else 1500
        for calls in kinds:
            for _ in range(20):
                calls()
            gc.collect()
            tracemalloc.start()
            try:
                for _ in range(5):
                    calls()
                grown = []
                # A leak grows in every round. CPython may enlarge its table of interned strings, but only in one of the
                # rounds.
                while len(grown) < 3 and not any(size < count * 50 for size in grown):
                    gc.collect()
                    before = tracemalloc.get_traced_memory()[0]
                    for _ in range(count):
                        calls()
                    gc.collect()
                    grown.append(tracemalloc.get_traced_memory()[0] - before)
            finally:
                tracemalloc.stop()
            assert min(grown) < count * 50

    def test_what_the_core_allocates(self):
        with open("/proc/self/maps") as maps:
            if any(name in maps.read() for name in ("libasan", "libclang_rt.asan")):
                pytest.skip("the address sanitizer keeps freed memory")
        _, kinds = self.calls()
        for calls in kinds:
            for _ in range(50):
                calls()
            gc.collect()
            before = resident()
            for _ in range(1200):  # at least 10000 calls of each kind
                calls()
            gc.collect()
            assert resident() - before < 4 << 20


@pytest.mark.parametrize("protocol", [0, 1])
def test_old_pickle_protocols(protocol):
    layer = pw.Conv(np.ones((2, 3), np.float32), np.ones(2, np.float32), layout="NHWC", activation="relu")
    copied = pickle.loads(pickle.dumps(layer, protocol))
    assert repr(copied) == repr(layer)
    x = np.ones((1, 2, 2, 3), np.float32)
    assert np.array_equal(copied(x), layer(x))


def test_explain_says_that_a_long_sum_is_split():
    assert "sums of 1024 input channels at a time" in pw.Conv(np.ones((64, 4096), np.float32)).explain(
        (1, 4096, 28, 28)
    )
    assert "at a time" not in pw.Conv(np.ones((64, 512), np.float32)).explain((1, 512, 28, 28))


def test_explain_of_what_no_memory_can_hold():
    layer = pw.Conv(np.ones((1024, 1024), np.float32))
    assert "about -" not in layer.explain((1, 1024, 2**25, 2**25))
    with pytest.raises(ValueError, match=r"x_shape must give arrays of less than 2\^63 bytes"):
        layer.explain((1, 1024, 2**40, 2**40))


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("how", ["plain", "transposed", "strided", "negative"])
@pytest.mark.parametrize(
    ("x_shape", "c_out", "groups"),
    [
        ((1, 40, 1, 1), 70, 1),  # one pixel: weights may stay unpacked
        ((1, 300, 7, 7), 900, 1),  # weights packed in several blocks
        ((1, 2000, 2, 2), 33, 1),  # input channels split into blocks
        ((5, 48, 3, 3), 40, 1),  # several images: all weights packed beforehand
        ((2, 12, 9, 9), 18, 3),
        ((1, 64, 60, 60), 130, 1),
    ],
)
def test_function_and_class_give_the_same_bits(x_shape, c_out, groups, how, threads, rng, dtype):
    x = rng.standard_normal(x_shape).astype(dtype)
    weight = rng.standard_normal((c_out, x_shape[1] // groups)).astype(dtype)
    put = {
        "plain": lambda a: a,
        "transposed": np.asfortranarray,
        "strided": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
        "negative": lambda a: np.ascontiguousarray(a[::-1])[::-1],
    }
    bias = rng.standard_normal(c_out).astype(dtype)
    with pw.num_threads(threads):
        expected = pw.Conv(weight, bias, groups=groups, activation="relu")(x)
        y = pw.conv(x, put[how](weight), bias, groups=groups, activation="relu")
    assert np.array_equal(y, expected)
    assert np.array_equal(pw.conv(x, put[how](weight), groups=groups), pw.Conv(weight, groups=groups)(x))


def test_subclass_with_a_call_of_its_own():
    class Twice(pw.Conv):
        def __call__(self, x, **keywords):
            return 2 * super().__call__(x, **keywords)

    class Plain(pw.Conv):
        pass

    x = np.ones((1, 2, 3, 3), np.float32)
    weight = np.ones((4, 2), np.float32)
    assert np.all(pw.Conv(weight)(x) == 2)
    assert np.all(Plain(weight)(x) == 2)
    assert np.all(Twice(weight)(x) == 4)
    assert np.all(pw.Conv.__call__(Twice(weight), x) == 2)
