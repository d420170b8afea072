"""Test the class Chain: construction, errors, copies, threads, forks and memory."""

import copy
import functools
import gc
import inspect
import os
import pickle
import pydoc
import re
import threading
import weakref

import numpy as np
import pointwise as pw
import pytest
from at_once import together

F = np.float32
X = np.random.default_rng(0).standard_normal((2, 3, 20, 30)).astype(F)


def conv(c_in, c_out, **how):
    rng = np.random.default_rng([c_in, c_out])
    return pw.Conv(rng.standard_normal((c_out, c_in)).astype(F), rng.standard_normal(c_out).astype(F), **how)


class NamedLayer(pw.Conv):
    """A subclass with a dictionary."""


class Named(pw.Chain):
    """A subclass with a dictionary and a method of its own."""

    def twice(self, x):
        return self(x) * 2


class Slotted(pw.Chain):
    __slots__ = ("tag",)


@pytest.fixture
def layers():
    return [conv(3, 40, activation="gelu"), conv(40, 5), conv(5, 6, activation=("clip", -1, 1))]


@pytest.fixture
def chain(layers):
    return pw.Chain(layers)


@pytest.fixture
def expected(layers):
    x = X
    for layer in layers:
        x = layer(x)
    return x


class TestWhatItIs:
    def test_layers_and_length(self, layers):
        for made in (layers, tuple(layers), iter(layers), (layer for layer in layers), dict.fromkeys(layers)):
            chain = pw.Chain(made)
            assert type(chain.layers) is tuple
            assert len(chain) == len(chain.layers) == 3
            assert all(mine is given for mine, given in zip(chain.layers, layers, strict=True))
        assert chain  # true, as a chain is never empty

    def test_repr(self, chain, layers):
        assert repr(chain) == f"Chain([{layers[0]!r}, {layers[1]!r}, {layers[2]!r}])"
        assert repr(Named(layers[:1])) == f"Named([{layers[0]!r}])"

    def test_one_layer_may_have_any_stride(self):
        layer = conv(3, 4, stride=(2, 3))
        assert pw.Chain([layer])(X).tobytes() == layer(X).tobytes()

    def test_a_layer_many_times(self):
        layer = conv(3, 3, activation="tanh")
        assert pw.Chain([layer] * 9)(X).tobytes() == pw.Chain([layer] * 8)(layer(X)).tobytes()

    def test_a_list_that_changes_changes_nothing(self, layers, expected):
        chain = pw.Chain(layers)
        layers.reverse()
        layers.pop()
        assert chain(X).tobytes() == expected.tobytes()

    def test_it_keeps_its_layers_alive(self, layers, expected):
        seen = [weakref.ref(layer) for layer in layers]
        chain = pw.Chain(layers)
        layers.clear()
        gc.collect()
        others = [conv(3, 40), conv(40, 5), conv(5, 6)]  # would reuse the memory of deleted layers
        assert all(ref() is not None for ref in seen)
        assert chain(X).tobytes() == expected.tobytes()
        del chain, others
        gc.collect()
        assert all(ref() is None for ref in seen)

    def test_the_layers_outlive_it(self, chain):
        first = chain.layers[0]
        plain = first(X)
        del chain
        gc.collect()
        assert first(X).tobytes() == plain.tobytes()

    def test_a_cycle_is_collected(self):
        """A layer is garbage-collected if its dictionary holds a chain that contains this layer."""
        layer = NamedLayer(np.ones((1, 1), F))
        layer.chain = pw.Chain([layer])
        named = Named([conv(1, 1)])
        named.me = named
        seen = weakref.ref(layer), weakref.ref(layer.chain), weakref.ref(named)
        del layer, named
        gc.collect()
        assert [ref() for ref in seen] == [None] * 3

    @pytest.mark.parametrize("name", ["layers", "_layers", "anything", "__class__", "__call__"])
    def test_no_attribute_is_set_or_deleted(self, name, chain, expected):
        with pytest.raises((AttributeError, TypeError)):
            setattr(chain, name, None)
        with pytest.raises((AttributeError, TypeError)):
            delattr(chain, name)
        assert not hasattr(chain, "__dict__")
        assert chain(X).tobytes() == expected.tobytes()

    def test_making_it_anew_changes_nothing(self, chain, expected):
        chain.__init__([conv(1, 1)])
        assert chain(X).tobytes() == expected.tobytes()

    def test_hash_and_equality_are_by_identity(self, chain):
        assert chain == chain
        assert chain != copy.copy(chain)
        assert {chain: 1}[chain] == 1


class TestCopies:
    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_pickle(self, protocol, chain, expected):
        again = pickle.loads(pickle.dumps(chain, protocol))
        assert type(again) is pw.Chain
        assert repr(again) == repr(chain)
        assert again(X).tobytes() == expected.tobytes()
        assert all(mine is not its for mine, its in zip(again.layers, chain.layers, strict=True))

    def test_a_pickle_holds_a_layer_once(self):
        layer = pw.Conv(np.ones((100, 100)), layout="NC")
        assert len(pickle.dumps(pw.Chain([layer] * 5))) < 90_000
        again = pickle.loads(pickle.dumps([layer, pw.Chain([layer] * 2)]))
        assert again[1].layers[0] is again[1].layers[1] is again[0]

    def test_copy(self, chain, expected):
        shallow, deep = copy.copy(chain), copy.deepcopy(chain)
        assert shallow.layers[0] is chain.layers[0]
        assert deep.layers[0] is not chain.layers[0]
        for again in (shallow, deep):
            assert type(again) is pw.Chain
            assert repr(again) == repr(chain)
            assert again(X).tobytes() == expected.tobytes()

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    @pytest.mark.parametrize("kind", [Named, Slotted])
    def test_subclasses(self, kind, protocol, layers, expected):
        chain = kind(layers)
        chain.tag = "mine"
        for again in (pickle.loads(pickle.dumps(chain, protocol)), copy.copy(chain), copy.deepcopy(chain)):
            assert type(again) is kind
            assert again.tag == "mine"
            assert again(X).tobytes() == expected.tobytes()

    def test_a_subclass_has_methods_and_calls_of_its_own(self, layers, expected):
        class Negative(pw.Chain):
            def __call__(self, x, **keywords):
                return -super().__call__(x, **keywords)

        assert Named(layers).twice(X).tobytes() == (2 * expected).tobytes()
        assert Negative(layers)(X).tobytes() == (-expected).tobytes()


A = {"weight": np.ones((4, 3), F)}
REFUSED = [
    (5, TypeError, "layers must be an iterable of Conv or QConv, got int"),
    (None, TypeError, "layers must be an iterable of Conv or QConv, got NoneType"),
    (conv(3, 4), TypeError, "layers must be an iterable of Conv or QConv, got Conv"),
    ([], ValueError, "layers must contain at least one layer, got none"),
    ([None], TypeError, "layers must all be Conv, or all be QConv, got NoneType as layer 0"),
    ([conv(3, 4), "relu"], TypeError, "layers must all be Conv, or all be QConv, got str as layer 1"),
    ([conv(3, 4), pw.Conv], TypeError, "layers must all be Conv, or all be QConv, got type as layer 1"),
    ([pw.Chain([conv(3, 4)])], TypeError, "layers must all be Conv, or all be QConv, got Chain as layer 0"),
    ("ab", TypeError, "layers must all be Conv, or all be QConv, got str as layer 0"),
    ([conv(3, 4), conv(5, 4)], ValueError, "layers must form a chain: layer 1 must read the 4 channels .*got 5"),
    (
        [conv(3, 4), pw.Conv(np.ones((4, 2), F), groups=4)],
        ValueError,
        "layers must form a chain: layer 1 must read the 4 channels .*got 8",
    ),
    (
        [conv(3, 4), conv(4, 4, layout="NHWC")],
        ValueError,
        "layers must .*: layer 1 must have layer 0's layout NCHW, got NHWC",
    ),
    (
        [conv(3, 4, layout="NC"), conv(4, 4, layout="C")],
        ValueError,
        "layers must .*: layer 1 must have layer 0's layout NC, got C",
    ),
    (
        [conv(3, 4), pw.Conv(np.ones((4, 4)))],
        ValueError,
        "layers must .*: layer 1 must take the float32 of layer 0, got a layer of dtype float64",
    ),
    ([conv(3, 4, padding=1)], ValueError, "layers must .*: layer 0 must have no padding, got 1"),
    ([conv(3, 4), conv(4, 4, padding=(0, 2))], ValueError, "layers must .*: layer 1 must have no padding, got 2"),
    ([conv(3, 4), conv(4, 4, stride=2)], ValueError, "layers must .*: layer 1 must have stride 1, .*got 2"),
    ([conv(3, 4), conv(4, 4), conv(4, 4, stride=(1, 3))], ValueError, "layers must .*: layer 2 .* stride 1, .*got 3"),
]

OF_A_CALL = [
    ({"x": X.astype(np.float64)}, TypeError, r"x must have the chain's dtype float32, got float64: pass x\.astype\("),
    (
        {"x": X.astype(int)},
        TypeError,
        "x must be float32, float64, float16, bfloat16 or an integer of 8 or 16 bits, got int64",
    ),
    ({"x": np.ma.array(X)}, TypeError, "x must be a plain array, got a MaskedArray"),
    ({"x": None}, TypeError, "x must be float32, float64, float16, bfloat16 or an integer of 8 or 16 bits, got object"),
    ({"x": X[0]}, ValueError, r"x must have the 4 axes of layout NCHW, got shape \(3, 20, 30\)"),
    ({"x": X[:, :2]}, ValueError, r"x must have 3 channels \(axis 1 of NCHW\), got shape \(2, 2, 20, 30\)"),
    ({"residual": X}, ValueError, r"residual must have shape \(2, 6, 20, 30\), got \(2, 3, 20, 30\)"),
    ({"residual": np.ones((2, 40, 20, 30), F)}, ValueError, r"residual must have shape \(2, 6, 20, 30\)"),
    ({"residual": np.ones((2, 6, 20, 30))}, TypeError, "residual must have dtype float32, got float64"),
    ({"residual": 1.0}, TypeError, "residual must be a NumPy array, got float"),
    ({"out": np.ones((2, 6, 20, 30))}, TypeError, "out must have dtype float32, float16 or bfloat16, got float64"),
    ({"out": np.ones((2, 40, 20, 30), F)}, ValueError, r"out must have shape \(2, 6, 20, 30\), got \(2, 40, 20, 30\)"),
    ({"out": np.broadcast_to(F(1), (2, 6, 20, 30))}, ValueError, "out must be writable"),
    ({"out": [1.0]}, TypeError, "out must be a NumPy array, got list"),
]


class TestErrors:
    @pytest.mark.parametrize(("layers", "exception", "message"), REFUSED)
    def test_what_makes_no_chain(self, layers, exception, message):
        with pytest.raises(exception, match="^" + message):
            pw.Chain(layers)

    def test_errors_of_the_iterable_pass_through(self):
        """Exceptions that the iterable raises reach the caller unchanged."""
        with pytest.raises(TypeError, match=r"^dtype must be float32, float64, float16 or bfloat16, got int64"):
            pw.Chain(pw.Conv(np.ones((1, 1)), dtype=dtype) for dtype in ("f4", "i8"))
        with pytest.raises(ZeroDivisionError):
            pw.Chain(1 / 0 for _ in range(3))

    def test_wrong_signatures(self, chain, layers):
        with pytest.raises(TypeError):
            pw.Chain()
        with pytest.raises(TypeError):
            pw.Chain(*layers)
        with pytest.raises(TypeError, match=r"^Chain.__call__ needs x"):
            chain()
        with pytest.raises(TypeError, match=r"^Chain.__call__ takes x, residual and out, got 4 positional arguments"):
            chain(X, None, None, None)
        with pytest.raises(TypeError, match=r"^Chain.__call__ takes .*, got an unexpected argument 'bias'"):
            chain(X, bias=None)
        with pytest.raises(TypeError, match=r"^Chain.__call__ got two values for x"):
            chain(X, x=X)

    @pytest.mark.parametrize(("how", "exception", "message"), OF_A_CALL)
    def test_of_a_call(self, how, exception, message, chain, expected):
        out = np.full_like(expected, 7)
        with pytest.raises(exception, match="^" + message):
            chain(**({"x": X, "out": out} | how))
        assert (out == 7).all()
        assert chain(X).tobytes() == expected.tobytes()

    @pytest.mark.parametrize("case", ["x is out", "x meets out", "part of residual", "out with itself"])
    def test_overlaps(self, case):
        chain = pw.Chain([conv(4, 9), conv(9, 4)])
        memory = np.random.default_rng(1).standard_normal(8000).astype(F)
        x, out, residual = memory[:2400].reshape(1, 4, 20, 30), memory[4000:6400].reshape(1, 4, 20, 30), None
        if case == "x is out":
            out, word = x, "x"
        elif case == "x meets out":
            out, word = memory[2399:4799].reshape(1, 4, 20, 30), "x"
        elif case == "part of residual":
            residual, word = memory[4001:6401].reshape(1, 4, 20, 30), "residual"
        else:
            out, word = np.lib.stride_tricks.as_strided(out, strides=(0, 4, 4, 4)), "out"
        before = memory.tobytes()
        with pytest.raises(ValueError, match=rf"^out must .*{word if word != 'out' else 'each index'}"):
            chain(x, residual, out)
        assert memory.tobytes() == before

    @pytest.mark.skipif("LD_PRELOAD" in os.environ, reason="sanitizers need the address space")
    def test_no_memory_leaves_out_untouched(self, python):
        """Without memory for the 40 MB between the layers, a call raises MemoryError and leaves `out` unchanged."""
        script = """
import resource
import numpy as np, pointwise as pw
pw.set_num_threads(1)
many = 10_000_000
chain = pw.Chain([pw.Conv(np.ones((many, 1), "f4"), layout="NC"), pw.Conv(np.ones((2, many), "f4"), layout="NC")])
x, out = np.ones((1, 1), "f4"), np.full((1, 2), 7, "f4")
used = int(open("/proc/self/statm").read().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (used + (20 << 20), -1))
try:
    chain(x, out=out)
except MemoryError as error:
    print((out == 7).all(), error)
resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
print((chain(x, out=out) == many).all())
"""
        assert python(script).split("\n") == ["True not enough memory for the packed weight or the workspace", "True"]


class TestAtOnce:
    def test_eight_threads_call_one_chain(self, chain):
        inputs = [X, X[:1, :, :1, :1], np.tile(X, (1, 1, 3, 3)), X[:, :, ::2], X[:0], X[:, :, ::-1, ::-1]]
        expected = [chain.layers[2](chain.layers[1](chain.layers[0](x))) for x in inputs]

        def work(first):
            for i in range(30):
                at = (first + i) % len(inputs)
                y = chain(inputs[at]) if i % 2 else chain(inputs[at], out=np.empty_like(expected[at]))
                assert y.tobytes() == expected[at].tobytes()

        together(work)

    def test_while_others_make_and_drop_chains_of_its_layers(self, chain, expected):
        stop = threading.Event()

        def work():
            while not stop.is_set():
                pw.Chain(chain.layers[:2])

        worker = threading.Thread(target=work)
        worker.start()
        try:
            for _ in range(50):
                assert chain(X).tobytes() == expected.tobytes()
        finally:
            stop.set()
            worker.join()

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
    def test_fork(self, python):
        script = """
import os, signal
import numpy as np, pointwise as pw
pw.set_num_threads(3)
chain = pw.Chain([pw.Conv(np.ones((64, 8), "f4"), activation="relu"), pw.Conv(np.ones((4, 64), "f4"))])
x = np.ones((4, 8, 60, 60), "f4")
def right():
    return bool((chain(x) == 512).all())
assert right()
child = os.fork()
if child == 0:
    signal.alarm(60)
    os._exit(0 if right() else 3)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), right())
"""
        assert python(script, timeout=250) == "0 True"


PEAK = """
import numpy as np, pointwise as pw
pw.set_num_threads(1)
def peak():  # getrusage may give the peak of the program that started this one
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
layers = [pw.Conv(np.ones((96, 16), "f4"), activation="relu"), pw.Conv(np.ones((24, 96), "f4"))]
x = np.ones((8, 16, 112, 112), "f4")
call = {call}
call(x[:, :, :8, :8])
before = peak()
y = call(x)
after = peak()
assert (y == 1536).all()
print(after - before)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs /proc/self/status to see the memory")
@pytest.mark.skipif("LD_PRELOAD" in os.environ, reason="sanitizers use additional memory")
def test_what_lies_between_is_never_in_memory(python):
    """A chain never allocates the intermediate array of 36.75 MiB, so its peak memory is lower by that size."""
    between, result = (8 * c * 112 * 112 * 4 // 1024 for c in (96, 24))
    one_by_one = int(python(PEAK.format(call="lambda x: layers[1](layers[0](x))")))
    chained = int(python(PEAK.format(call="pw.Chain(layers)")))
    assert one_by_one - chained > 0.95 * between
    assert chained < result + 4096  # 4096 KiB are enough for the workspace


class TestExplain:
    def test_it_describes_strips_and_layers(self):
        layers = [pw.Conv(np.ones((64, 16), np.float32)), pw.Conv(np.ones((8, 64), np.float32))]
        with pw.num_threads(1):
            text = pw.Chain(layers).explain((2, 16, 112, 112))
        first, *rest = text.splitlines()
        strips, pixels = map(int, re.search(r"of (\d+) strip\(s\), at most (\d+) pixels each", first).groups())
        assert first.startswith("2 image(s) of ")
        assert strips > 1
        assert 112 * 112 <= strips * pixels < 112 * 112 + strips * 16 * 112
        assert [line for line in rest if line.startswith("layer")] == ["layer 0, for a strip:", "layer 1, for a strip:"]
        assert "16 -> 64 channels" in text
        assert "64 -> 8 channels" in text
        assert pw.isa() in text

    def test_small_and_empty_images(self):
        chain = pw.Chain([pw.Conv(np.ones((4, 3), np.float32))])
        assert chain.explain((1, 3, 2, 2)).startswith("1 image(s) of 1 strip(s), at most 4 pixels each")
        assert chain.explain((0, 3, 2, 2)) == "empty result: nothing to compute"

    def test_errors(self):
        chain = pw.Chain([pw.Conv(np.ones((4, 3), np.float32))])
        with pytest.raises(ValueError, match=r"x_shape must have the 4 axes of layout NCHW, got 3"):
            chain.explain((3, 2, 2))
        with pytest.raises(ValueError, match=r"x_shape must have 3 channels"):
            chain.explain((1, 2, 2, 2))
        with pytest.raises(TypeError, match=r"x_shape must be a tuple of integers, got int"):
            chain.explain(3)
        with pytest.raises(ValueError, match=r"x_shape must give arrays of less than 2\^63 bytes"):
            chain.explain((2**40, 3, 2**40, 1))


def test_the_signature_of_a_call():
    layer = pw.Conv(np.ones((4, 3), np.float32))

    def plain(function):
        parameters = inspect.signature(function).parameters.values()
        return str(inspect.Signature([p.replace(annotation=inspect.Parameter.empty) for p in parameters]))

    assert plain(layer) == plain(layer.__call__) == "(x, residual=None, out=None, *, input_scale=None)"
    assert plain(pw.Conv.__call__) == "(self, x, residual=None, out=None, *, input_scale=None)"
    assert plain(pw.Chain([layer])) == "(x, residual=None, out=None)"
    assert plain(pw.Chain.__call__) == "(self, x, residual=None, out=None)"
    assert "weight" in inspect.signature(pw.Conv).parameters
    assert "layers" in inspect.signature(pw.Chain).parameters


@pytest.mark.parametrize("cls", [pw.Conv, pw.Chain])
def test_the_documentation_of_a_call(cls):
    layer = pw.Conv(np.ones((4, 3), np.float32))
    instance = layer if cls is pw.Conv else pw.Chain([layer])
    for thing in (cls, instance, cls.__call__, instance.__call__):
        text = pydoc.plain(pydoc.render_doc(thing))
        assert "Array that is added before the activation" in text
        assert "Array that receives the result and is returned" in text
    for parameter in inspect.signature(instance).parameters:
        assert f"\n    {parameter} : " in f"\n    {inspect.getdoc(cls.__call__)}".replace("\n", "\n    ")


class PlainConv(pw.Conv):
    pass


class PlainChain(pw.Chain):
    pass


@pytest.mark.parametrize("base", [pw.Conv, pw.Chain])
def test_a_call_that_is_assigned_to_a_subclass_later(base):
    class Sub(base):
        pass

    class Below(Sub):
        pass

    layer = pw.Conv(np.ones((4, 3), np.float32))
    one, two = (cls(layer.weight) if base is pw.Conv else cls([layer]) for cls in (Sub, Below))
    np.testing.assert_array_equal(one(X), layer(X))
    Sub.__call__ = lambda self, x: "assigned"
    assert (one(X), two(X)) == ("assigned", "assigned")
    del Sub.__call__
    for thing in (one, two):
        np.testing.assert_array_equal(thing(X), layer(X))


def test_every_way_to_call_gives_the_same(rng):
    """The class itself is called by vectorcall, a subclass by the method. Both take the same arguments."""
    weight, scale = rng.standard_normal((4, 3)).astype(np.float32), rng.standard_normal((2, 3)).astype(np.float32)
    x, residual = (rng.standard_normal((2, c, 5, 4)).astype(np.float32) for c in (3, 4))
    expected = pw.conv(x, weight, residual=residual, input_scale=scale)
    for layer in (pw.Conv(weight), PlainConv(weight)):
        for call in (layer, layer.__call__, functools.partial(type(layer).__call__, layer)):
            np.testing.assert_array_equal(call(x, residual, input_scale=scale), expected)
            out = np.empty_like(residual)
            assert call(*(x, residual, out), **{"input_scale": scale}) is out
            np.testing.assert_array_equal(out, expected)
            with pytest.raises(TypeError, match=r"input_scale|positional"):
                call(x, residual, out, scale)
    expected = pw.conv(x, weight, residual=residual)
    for chain in (pw.Chain([pw.Conv(weight)]), PlainChain([pw.Conv(weight)])):
        for call in (chain, chain.__call__, functools.partial(type(chain).__call__, chain)):
            np.testing.assert_array_equal(call(x, residual), expected)
            out = np.empty_like(residual)
            assert call(x=x, residual=residual, out=out) is out
            np.testing.assert_array_equal(out, expected)
            with pytest.raises(TypeError, match="input_scale"):
                call(x, input_scale=scale)
