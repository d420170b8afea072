"""Test what the package reports about its build and the CPU, and which public names it has."""

import importlib.metadata
import importlib.resources
import platform

import numpy as np
import pointwise as pw
import pytest
from isas import ISAS as WORDS


def test_isa():
    assert pw.isa() in WORDS


def test_version():
    assert pw.__version__ == importlib.metadata.version("pointwise")


def test_show_config_as_a_dictionary(capsys):
    config = pw.show_config("dicts")
    assert config == pw.show_config(mode="dicts")
    assert capsys.readouterr().out == ""
    assert config["pointwise"] == pw.__version__
    assert config["numpy"] == np.__version__
    assert config["isa"] == pw.isa()
    assert config["threads"] == pw.get_num_threads()
    assert config["threading"] in ("workers", "openmp")
    assert config["threading_reason"]
    assert config["openmp"] is True or (config["openmp"], config["threading"]) == (False, "workers")
    assert isinstance(config["compiler"], str)
    assert set(config["isas"]) <= set(WORDS)
    assert "portable" in config["isas"]
    assert pw.isa() in config["isas"]
    if platform.machine() not in ("x86_64", "AMD64"):
        assert config["isas"] == ["portable"]


def test_show_config_prints(capsys):
    for arguments in ((), ("stdout",)):
        assert pw.show_config(*arguments) is None
        printed = capsys.readouterr().out
        for word in (pw.__version__, np.__version__, pw.isa(), "threads"):
            assert word in printed


@pytest.mark.parametrize("mode", ["dict", "", None, 1, [], "STDOUT"])
def test_show_config_of_another_mode(mode):
    with pytest.raises(ValueError, match=r'\bmode must be "stdout" or "dicts", got'):
        pw.show_config(mode)


def test_the_public_names():
    contract = (
        "conv Conv mix Chain cost Cost fold_batchnorm set_num_threads get_num_threads num_threads release_memory "
        "set_memory_limit isa show_config __version__"
    )
    assert set(contract.split()) <= set(pw.__all__)
    assert list(pw.__all__) == sorted(pw.__all__)
    for name in pw.__all__:
        assert hasattr(pw, name)
        if name != "__version__":
            assert getattr(pw, name).__doc__


def test_the_package_is_typed():
    assert importlib.resources.files("pointwise").joinpath("py.typed").is_file()


def test_blas_kernels(python):
    """`blas_kernels` reports the OpenBLAS kernels that the environment selects."""
    pytest.importorskip("threadpoolctl")
    script = "import numpy; from pointwise.bench.machine import blas_kernels; print(blas_kernels())"
    if "openblas" not in python(script):
        pytest.skip("NumPy's BLAS is another")
    assert "'openblas': 'Nehalem'" in python(script, OPENBLAS_CORETYPE="Nehalem")
