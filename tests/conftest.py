import os

import hypothesis
import ml_dtypes  # noqa: F401
import numpy as np
import pytest
import threadpoolctl
from children import python_command
from children import run as run_command
from forks import Forks
from pointwise import _core

# HYPOTHESIS_PROFILE=explore draws more examples, and other examples in each run. The default always draws the same
# examples.
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


def pytest_collection_modifyitems(items):
    """Put tests marked `long` first, so that no process of pytest is idle while another one runs the last long test."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(scope="session", autouse=True)
def teams():
    """Make calls use the requested number of threads, even if the machine is busy."""
    _core._testing.ignore_neighbours(True)


@pytest.fixture(scope="session", autouse=True)
def blas():
    """Give NumPy's BLAS one thread in this process. Its other threads would spin after each product."""
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        yield


@pytest.fixture
def rng(request):
    """Return a random generator that is seeded with the name of the test."""
    return np.random.default_rng(list(request.node.name.encode()))


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return np.dtype(request.param)


@pytest.fixture(params=["float16", "bfloat16"])
def half(request):
    """Return a 16-bit floating-point dtype. NumPy knows the name bfloat16 because this file imports ml_dtypes."""
    return np.dtype(request.param)


@pytest.fixture
def integers(rng):
    """Return a function that makes arrays of small integers. Their sums are exact in every floating-point type."""

    def make(shape, dtype="float32", most=8):
        return rng.integers(-most, most + 1, shape).astype(dtype)

    return make


def runs(execute):
    """Return a function that runs a script by `execute` and returns its output.

    Keyword arguments set environment variables. The value None unsets a variable.
    """

    def run(script, *, check=True, **keywords):
        done = execute(python_command(script, **keywords))
        if not check:
            return done
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return run


@pytest.fixture
def python():
    """Return a function that runs a script in a fresh interpreter and returns its output: see `runs`."""
    return runs(run_command)


@pytest.fixture(scope="session")
def forks():
    forks = Forks()
    yield forks
    forks.end()


@pytest.fixture
def forked(forks):
    """Return a function like that of `python`, for scripts that may find NumPy imported. It takes less time."""
    return runs(forks.run)
