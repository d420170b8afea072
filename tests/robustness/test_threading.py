"""Test the choice between workers and OpenMP, which POINTWISE_THREADING can override at import."""

import pointwise as pw
import pytest
from children import assert_tests_passed, pytest_command, run

WORD = 'import pointwise; print(pointwise.show_config("dicts")["threading"])'


OPENMP = pw.show_config("dicts")["openmp"]
with_openmp = pytest.param("openmp", marks=pytest.mark.skipif(not OPENMP, reason="this build has no OpenMP"))


@pytest.mark.parametrize("value", [None, "", "workers", "helpers", with_openmp])
def test_which_threads_compute(value, forked):
    assert forked(WORD, POINTWISE_THREADING=value) == ("openmp" if value == "openmp" else "workers")


@pytest.mark.parametrize("value", [None, "workers", with_openmp])
def test_the_reason(value, forked):
    reason = forked(WORD.replace('"threading"', '"threading_reason"'), POINTWISE_THREADING=value)
    default = "no other library of this process uses OpenMP" if OPENMP else "this build of pointwise has no OpenMP"
    assert reason.startswith("POINTWISE_THREADING is set" if value else default)


@pytest.mark.skipif(OPENMP, reason="this build has OpenMP")
def test_openmp_is_refused_without_openmp(python):
    script = "try:\n    import pointwise\nexcept ImportError as error:\n    print(error)"
    assert "this build of pointwise has no OpenMP" in python(script, POINTWISE_THREADING="openmp")


@pytest.mark.long
def test_the_tests_of_threads_with_openmp():
    """The tests marked `threading` also pass with OpenMP. The current run uses workers for them."""
    if not OPENMP or pw.show_config("dicts")["threading"] == "openmp":
        pytest.skip("this run already uses OpenMP, or this build has no OpenMP")
    assert_tests_passed(run(pytest_command(mark="threading", POINTWISE_THREADING="openmp")))


# If a worker wakes up on the caller's CPU, it moves to another CPU. With a single CPU, no move is possible.
ONE_CPU = """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
import numpy as np, pointwise as pw
from pointwise import _core
_core._testing.ignore_neighbours(True)
x, layer = np.ones((1, 64, 28, 28), "f4"), pw.Conv(np.ones((64, 64), "f4"))
with pw.num_threads(4):
    assert all((layer(x) == 64).all() for _ in range(2000))
print("alive")
"""


@pytest.mark.parametrize("threading", ["workers", with_openmp])
def test_more_threads_than_cpus(threading, python):
    assert python(ONE_CPU, POINTWISE_THREADING=threading, timeout=100) == "alive"


def test_workers_let_others_have_their_cpu(python):
    """Workers sleep if there is no call for some milliseconds, so an idle process uses no CPU."""
    script = """
import time
import numpy as np, pointwise as pw
x, layer = np.ones((1, 64, 56, 56), "f4"), pw.Conv(np.ones((64, 64), "f4"))
with pw.num_threads(4):
    layer(x)
time.sleep(0.2)
before = time.process_time()
time.sleep(0.5)
print(time.process_time() - before)
"""
    assert float(python(script)) < 0.1
