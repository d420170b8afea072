"""Test that a call neither depends on the caller's floating-point environment nor changes it."""

import functools
import os
import pickle
import threading

import definitions
import numpy as np
import pointwise as pw
import pytest
import reference
from mxcsr import Mxcsr, machine_code
from pointwise import _core

pytestmark = [pytest.mark.kernels, pytest.mark.threading]


class TestFloatingPointEnvironment:
    @pytest.fixture
    def problem(self, rng):
        """Return arrays with subnormals, overflows, invalid operations and rounding, large enough for two threads."""
        x = (rng.standard_normal((1, 24, 6000)) * 1e-20).astype(np.float32)
        weight = (rng.standard_normal((33, 24)) * 1e-20).astype(np.float32)
        x[..., 5], x[..., 6] = np.inf, 1e38
        weight[3] = 1e30
        weight[4, :2] = 0
        return x, weight, np.zeros((1, 33, 6000), np.float32)

    def test_nothing_is_raised(self, problem):
        x, weight, residual = problem
        with np.errstate(all="raise"):
            y = pw.conv(x, weight, layout="NCW", residual=residual)
            pw.Conv(weight, layout="NCW")(x[..., :7])
            assert 1 / np.float64(3) > 0  # no exception is pending for the next operation
        assert np.isnan(y).any()
        assert np.isinf(y).any()
        assert ((abs(y) < np.finfo(np.float32).tiny) & (y != 0)).any()

    def test_nothing_is_raised_by_a_cast(self):
        x = np.ones((1, 4), np.float32)
        weight, bias = np.array([[1e-50, 1e300, 1 / 3, 1e-40]]), np.array([1e-310])
        with np.errstate(all="raise"):
            assert pw.conv(x, weight, bias, layout="NC")[0, 0] == np.inf
            assert pw.Conv(weight, bias, layout="NC", dtype="float32")(x)[0, 0] == np.inf

    @pytest.mark.parametrize("threads", [1, 2])
    @pytest.mark.parametrize("state", ["flush", "up", "flags"])
    def test_the_callers_state_is_without_effect_and_stays(self, state, threads, problem):
        x, weight, residual = problem
        mxcsr = Mxcsr()
        before = mxcsr.get()
        word = {
            "flush": Mxcsr.DEFAULT | Mxcsr.FLUSH,
            "up": Mxcsr.DEFAULT | Mxcsr.UP,
            "flags": Mxcsr.DEFAULT | 0x15,
        }[state]
        layer, out = pw.Conv(weight, layout="NCW"), np.empty_like(residual)
        with pw.num_threads(threads):
            expected = layer(x, residual)
            try:
                mxcsr.set(word)
                layer(x, residual, out)
                after = mxcsr.get()
            finally:
                mxcsr.set(before)
            assert after == word
            reference.assert_same_bits(out, expected)
            reference.assert_same_bits(layer(x, residual), expected)

    @pytest.mark.parametrize("threads", [1, 2])
    @pytest.mark.parametrize("word", [Mxcsr.DEFAULT, Mxcsr.DEFAULT | Mxcsr.FLUSH, Mxcsr.DEFAULT | Mxcsr.UP])
    def test_of_16_bit_numbers(self, word, threads, half, rng):
        """Calls with bfloat16 flush subnormals, and restore the caller's state. The caller's state changes no bits."""
        x = (rng.standard_normal((1, 24, 6000)) * 1e-5).astype(half)
        weight = (rng.standard_normal((33, 24)) * 1e-4).astype(half)
        bias = (rng.standard_normal(33) * 1e-39).astype(np.float32)
        layer, mxcsr = pw.Conv(weight, bias, layout="NCW"), Mxcsr()
        wide, before = weight.astype(np.float32) / np.float32(3), mxcsr.get()
        with pw.num_threads(threads):
            expected, converted = layer(x), pw.conv(x, wide, bias, layout="NCW", out_dtype="float16")
            try:
                mxcsr.set(word)
                y, z = layer(x), pw.conv(x, wide, bias, layout="NCW", out_dtype="float16")
                after = mxcsr.get()
            finally:
                mxcsr.set(before)
        assert after & ~Mxcsr.FLAGS == word
        reference.assert_same_bits(y, expected)
        reference.assert_same_bits(z, converted)

    @pytest.mark.parametrize("threads", [1, 2])
    def test_a_caller_that_traps(self, threads, forked):
        machine_code(b"\xc3", None)
        script = f"""
import numpy as np, pointwise as pw
from mxcsr import Mxcsr
x, weight = np.ones((1, 24, 6000), "f4"), np.full((33, 24), 1e38, "f4")
x[..., 5], x[..., 6], weight[4] = np.inf, 1e38, 0
layer, mxcsr = pw.Conv(weight, layout="NCW"), Mxcsr()
pw.set_num_threads({threads})
expected = layer(x)
word = Mxcsr.DEFAULT & Mxcsr.UNMASKED
mxcsr.set(word)
y = layer(x)
after = mxcsr.get()
mxcsr.set(Mxcsr.DEFAULT)
print(hex(after & ~0x3F) == hex(word), y.tobytes() == expected.tobytes(), np.isnan(y).any(), np.isinf(y).any())
"""
        assert forked(script) == "True True True True"

    @pytest.mark.parametrize("state", [Mxcsr.FLUSH, Mxcsr.UP])
    def test_weights_are_cast_in_the_default_environment(self, state, rng):
        x = np.ones((1, 24), np.float32)
        weight, bias = rng.standard_normal((33, 24)), rng.standard_normal(33)
        weight[::2] *= 1e-39
        bias[::2] *= 1e-39
        expected = pw.conv(x, weight, bias, layout="NC")
        mxcsr = Mxcsr()
        before = mxcsr.get()
        try:
            mxcsr.set(Mxcsr.DEFAULT | state)
            y = pw.conv(x, weight, bias, layout="NC")
            layer = pw.Conv(weight, bias, layout="NC", dtype="float32")
            z = layer(x)
            after = mxcsr.get()
        finally:
            mxcsr.set(before)
        assert after & ~0x3F == Mxcsr.DEFAULT | state
        for result in (y, z):
            reference.assert_same_bits(result, expected)
        reference.assert_same_bits(layer.weight, weight.astype(np.float32))

    @pytest.mark.parametrize(
        "word",
        [
            Mxcsr.DEFAULT,
            Mxcsr.DEFAULT | Mxcsr.FLUSH,
            Mxcsr.DEFAULT | Mxcsr.UP,
            Mxcsr.DEFAULT | Mxcsr.DOWN,
            Mxcsr.DEFAULT & Mxcsr.UNMASKED,
        ],
    )
    def test_importing_leaves_it_alone(self, word, forked):
        machine_code(b"\xc3", None)
        script = f"""
import ctypes, mmap, numpy
memory = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
memory.write(bytes.fromhex("0fae17c3" "0fae1fc3"))  # ldmxcsr [rdi]; ret; stmxcsr [rdi]; ret
at = ctypes.addressof(ctypes.c_char.from_buffer(memory))
load, store = (ctypes.PYFUNCTYPE(None, ctypes.c_void_p)(at + skip) for skip in (0, 4))
word = ctypes.c_uint32({word})
load(ctypes.byref(word))
import pointwise
store(ctypes.byref(word))
print(word.value & ~0x3F)  # without the flags, because arithmetic of the interpreter sets them
"""
        assert forked(script) == str(word)


F = np.float32
ACTIVATIONS = [None, ("clip", -1e-40, 1e-40), *(name for name in definitions.NAMES if name != "clip")]


def everything(dtype):
    """Return one function for each kind of call, by name. The functions have no arguments and return the results."""
    rng = np.random.default_rng(7)

    def numbers(*shape):
        """Return numbers with which operations round, overflow, are invalid, or have subnormal operands or results."""
        a = rng.standard_normal(shape) * np.sqrt(np.finfo(dtype).tiny) * 10.0 ** rng.uniform(-2, 4, shape)
        a[rng.random(shape) < 0.1] *= np.finfo(dtype).tiny * 1e6
        a[rng.random(shape) < 0.1] = np.finfo(dtype).max
        a[rng.random(shape) < 0.01] = np.inf
        a[rng.random(shape) < 0.1] = 0
        return a.astype(dtype)

    x, few, weight, bias = numbers(2, 20, 350), numbers(2, 20, 3), numbers(33, 20), numbers(33)
    residual, scale, wide = numbers(2, 33, 350), numbers(2, 20), weight.astype(np.float64) / 3
    back, out = numbers(7, 33), np.empty((2, 33, 350), dtype)
    mean, variance, gamma, beta = numbers(33), abs(numbers(33)), numbers(33), numbers(33)
    statistics = {"mean": mean, "variance": variance, "gamma": gamma, "beta": beta}
    last = {"layout": "NWC", "padding": 1, "stride": 2}
    layer, flushing = pw.Conv(weight, bias, layout="NCW"), pw.Conv(weight, layout="NCW", flush_subnormals=True)
    second = pw.Conv(back, layout="NCW", activation="gelu")
    chain, mixed = pw.Chain([layer, second]), pw.Chain([flushing, second])
    pickled = pickle.dumps(layer)

    def failure(function, *args, **how):
        def call():
            with pytest.raises((ValueError, TypeError)) as caught:
                function(*args, **how)
            return str(caught.value)

        return call

    calls = {
        f"conv with {activation}": lambda activation=activation: pw.conv(
            x, weight, bias, layout="NCW", activation=activation, residual=residual
        )
        for activation in ACTIVATIONS
    }
    return calls | {
        "conv, casting": lambda: pw.conv(x, wide, bias, layout="NCW"),
        "conv with prelu": lambda: pw.conv(x, weight, bias, layout="NCW", activation=("prelu", bias)),
        "conv, few pixels": lambda: pw.conv(few, weight, bias, layout="NCW", activation="tanh"),
        "conv, NWC": lambda: pw.conv(x.transpose(0, 2, 1), weight, bias, **last, activation="mish"),
        "conv, input_scale": lambda: pw.conv(x, weight, layout="NCW", input_scale=scale),
        "construction": lambda: pw.Conv(weight, bias, layout="NCW").weight,
        "construction, casting": lambda: pw.Conv(wide, bias, dtype=dtype, activation=("elu", 0.1)).weight,
        "call": lambda: layer(x),
        "call, out": lambda: layer(x, residual, out),
        "call, input_scale": lambda: layer(x, input_scale=scale),
        "call, flush_subnormals": lambda: flushing(x),
        "from_batchnorm": lambda: pw.Conv.from_batchnorm(weight, bias, **statistics).weight,
        "fold_batchnorm": lambda: np.concatenate([a.ravel() for a in pw.fold_batchnorm(weight, bias, **statistics)]),
        "Chain": lambda: chain(x),
        "Chain, few pixels": lambda: chain(few),
        "Chain, flush_subnormals": lambda: mixed(x),
        "Chain, construction": lambda: repr(pw.Chain([layer, second])),
        "explain": lambda: layer.explain(x.shape) + flushing.explain(few.shape),
        "pickle": lambda: pickle.dumps(layer),
        "unpickle": lambda: pickle.loads(pickled)(x),
        "repr": lambda: repr(pw.Conv(weight, activation=("elu", 0.1))),
        "attributes": lambda: np.append(layer.weight, layer.bias),
        "cost": lambda: repr(pw.cost(x.shape, 7, layout="NCW").params),
        "failed call, x": failure(layer, x[:, 1:]),
        "failed call, residual": failure(layer, x, residual[1:]),
        "failed call, out": failure(layer, x, None, x),
        "failed call, dtype": failure(layer, np.zeros(x.shape, int)),
        "failed call, input_scale": failure(layer, x, input_scale=scale[1:]),
        "failed conv": failure(pw.conv, x, weight, layout="NCW", activation="rule"),
        "failed construction": failure(pw.Conv, wide, groups=7, dtype=dtype),
        "failed Chain": failure(pw.Chain, [layer, layer]),
        "failed explain": failure(layer.explain, (1, 2, 3)),
        "failed fold_batchnorm": failure(pw.fold_batchnorm, weight, bias, mean=mean, variance=-1 - variance),
    }


def comparable(result):
    """Return a result in which all NaNs have the same bits, because signs and payloads of NaNs may differ."""
    return (
        np.where(np.isnan(result), result.dtype.type(np.nan), result).tobytes() if hasattr(result, "dtype") else result
    )


@pytest.fixture
def forced_teams():
    """Make calls use the requested number of threads, even for little work."""
    _core._testing.force_teams(True)
    yield
    _core._testing.force_teams(False)


@functools.cache
def expected_of_everything(dtype, threads):
    """Return the results of `everything` in the default state."""
    return {name: comparable(call()) for name, call in everything(dtype).items()}


WORDS = {
    "flush": Mxcsr.DEFAULT | Mxcsr.FLUSH,
    "up": Mxcsr.DEFAULT | Mxcsr.UP,
    "down": Mxcsr.DEFAULT | Mxcsr.DOWN,
    "to zero, flushing": Mxcsr.DEFAULT | Mxcsr.TO_ZERO | Mxcsr.FLUSH,
    "flags": Mxcsr.DEFAULT | 0x15,
}


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("state", WORDS)
def test_no_state_of_the_caller_is_seen_or_changed(state, threads, dtype, forced_teams):
    mxcsr, word = Mxcsr(), WORDS[state]
    before = mxcsr.get()
    with pw.num_threads(threads):
        expected = expected_of_everything(dtype, threads)
        for name, call in everything(dtype).items():
            try:
                mxcsr.set(word)
                result = call()
                after = mxcsr.get()
            finally:
                mxcsr.set(before)
            assert comparable(result) == expected[name], f"{name}: another result"
            # Flags are not compared, because arithmetic of the interpreter sets some.
            assert after & ~Mxcsr.FLAGS == word & ~Mxcsr.FLAGS, f"{name}: another state"


@pytest.mark.parametrize("name", ["call", "call, input_scale", "call, flush_subnormals", "Chain", "Chain, few pixels"])
def test_not_even_a_flag_is_set(name, dtype, forced_teams):
    mxcsr = Mxcsr()
    before = mxcsr.get()
    call = everything(dtype)[name]
    for threads in (1, 3):
        with pw.num_threads(threads):
            try:
                mxcsr.set(Mxcsr.DEFAULT)
                call()
                after = mxcsr.get()
            finally:
                mxcsr.set(before)
            assert after == Mxcsr.DEFAULT


@pytest.mark.parametrize("threads", [1, 3])
def test_no_trap_of_the_caller_fires(threads, forked):
    """No call raises SIGFPE if the caller traps every floating-point exception except inexact results."""
    machine_code(b"\xc3", None)
    script = f"""
import sys
sys.path.insert(0, {os.path.dirname(__file__)!r})
import numpy as np, pointwise as pw
from mxcsr import Mxcsr
from test_environment import comparable, everything
pw._core._testing.force_teams(True)
pw.set_num_threads({threads})
mxcsr, word = Mxcsr(), Mxcsr.DEFAULT & ~0x0F80
for dtype in map(np.dtype, ("f4", "f8")):
    expected = {{name: comparable(call()) for name, call in everything(dtype).items()}}
    for name, call in everything(dtype).items():
        mxcsr.set(word)
        result = call()
        after = mxcsr.get()
        mxcsr.set(Mxcsr.DEFAULT)
        assert after & ~0x3F == word, name
        assert comparable(result) == expected[name], name
print("alive")
"""
    assert forked(script) == "alive"


@pytest.mark.parametrize("threads", [2, 3, 7, 64])
@pytest.mark.parametrize("name", ["call", "Chain", "conv, casting", "call, flush_subnormals"])
def test_threads_that_were_started_in_another_state(name, threads, dtype, forced_teams):
    """A thread computes in the default state, whatever the state of the thread that started it.

    Threads of OpenMP outlive a call. So each thread sets its state in each call, and restores it afterwards.
    """
    call, results = everything(dtype)[name], []
    with pw.num_threads(1):
        expected = comparable(call())

    def work():
        mxcsr = Mxcsr()
        before = mxcsr.get()
        try:
            with pw.num_threads(threads):
                for word in (Mxcsr.DEFAULT | Mxcsr.FLUSH | Mxcsr.UP, Mxcsr.DEFAULT):
                    mxcsr.set(word)
                    results.append(comparable(call()))
        finally:
            mxcsr.set(before)

    Mxcsr()
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert results == [expected] * 2
