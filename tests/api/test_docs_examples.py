"""Run the examples in docstrings."""

import doctest
import importlib
import inspect
import operator
import pkgutil

import pointwise as pw
import pytest

DOCUMENTED = [
    "Chain",
    "conv",
    "conv_backward",
    "conv_grad_bias",
    "conv_grad_input",
    "conv_grad_weight",
    "Conv",
    "Conv.explain",
    "Conv.from_batchnorm",
    "Conv.tune",
    "cost",
    "Covariance",
    "QConv",
    "QConv.explain",
    "QConv.from_float",
    "calibrate",
    "conv_integer",
    "covariance",
    "fold_batchnorm",
    "gram",
    "mix",
    "qconv",
    "quantize_weight",
]
MODULES = sorted(module.name for module in pkgutil.iter_modules(pw.__path__) if module.name != "__main__")


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    module = importlib.import_module(f"pointwise.{name}")
    failed, _ = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert failed == 0


@pytest.mark.parametrize("name", DOCUMENTED)
def test_there_are_examples(name):
    assert any(test.examples for test in doctest.DocTestFinder().find(operator.attrgetter(name)(pw), name))


@pytest.mark.parametrize("name", DOCUMENTED)
def test_every_parameter_is_documented(name):
    thing = operator.attrgetter(name)(pw)
    documented = inspect.getdoc(thing).partition("Parameters\n")[2]
    for parameter in inspect.signature(thing).parameters:
        assert parameter == "self" or parameter in documented


def test_the_example_of_the_package():
    import numpy as np

    names = {"weight": np.ones((3, 2), "f4"), "bias": np.ones(3, "f4"), "x": np.ones((1, 2, 4, 2), "f4")}
    text = inspect.getdoc(pw).partition("::\n")[2]
    code = inspect.cleandoc("\n" + text.partition("\n\nThe package also")[0])
    exec(code, names)
    assert names["y"].shape == (1, 2, 4, 3)
