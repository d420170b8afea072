import os
import subprocess

import hypothesis
import numpy as np
import pytest
from children import PYTHON
from pointwise import _core

# HYPOTHESIS_PROFILE=explore looks at new examples, and at more of them; the default looks at the same ones every time.
hypothesis.settings.register_profile(
    "default",
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=150,
    suppress_health_check=list(hypothesis.HealthCheck),
)
hypothesis.settings.register_profile(
    "explore", hypothesis.settings.get_profile("default"), derandomize=False, max_examples=5000
)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def pytest_configure(config):
    config.addinivalue_line("markers", "kernels: depends on the instruction set; test_isas.py runs it on each of them")


@pytest.fixture(scope="session", autouse=True)
def teams():
    """Calls have the threads that they ask for, however busy the machine is."""
    _core.ignore_neighbours(True)


@pytest.fixture
def rng(request):
    """Random numbers, the same ones for the same test."""
    return np.random.default_rng(list(request.node.name.encode()))


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return np.dtype(request.param)


@pytest.fixture
def integers(rng):
    """Arrays of small integers, whose sums are exact in every floating-point type."""

    def make(shape, dtype="float32", most=8):
        return rng.integers(-most, most + 1, shape).astype(dtype)

    return make


@pytest.fixture
def python():
    """Run a script in a fresh interpreter, and return what it prints. Keywords set variables; None unsets them."""

    def run(script, *, check=True, timeout=300, **variables):
        environment = {k: v for k, v in os.environ.items() if k not in variables}
        environment |= {k: v for k, v in variables.items() if v is not None}
        done = subprocess.run([*PYTHON, "-c", script], env=environment, capture_output=True, text=True, timeout=timeout)
        if not check:
            return done
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run
