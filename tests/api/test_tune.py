"""Test Conv.tune: its arguments, its choices, the calls that use a choice, pickles, and concurrent calls."""

import copy
import pickle
import re
import threading
import time
from fractions import Fraction

import numpy as np
import pointwise as pw
import pytest
import reference
from at_once import together
from pointwise import _conv, _core

F = np.float32
SHAPE = (1, 24, 13, 11)
TUNED = "tuned: "


@pytest.fixture
def layer(rng):
    return pw.Conv(rng.standard_normal((20, 24), dtype=F), rng.standard_normal(20, dtype=F), activation="relu")


def first_line(layer, shape=SHAPE, **how):
    return layer.explain(shape, **how).splitlines()[0]


def kernel_names(layer, shape, **how):
    """Return the names of all kernels that `explain` lists."""
    return re.findall(r"^  (?:kernel|not) (\w+)", layer.explain(shape, **how), re.MULTILINE)


def adopted(layer, shape, dtype="float32"):
    """Yield a copy of a layer for each way that is possible for this shape. The copy has chosen this way."""
    for kernel in dict.fromkeys(kernel_names(layer, shape, dtype=dtype)):
        for packing in ("none", "channels", "pixels"):
            for axes in range(1, max(2, len(shape))):
                changed = copy.copy(layer)
                changed._adopt([(shape, dtype, pw.get_num_threads(), kernel, axes, packing, 0, False)])
                if "chosen by a measurement" in changed.explain(shape, dtype=dtype):
                    yield changed


@pytest.mark.kernels
@pytest.mark.parametrize("layout", reference.LAYOUTS)
def test_no_choice_changes_a_bit(layout, dtype, rng):
    sizes = {"N": 2, "C": 24, "D": 2, "H": 7, "W": 9}
    shape = tuple(sizes[axis] for axis in layout)
    x = rng.standard_normal(shape).astype(dtype)
    layer = pw.Conv(rng.standard_normal((40, 24)), rng.standard_normal(40), layout=layout, dtype=dtype)
    expected = layer(x)
    residual = rng.standard_normal(expected.shape).astype(dtype)
    with_residual = layer(x, residual)
    count = 0
    for changed in adopted(layer, shape, dtype.name):
        assert changed(x).tobytes() == expected.tobytes()
        assert changed(x, residual).tobytes() == with_residual.tobytes()
        count += 1
    assert count >= 2


@pytest.mark.kernels
@pytest.mark.parametrize("x_dtype", ["uint8", "int8", "uint16", "int16"])
@pytest.mark.parametrize("out_dtype", [None, "uint8"])
def test_no_choice_changes_a_bit_of_integer_input(x_dtype, out_dtype, rng):
    x = rng.integers(0, 100, (9, 50, 3)).astype(x_dtype)
    layer = pw.Conv(rng.standard_normal((3, 3), dtype=F), layout="HWC", out_dtype=out_dtype)
    expected = layer(x)
    found = list(adopted(layer, x.shape, x_dtype))
    assert len(found) >= 2
    for changed in found:
        assert changed(x).tobytes() == expected.tobytes()
        assert layer.tune(x.shape, dtype=x_dtype, seconds=0.02) >= 1
        assert layer(x).tobytes() == expected.tobytes()


@pytest.mark.kernels
def test_tuning_keeps_the_bits(rng):
    for layout, shape in (("NCHW", (2, 70, 14, 14)), ("NHWC", (2, 14, 14, 70)), ("NC", (300, 70))):
        layer = pw.Conv(rng.standard_normal((50, 70), dtype=F), layout=layout, activation="gelu")
        x = rng.standard_normal(shape, dtype=F)
        expected = layer(x)
        for threads in (1, 2):
            with pw.num_threads(threads):
                gain = layer.tune(shape, seconds=0.1)
                assert type(gain) is float
                assert gain >= 1
                assert (gain == 1) == ("the choice of the cost model was the fastest" in first_line(layer, shape))
                assert layer(x).tobytes() == expected.tobytes()


class TestKeeps:
    def test_explain_says_so(self, layer):
        assert TUNED not in layer.explain(SHAPE)
        layer.tune(SHAPE, seconds=0.05)
        assert first_line(layer).startswith(TUNED)
        assert first_line(layer, dtype="float32").startswith(TUNED)

    def test_for_this_shape_dtype_and_number_of_threads(self, layer):
        with pw.num_threads(2):
            layer.tune(list(SHAPE), seconds=0.05)
            assert first_line(layer).startswith(TUNED)
            assert not first_line(layer, (2, *SHAPE[1:])).startswith(TUNED)
            assert not first_line(layer, dtype="uint8").startswith(TUNED)
            layer.tune(SHAPE, dtype=np.uint8, seconds=0.05)
            assert first_line(layer, dtype="uint8").startswith(TUNED)
            assert not first_line(layer, dtype="int8").startswith(TUNED)
        for threads in (1, 3):
            with pw.num_threads(threads):
                assert not first_line(layer).startswith(TUNED)
        assert [choice[:3] for choice in layer._choices()] == [(SHAPE, "float32", 2), (SHAPE, "uint8", 2)]

    def test_the_last_choice(self, layer):
        for _ in range(3):
            layer.tune(SHAPE, seconds=0.02)
        assert len(layer._choices()) == 1

    def test_of_integer_results(self, rng):
        layer = pw.Conv(rng.standard_normal((3, 3), dtype=F), layout="HWC", out_dtype="uint8")
        layer.tune((20, 20, 3), seconds=0.05)
        assert [choice[:2] for choice in layer._choices()] == [((20, 20, 3), "uint8")]
        assert first_line(layer, (20, 20, 3)).startswith(TUNED)

    def test_nothing_for_an_empty_result(self, layer):
        assert layer.tune((0, 24, 3, 3)) == 1.0
        assert layer._choices() == []

    def test_an_impossible_choice_is_ignored(self, layer, rng):
        x = rng.standard_normal(SHAPE, dtype=F)
        expected, plain = layer(x), layer.explain(SHAPE)
        name = kernel_names(layer, SHAPE)[0]
        layer._adopt([(SHAPE, "float32", pw.get_num_threads(), name, 3, "pixels", 77, False)])
        assert layer(x).tobytes() == expected.tobytes()
        assert plain in layer.explain(SHAPE)

    @pytest.mark.parametrize(
        "junk", [3, [1], [()], [(SHAPE, "f", 1, "", 0, "", 0)], [((1,), "float32", 1, "", 0, "", 0, 0)]]
    )
    def test_junk_raises_an_exception(self, layer, junk):
        with pytest.raises((TypeError, ValueError)):
            layer._adopt(junk)
        assert layer._choices() == []


class TestArguments:
    @pytest.mark.parametrize("seconds", [0, -1, 0.0, float("nan"), float("inf"), float("-inf")])
    def test_seconds_out_of_range(self, layer, seconds):
        with pytest.raises(ValueError, match=rf"seconds must be positive and finite, got {seconds}"):
            layer.tune(SHAPE, seconds=seconds)

    @pytest.mark.parametrize("seconds", ["1", None, 1j, [1]])
    def test_seconds_of_a_wrong_type(self, layer, seconds):
        with pytest.raises(TypeError, match=rf"seconds must be a real number, got {type(seconds).__name__}"):
            layer.tune(SHAPE, seconds=seconds)

    @pytest.mark.parametrize("seconds", [Fraction(1, 50), np.float32(0.02), 10**400])
    def test_real_numbers(self, seconds):
        layer = pw.Conv(np.ones((1, 1), F), layout="C")
        assert layer.tune((1,), seconds=seconds) >= 1

    def test_shapes(self, layer):
        with pytest.raises(ValueError, match="4 axes of layout NCHW, got 3"):
            layer.tune(SHAPE[1:])
        with pytest.raises(ValueError, match="channels"):
            layer.tune((1, 23, 3, 3))
        with pytest.raises(TypeError, match="x_shape must be a tuple of integers, got int"):
            layer.tune(3)
        with pytest.raises((MemoryError, ValueError)):
            layer.tune((2**40, 24, 2**10, 2**10))
        assert layer._choices() == []

    @pytest.mark.parametrize("method", ["tune", "explain"])
    def test_dtypes(self, layer, method):
        call = getattr(layer, method)
        names = "None or float32, uint8, int8, uint16 or int16 for this layer"
        with pytest.raises(TypeError, match=f"dtype must be {names}, got float64"):
            call(SHAPE, dtype="float64")
        with pytest.raises(TypeError, match=f"dtype must be {names}, got 'x'"):
            call(SHAPE, dtype="x")
        with pytest.raises(TypeError, match="must have native byte order"):
            call(SHAPE, dtype=np.dtype(F).newbyteorder())
        wide = pw.Conv(np.ones((2, 24)))
        with pytest.raises(TypeError, match="dtype must be None or float64 for this layer, got float32"):
            getattr(wide, method)(SHAPE, dtype=F)
        integer = pw.Conv(np.ones((2, 24), F), out_dtype="int8")
        with pytest.raises(TypeError, match="dtype must be None or uint8, int8, uint16 or int16 for this layer"):
            getattr(integer, method)(SHAPE, dtype=F)


def test_the_time_is_bounded(rng):
    """Tuning ends at most one call after `seconds`. The test also allows for long pauses of the system."""
    layer = pw.Conv(rng.standard_normal((256, 256), dtype=F))
    shape = (4, 256, 56, 56)
    x = np.ones(shape, F)
    once = min(timed(lambda: layer(x)) for _ in range(3))
    for seconds in (1e-9, 0.05, 0.3):
        # Allocating and filling x and the result takes less than a call. An alternative may take several times as long.
        assert timed(lambda seconds=seconds: layer.tune(shape, seconds=seconds)) < seconds + 20 * once + 2


def timed(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


class Tagged(pw.Conv):
    def __init__(self, *_, **__):
        self.tag = None


class TestPickles:
    @pytest.fixture
    def tuned(self, layer):
        layer.tune(SHAPE, seconds=0.02)
        layer._adopt([(SHAPE, "float32", 7, kernel_names(layer, SHAPE)[0], 1, "none", 0, True)])
        assert len(layer._choices()) == 2 if pw.get_num_threads() != 7 else 1
        return layer

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_keep_choices(self, tuned, protocol):
        again = pickle.loads(pickle.dumps(tuned, protocol))
        assert again._choices() == tuned._choices()
        assert again.explain(SHAPE) == tuned.explain(SHAPE)
        np.testing.assert_array_equal(again.weight, tuned.weight)

    @pytest.mark.parametrize("way", [copy.copy, copy.deepcopy])
    def test_copies_keep_choices(self, tuned, way):
        assert way(tuned)._choices() == tuned._choices()

    def test_a_copy_has_its_own_choices(self, tuned):
        before = tuned._choices()
        copy.copy(tuned).tune((1, 24, 3, 3), seconds=0.02)
        assert tuned._choices() == before

    def test_subclasses_keep_choices_and_attributes(self, tuned):
        layer = Tagged(tuned.weight)
        layer.tag = "t"
        layer._adopt(tuned._choices())
        again = pickle.loads(pickle.dumps(layer))
        assert (type(again), again.tag, again._choices()) == (Tagged, "t", tuned._choices())

    def test_a_layer_of_a_chain_keeps_choices(self, tuned):
        chain = pickle.loads(pickle.dumps(pw.Chain([tuned])))
        assert chain.layers[0]._choices() == tuned._choices()

    def test_ignore_choices_for_another_cpu(self, tuned, monkeypatch):
        data = pickle.dumps(tuned)
        monkeypatch.setattr(_conv, "cpu_name", lambda: "another CPU")
        again = pickle.loads(data)
        assert again._choices() == []
        x = np.ones(SHAPE, F)
        np.testing.assert_array_equal(again(x), tuned(x))

    def test_ignore_choices_for_another_instruction_set(self, tuned, monkeypatch):
        data = pickle.dumps(tuned)
        monkeypatch.setattr(_core, "isa", "another")
        assert pickle.loads(data)._choices() == []

    def test_of_a_layer_that_is_not_tuned_have_no_choices(self, layer):
        assert b"_tuned" not in pickle.dumps(layer)


@pytest.mark.threading
def test_calls_and_tuning_at_once(layer, rng):
    shapes = [SHAPE, (2, 24, 9, 9), (1, 24, 30, 31)]
    inputs = [rng.standard_normal(shape, dtype=F) for shape in shapes]
    expected = [layer(x).tobytes() for x in inputs]
    done = threading.Event()

    def work(i):
        if i < 3:
            try:
                for shape in shapes[i:] + shapes[:i]:
                    assert layer.tune(shape, seconds=0.05) >= 1
            finally:
                done.set()
        else:
            while not done.is_set():
                for x, bits in zip(inputs, expected, strict=True):
                    assert layer(x).tobytes() == bits
                pickle.loads(pickle.dumps(layer))

    together(work, 6)
    assert sorted(choice[0] for choice in layer._choices()) == sorted(shapes)


def test_a_forked_child_uses_choices(forked):
    script = """
import os
import numpy as np, pointwise as pw
pw.set_num_threads(1)  # a child may use one thread
layer = pw.Conv(np.ones((8, 8), np.float32), layout="NC")
layer.tune((500, 8), seconds=0.02)
x = np.ones((500, 8), np.float32)
pid = os.fork()
if pid == 0:
    right = layer(x)[3, 3] == 8 and layer.explain(x.shape).startswith("tuned")
    os._exit(0 if right and layer.tune(x.shape, seconds=0.02) >= 1 else 1)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    assert forked(script) == "0"
