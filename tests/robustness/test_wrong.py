"""Test arguments that report false types, change other arguments, or are deleted during a call.

No call may crash, or read memory that does not belong to an argument. test_errors.py tests wrong types and shapes.
test_out.py tests arrays that `out` overlaps.
"""

import ctypes
import mmap
import sys

import numpy as np
import pointwise as pw
import pytest
import reference

F = np.float32
x0, w0, b0 = np.ones((1, 6, 2, 3), F), np.ones((4, 6), F), np.ones(4, F)
s0, r0 = np.ones((1, 6), F), np.ones((1, 4, 2, 3), F)
GOOD = {"x": x0, "weight": w0, "bias": b0, "input_scale": s0, "residual": r0}
OF_THE_LAYER = {"weight", "bias", "layout", "stride", "padding", "groups", "activation", "dtype"}


def function(**arguments):
    return pw.conv(**arguments)


def layer(**arguments):
    made = pw.Conv(**{name: value for name, value in arguments.items() if name in OF_THE_LAYER})
    return made(**{name: value for name, value in arguments.items() if name not in OF_THE_LAYER})


def untouched():
    out = np.empty((1, 4, 2, 3), F)
    out.view(np.uint8)[...] = 0xA5
    return out


both = pytest.mark.parametrize("call", [function, layer])


class Impostor:
    """An object that claims to be an array."""

    __class__ = np.ndarray
    dtype, ndim, shape, strides = np.dtype(F), 4, (1, 4, 2, 3), (96, 24, 12, 4)

    def view(self, *_):
        return np.ones((1, 4, 2, 3), F)

    def astype(self, *_, **__):
        return self


class Traitor(np.ndarray):
    """An array whose methods return other objects."""

    def view(self, *_, **__):
        return Impostor()

    astype = reshape = __array__ = view


class TestImpostors:
    @both
    @pytest.mark.parametrize("name", GOOD)
    def test_what_says_that_it_is_an_array(self, call, name):
        out = untouched()
        with pytest.raises((TypeError, ValueError), match=rf"^{name} must"):
            call(**GOOD | {name: Impostor(), "out": out})
        assert out.tobytes() == b"\xa5" * out.nbytes

    @both
    def test_out_that_imitates_an_array(self, call):
        with pytest.raises(TypeError, match=r"^out must be a NumPy array, got Impostor"):
            call(**GOOD, out=Impostor())

    @both
    @pytest.mark.parametrize("name", [*GOOD, "out"])
    def test_an_array_whose_methods_lie(self, call, name):
        given = GOOD.get(name, untouched()).view(Traitor)
        np.testing.assert_array_equal(np.ndarray.view(call(**GOOD | {name: given}), np.ndarray), np.full_like(r0, 8))

    def test_overlap_is_found_behind_methods_that_lie(self):
        memory = np.ones((1, 8, 2, 2), F)
        before = memory.tobytes()
        out = np.ndarray.view(memory[:, 2:6], Traitor)
        with pytest.raises(ValueError, match="out must share no element with x"):
            pw.conv(memory[:, :4], np.eye(4, dtype=F), out=out)
        residual = np.ndarray.view(memory[:, 1:5], Traitor)
        with pytest.raises(ValueError, match="out must be residual itself or share no element"):
            pw.conv(np.ones((1, 4, 2, 2), F), np.eye(4, dtype=F), residual=residual, out=out)
        assert memory.tobytes() == before

    def test_a_name_that_equals_every_name(self):
        class Name(str):
            __slots__ = ()

            def __eq__(self, other):
                return True

            def __hash__(self):
                return hash("gelu")

            def __str__(self):
                return "gelu"

        for call in (function, layer):
            with pytest.raises(ValueError, match=r"^activation must be None or one of relu.*got 'evil'"):
                call(**GOOD, activation=Name("evil"))
            np.testing.assert_array_equal(call(**GOOD, activation=Name("relu6")), np.full_like(r0, 6))
            with pytest.raises(ValueError, match=r"^layout must be one of"):
                call(**GOOD, layout=Name("evil"))

    def test_a_tuple_whose_items_lie(self):
        class Items(tuple):
            __slots__ = ()

            def __getitem__(self, key):
                return 5

            def __iter__(self):
                return iter((object(), object()))

            def __len__(self):
                return 10**6

        for call in (function, layer):
            np.testing.assert_array_equal(call(**GOOD, activation=Items(("clip", 0, 3))), np.full_like(r0, 3))
            with pytest.raises((TypeError, ValueError), match=r"^stride must"):
                call(**GOOD, stride=Items((1, 1)))

    def test_the_words_of_numpy(self):
        how = {"layout": np.str_("NCHW"), "stride": np.int8(1), "groups": np.array(1), "activation": np.str_("relu")}
        np.testing.assert_array_equal(pw.conv(**GOOD, **how), np.full_like(r0, 8))
        np.testing.assert_array_equal(layer(**GOOD, **how, dtype=np.float32), np.full_like(r0, 8))


# The conversion of an argument makes these changes to an argument that is already converted. A resize without its check
# (refcheck=False) frees memory that other objects may refer to. Such a resize is a mistake of the caller, but a call
# must not read the freed memory.
CHANGES = {
    "bytes": lambda a: setattr(a, "dtype", np.uint8),
    "another type": lambda a: setattr(a, "dtype", np.int32),
    "another byte order": lambda a: setattr(a, "dtype", a.dtype.newbyteorder()),
    "another shape": lambda a: setattr(a, "shape", (a.size,)),
    "axes the other way": lambda a: setattr(a, "shape", a.shape[::-1]),
    "one element": lambda a: a.resize((1,) * a.ndim, refcheck=False),
    "no element": lambda a: a.resize((0,) * a.ndim, refcheck=False),
    "a large array": lambda a: a.resize((1, a.shape[1] if a.ndim > 1 else 1, 40, 60), refcheck=False),
    "resize with its check": lambda a: a.resize((1,) * a.ndim),
    "state of its own": lambda a: a.__setstate__((1, (1,), np.dtype(F), False, b"1234")),
    "nothing to write": lambda a: a.setflags(write=False),
}
VICTIMS = ["x", "weight", "bias", "residual", "out", "input_scale"]


def arrays(size):
    """Return large arguments. When such an argument is freed, its memory returns to the system."""
    given = {"x": (1, 600, size, size), "weight": (400, 600), "bias": (400,), "residual": (1, 400, size, size)}
    return {name: np.ones(shape, F) for name, shape in (given | {"out": given["residual"]}).items()} | {
        "input_scale": np.ones((1, 600), F)
    }


class Meddler:
    """An argument that runs `act` before it is converted to `good`, an array or an integer."""

    def __init__(self, good, act):
        self.good, self.act = good, act

    def __array__(self, dtype=None, copy=None):
        self.act()
        return self.good

    def __index__(self):
        self.act()
        return self.good


class TestReentrancy:
    @both
    @pytest.mark.parametrize("change", CHANGES)
    @pytest.mark.parametrize("victim", VICTIMS)
    def test_an_argument_that_changes_another(self, call, victim, change):
        for culprit in ("weight", "bias", "input_scale", "stride", "groups"):
            given = arrays(9)
            if culprit == victim:
                continue
            array = given[victim]
            good = {"stride": 1, "groups": 1}.get(culprit)
            good = given[culprit] if good is None else good
            given[culprit] = Meddler(good, lambda array=array: CHANGES[change](array))
            if call is layer and culprit == "weight":
                given["dtype"] = "float32"
            try:
                y = call(**given)
            except (TypeError, ValueError):
                continue
            assert y.dtype == F
            if given["x"].any():  # output channels are equal, as x and weight are ones
                np.testing.assert_array_equal(y, np.broadcast_to(y[:, :1], y.shape))

    @pytest.mark.parametrize("change", ["bytes", "another type", "another byte order"])
    @pytest.mark.parametrize("victim", ["x", "weight", "bias", "residual", "out"])
    def test_another_dtype_is_found_behind_the_last_conversion(self, victim, change):
        given = arrays(9)
        array, scale = given[victim], given["input_scale"]
        given["input_scale"] = Meddler(scale, lambda: CHANGES[change](array))
        with pytest.raises(TypeError, match=rf"^{victim} must keep dtype float32 while"):
            pw.conv(**given)

    @both
    def test_an_argument_that_calls_again(self, call):
        def again():
            np.testing.assert_array_equal(call(**GOOD), np.full_like(r0, 8))
            pw.set_num_threads(pw.get_num_threads())
            pw.release_memory()

        for name, good in {"x": x0, "bias": b0, "input_scale": s0, "padding": 0}.items():
            given = GOOD | {name: Meddler(good, again)}
            np.testing.assert_array_equal(call(**given), np.full_like(r0, 8))

    @both
    def test_an_argument_that_is_deleted_meanwhile(self, call):
        """A call keeps x alive if all other references to it disappear."""
        holder = {"x": x0.copy()}
        given = {"bias": Meddler(b0, holder.clear), "weight": w0, "input_scale": Meddler(s0, holder.clear)}
        np.testing.assert_array_equal(call(x=holder["x"], **given), np.full_like(r0, 7))

    def test_arguments_without_end(self):
        class Endless:
            def __array__(self, dtype=None, copy=None):
                return pw.conv(self, w0)

            def __index__(self):
                return pw.conv(x0, w0, stride=self).size

        for name in ("x", "weight", "bias", "input_scale", "stride", "groups"):
            with pytest.raises((TypeError, RecursionError), match=rf"{name}|recursion"):
                pw.conv(**GOOD | {name: Endless()})


class TestMemoryThatGoesAway:
    """A call keeps references to its arguments while it runs, but not afterwards, whether it succeeds or fails."""

    def buffers(self):
        yield bytearray(x0.tobytes()), lambda memory: memory.append(0)
        yield mmap.mmap(-1, x0.nbytes), mmap.mmap.close
        yield (memoryview(bytearray(x0.tobytes()))), memoryview.release

    @pytest.mark.parametrize("fails", [False, True])
    def test_a_buffer_can_go_after_the_call(self, fails):
        weight = w0[:, :5] if fails else w0
        for memory, end in self.buffers():
            for role in ("x", "out", "residual"):
                array = np.frombuffer(memory, F).reshape(1, 6, 2, 3)
                array[...] = 1
                given = {"x": x0, "out": None, "residual": None} | {role: array}
                kept = pw.Conv(weight if role == "x" else np.ones((6, 5 if fails else 6), F))
                try:
                    kept(**given)
                    assert not fails
                except ValueError:
                    assert fails
                del given, array
            end(memory)

    def test_a_buffer_cannot_go_before(self):
        memory = bytearray(x0.tobytes())
        x = np.frombuffer(memory, F).reshape(x0.shape)

        class Weight:
            def __array__(self, dtype=None, copy=None):
                memory.clear()
                return w0

        with pytest.raises((BufferError, TypeError), match="cannot be re-sized"):
            pw.conv(x, Weight())
        assert len(memory) == x0.nbytes

    def test_a_layer_outlives_its_weights(self):
        memory = bytearray(w0.tobytes())
        kept = pw.Conv(np.frombuffer(memory, F).reshape(4, 6))
        memory[:] = bytes(len(memory))
        memory.clear()
        np.testing.assert_array_equal(kept(x0), np.full_like(r0, 6))

    def test_arrays_of_ctypes_and_of_the_interface(self):
        numbers = (ctypes.c_float * 36)(*[1.0] * 36)
        np.testing.assert_array_equal(pw.conv(np.ctypeslib.as_array(numbers).reshape(1, 6, 2, 3), w0), r0 * 6)

        class Interface:
            __array_interface__ = x0.__array_interface__

        np.testing.assert_array_equal(pw.conv(Interface(), w0), r0 * 6)

    def test_a_result_outlives_everything(self):
        y = pw.Conv(np.ones((64, 6), F))(np.ones((1, 6, 20, 20), F))  # recycled memory
        view = memoryview(y)
        del y
        pw.release_memory()
        other = pw.conv(np.zeros((1, 6, 20, 20), F), np.ones((64, 6), F))
        assert np.frombuffer(view, F).min() == 6
        assert not other.any()

    @pytest.mark.parametrize("name", ["x", "weight", "bias", "residual", "out", "input_scale"])
    def test_a_failed_call_keeps_nothing(self, name):
        """A failed call keeps no reference to any argument."""
        bad = np.ones((3, 3, 3), F)
        given = {key: value.copy() for key, value in GOOD.items()} | {"out": untouched(), name: bad}
        kept = pw.Conv(w0)
        of_call = {key: value for key, value in given.items() if key not in OF_THE_LAYER}
        counts = [sys.getrefcount(value) for value in given.values()]
        for _ in range(20):
            with pytest.raises(ValueError, match=rf"^{name} must"):
                pw.conv(**given)
            if name in of_call:
                with pytest.raises(ValueError, match=rf"^{name} must"):
                    kept(**of_call)
        assert [sys.getrefcount(value) for value in given.values()] == counts


def test_strides_of_no_elements():
    """An array without elements may have any strides."""
    strided, huge = np.lib.stride_tricks.as_strided, (2**62,) * 4
    x = strided(np.empty((1, 0, 5, 5), F), strides=huge)
    np.testing.assert_array_equal(pw.conv(x, np.ones((4, 0), F), b0, stride=3), np.ones((1, 4, 2, 2), F))
    out = strided(np.empty((0, 4, 2, 3), F), strides=(-(2**63),) * 4)
    assert pw.conv(np.empty((0, 6, 2, 3), F), w0, out=out) is out


def test_channels_beyond_any_memory():
    for size in (2**40, 2**58, 2**60 + 1):
        x, weight = np.broadcast_to(F(1), (1, size)), np.broadcast_to(F(1), (1, size))
        with pytest.raises((MemoryError, ValueError)):
            pw.conv(x, weight, layout="NC", input_scale=x)
        with pytest.raises((MemoryError, ValueError)):
            pw.Conv(weight, layout="NC")


def test_the_reference_agrees_behind_a_meddler():
    """The result uses the values that x has when the last argument is converted."""
    rng = np.random.default_rng(0)
    x, weight, bias = (rng.integers(-8, 9, shape).astype(F) for shape in ((2, 6, 5, 4), (4, 6), (4,)))
    later = rng.integers(-8, 9, (1, 6, 2, 3)).astype(F)

    def resize():
        x.resize(later.shape, refcheck=False)
        x[...] = later

    y = pw.conv(x, weight, Meddler(bias, resize))
    np.testing.assert_array_equal(y, reference.exact_value(later, weight, bias))
