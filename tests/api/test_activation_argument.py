"""Test which values the argument `activation` accepts, and how a layer reports them."""

import copy
import fractions
import pickle

import definitions
import numpy as np
import pointwise as pw
import pytest

F = np.float32
DEFAULTS = {"leaky_relu": ("leaky_relu", 0.01), "elu": ("elu", 1.0)}
X = np.linspace(-4, 4, 99, dtype=F).reshape(1, 3, 33)
WEIGHT = np.array([[1, 0, 0], [0, -1, 0], [0, 0, 2], [1, 1, 1]], F)
each_activation = pytest.mark.parametrize("activation", [None, *definitions.ACTIVATIONS], ids=definitions.label)


class Word(str):
    pass


class Pair(tuple):
    __slots__ = ()


def layer_of(activation, **how):
    return pw.Conv(WEIGHT, layout="NCW", activation=activation, **how)


def said(activation):
    """Return an activation as a layer reports it."""
    return DEFAULTS.get(activation, activation) if isinstance(activation, str) else activation


@each_activation
class TestRoundTrips:
    def test_property(self, activation):
        mine = layer_of(activation).activation
        assert mine == said(activation)
        if isinstance(mine, tuple):
            assert all(type(value) is float for value in mine[1:])
        again = layer_of(mine)
        assert again.activation == mine
        assert again(X).tobytes() == layer_of(activation)(X).tobytes()

    def test_repr(self, activation):
        text = repr(layer_of(activation))
        if activation is None:
            assert "activation" not in text
        else:
            assert text.endswith(f", activation={layer_of(activation).activation!r})")

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_pickle(self, activation, protocol):
        layer = layer_of(activation)
        again = pickle.loads(pickle.dumps(layer, protocol))
        assert again.activation == layer.activation
        assert repr(again) == repr(layer)
        assert again(X).tobytes() == layer(X).tobytes()

    @pytest.mark.parametrize("copier", [copy.copy, copy.deepcopy])
    def test_copy(self, activation, copier):
        layer = layer_of(activation)
        again = copier(layer)
        assert again.activation == layer.activation
        assert again(X).tobytes() == layer(X).tobytes()

    def test_explain(self, activation):
        text = layer_of(activation).explain((5, 3, 100))
        assert "kernel" in text
        assert text == layer_of(None).explain((5, 3, 100))  # the cost model ignores the activation


def same(given, plain):
    """Check that two activations mean the same to `conv` and to a layer, and that the layer reports the plain form."""
    layer, expected = layer_of(given), layer_of(plain)
    assert layer.activation == expected.activation
    assert repr(layer) == repr(expected)
    assert layer(X).tobytes() == expected(X).tobytes()
    assert pw.conv(X, WEIGHT, layout="NCW", activation=given).tobytes() == expected(X).tobytes()


@pytest.mark.parametrize("name", [name for name in definitions.NAMES if name != "clip"])
def test_a_name_in_a_tuple_or_of_a_kind_of_string(name):
    for given in ((name,), Word(name), np.str_(name), (Word(name),), Pair((name,)), "".join([name[:2], name[2:]])):
        same(given, name)
        assert type(layer_of(given).activation) is type(said(name))


@pytest.mark.parametrize(
    "kind",
    [int, float, np.float32, np.float64, np.float16, np.int8, np.uint64, np.longdouble, fractions.Fraction, bool],
)
def test_parameters_of_every_kind_of_number(kind):
    same(("clip", kind(0), kind(1)), ("clip", 0.0, 1.0))
    same(("leaky_relu", kind(1)), ("leaky_relu", 1.0))
    same(("elu", kind(1)), "elu")
    for value in layer_of(("clip", kind(0), kind(1))).activation[1:]:
        assert type(value) is float


def test_a_parameter_is_kept_in_all_its_digits():
    """A float32 layer reports and pickles parameters without rounding, but computes with rounded parameters."""
    layer = layer_of(("elu", 1 / 3))
    assert layer.activation == ("elu", 1 / 3)
    assert pickle.loads(pickle.dumps(layer)).activation == ("elu", 1 / 3)
    assert layer_of(("clip", -np.inf, np.inf)).activation == ("clip", -np.inf, np.inf)
    wide = pw.Conv(WEIGHT, layout="NCW", activation=("leaky_relu", 0.1), dtype="float64")
    assert (wide(np.full((1, 3, 1), -1.0)) == np.array([[[-0.1], [1.0], [-0.2], [-3.0 * 0.1]]])).all()


@pytest.mark.parametrize("name", definitions.NAMES)
def test_another_case_is_another_word(name):
    for word in (name.upper(), name.capitalize(), f" {name}", f"{name} ", f"{name}\0", name.replace("_", "-") + "-"):
        for given in (word, (word,), (word, 0, 1)):
            with pytest.raises(ValueError, match=r"^activation must be None or one of relu, .*, mish, got "):
                layer_of(given)


@pytest.mark.parametrize("word", ["none", "None", "identity", "gelu_new", "hard_tanh", "\udc80"])
def test_what_others_call_it_is_refused(word):
    with pytest.raises(ValueError, match=r"^activation must be None or one of relu, "):
        pw.conv(X, WEIGHT, layout="NCW", activation=word)


@pytest.mark.parametrize(
    "value", ["1", b"1", None, 1j, [1.0], np.array([1.0]), np.complex64(1), np.bool_(True), object], ids=repr
)
def test_parameters_that_are_no_real_numbers(value):
    for given in (("elu", value), ("leaky_relu", value), ("clip", value, 7), ("clip", -7, value)):
        with pytest.raises(TypeError, match=rf"^activation '{given[0]}' takes real numbers as parameters, got \("):
            layer_of(given)


class Liar(str):
    """A string that compares equal to every object."""

    def __eq__(self, other):
        return True

    def __hash__(self):
        return hash("tanh")


def test_a_word_that_says_it_is_another(python):
    """A string that compares equal to every name is refused, because its text is no name. There is no crash."""
    script = f"""
import sys
sys.path.insert(0, {__file__.rpartition("/")[0]!r})
import pointwise as pw
from test_activation_argument import Liar, layer_of
try:
    layer_of(Liar("no activation"))
except ValueError as error:
    print(error)
"""
    assert python(script).endswith("mish, got 'no activation'")


def test_errors_of_a_parameter_pass_through():
    class Broken(float):
        def __float__(self):
            raise ZeroDivisionError("broken")

    with pytest.raises(ZeroDivisionError, match="broken"):
        layer_of(("elu", Broken(1)))
