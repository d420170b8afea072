"""Test calls from many Python threads, next to another library that uses OpenMP, and without the GIL.

POINTWISE_STRESS=n runs random tests n times as long.
"""

import _ctypes
import ctypes
import itertools
import os
import pathlib
import queue
import random
import re
import shutil
import subprocess
import sys
import sysconfig
import time

import numpy as np
import pointwise as pw
import pytest
from at_once import together
from children import assert_tests_passed, pytest_command, run

STRESS = int(os.environ.get("POINTWISE_STRESS", "1"))
F = np.float32
pytestmark = pytest.mark.threading


class TestEightThreads:
    """Eight threads get the results of a single thread."""

    SHAPES = ((1, 32, 1, 1), (1, 32, 7, 7), (2, 32, 14, 14), (1, 32, 40, 40), (1, 32, 56, 56), (3, 32, 5, 9))

    @pytest.fixture
    def made(self, integers):
        weights = [integers((32, 32)) for _ in range(4)]
        convs = [pw.Conv(weight, integers(32), activation="relu") for weight in weights]
        chains = [pw.Chain([a, b]) for a, b in itertools.pairwise(convs)]
        xs = {shape: integers(shape) for shape in self.SHAPES}
        operations = {
            "Conv": convs,
            "Chain": chains,
            "conv": [lambda x, weight=weight: pw.conv(x, weight) for weight in weights],
        }
        with pw.num_threads(1):
            expected = {
                (name, i, shape): operation(xs[shape])
                for name, all_of_it in operations.items()
                for i, operation in enumerate(all_of_it)
                for shape in self.SHAPES
            }
        return operations, xs, expected

    @pytest.mark.parametrize("name", ["Conv", "Chain", "conv"])
    @pytest.mark.parametrize("shared", [True, False])
    def test_mixed_shapes_and_teams(self, name, shared, made):
        """Threads may share layers or not. They may free results of other threads and release idle memory."""
        operations, xs, expected = made
        results = queue.Queue(16)

        def work(i):
            turn = random.Random(i)
            for step in range(40 * STRESS):
                which = 0 if shared else turn.randrange(len(operations[name]))
                shape = turn.choice(self.SHAPES)
                with pw.num_threads(turn.choice((1, 2, 3))):
                    y = operations[name][which](xs[shape])
                np.testing.assert_array_equal(y, expected[name, which, shape])
                try:
                    results.put_nowait((y, y.copy()))
                    del y
                    theirs, copy = results.get_nowait()
                    np.testing.assert_array_equal(theirs, copy)
                except (queue.Full, queue.Empty):
                    pass
                if i == 0 and step % 4 == 0:
                    pw.release_memory()
                if i == 1 and step % 4 == 0:
                    pw.set_memory_limit(turn.choice((0, 1 << 17, 1 << 20, 128 << 20)))

        try:
            together(work)
        finally:
            pw.set_memory_limit(128 << 20)

    def test_settings_of_others(self, made):
        """The number of threads of the process may change during calls. The setting of a single thread stays."""
        operations, xs, expected = made
        before = pw.get_num_threads()

        def work(i):
            for step in range(60 * STRESS):
                if i == 0:
                    pw.set_num_threads(1 + step % 4)
                with pw.num_threads(1 + i % 3):
                    shape = self.SHAPES[(i + step) % len(self.SHAPES)]
                    np.testing.assert_array_equal(operations["Conv"][0](xs[shape]), expected["Conv", 0, shape])
                    assert pw.get_num_threads() == 1 + i % 3

        try:
            together(work)
        finally:
            pw.set_num_threads(before)

    def test_layers_that_come_and_go(self, made):
        """Threads may make, call and drop layers while others call."""
        operations, xs, expected = made
        shared = operations["Conv"][1]
        x, y = xs[self.SHAPES[3]], expected["Conv", 1, self.SHAPES[3]]

        def work(i):
            for _ in range(25 * STRESS):
                weight, bias = shared.weight, shared.bias
                own = pw.Conv(weight, bias, activation="relu")
                chain = pw.Chain([own])
                del own
                np.testing.assert_array_equal(chain(x), y)
                np.testing.assert_array_equal(shared(x), y)

        together(work)


OPENMP = """
#include <omp.h>
typedef void (*Body)(int);
void region(int threads, Body body) {
#pragma omp parallel num_threads(threads)
  body(omp_get_thread_num());
}
void nested(int threads, Body body) {
  omp_set_max_active_levels(3);
#pragma omp parallel num_threads(threads)
#pragma omp parallel num_threads(2)
  body(omp_get_thread_num());
  omp_set_max_active_levels(1);
}
void loop(int threads, Body body) {
#pragma omp parallel for schedule(dynamic) num_threads(threads)
  for (int i = 0; i < 6; ++i) body(i);
}
void tasks(int threads, Body body) {
#pragma omp parallel num_threads(threads)
#pragma omp single
  for (int i = 0; i < 6; ++i) {
#pragma omp task firstprivate(i)
    body(i);
  }
}
int most(void) { return omp_get_max_threads(); }
void set_most(int threads) { omp_set_num_threads(threads); }
"""


def runtimes():
    with open("/proc/self/maps") as maps:
        return set(re.findall(r"\S*/libgomp\S*", maps.read()))


def wait_until(condition):
    """Return True if a condition holds within 10 seconds. pointwise looks at loaded libraries every 2 ms."""
    end = time.monotonic() + 10
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def threading_now():
    config = pw.show_config("dicts")
    return config["threading"], config["threading_reason"]


# True if the library contains a copy of the runtime, like a repaired wheel. A copy cannot be unloaded, so another
# process runs the tests with a copy.
WITH_A_COPY = os.environ.get("POINTWISE_TEST_OPENMP") == "copy"


@pytest.fixture(scope="module")
def openmp(tmp_path_factory):
    """Build and load a library that uses OpenMP. Its runtime is the runtime of pointwise, or a copy of this runtime."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++")
    folder = tmp_path_factory.mktemp("openmp")
    (folder / "openmp.c").write_text(OPENMP)
    command = [compiler, "-x", "c", "-O1", "-fopenmp", "-shared", "-fPIC", "openmp.c", "-o", "users.so"]
    if WITH_A_COPY:
        original = subprocess.run(
            [compiler, "-print-file-name=libgomp.so.1"], capture_output=True, text=True, check=True
        )
        data = pathlib.Path(original.stdout.strip()).read_bytes()
        assert data.count(b"libgomp.so.1\0") == 1
        (folder / "libgomp.so.9").write_bytes(data.replace(b"libgomp.so.1\0", b"libgomp.so.9\0"))
        command[7:] = ["-c", "openmp.c", "-o", "openmp.o"]
        subprocess.run(command, cwd=folder, check=True)
        command = [compiler, "-shared", "openmp.o", "./libgomp.so.9", "-Wl,-rpath,$ORIGIN", "-o", "users.so"]
    subprocess.run(command, cwd=folder, check=True)
    before = threading_now()
    library = ctypes.CDLL(str(folder / "users.so"))
    expected = "libgomp.so.9" if WITH_A_COPY else "libgomp.so.1"
    if len(runtimes()) != 1 + WITH_A_COPY:
        pytest.skip(f"g++ links another OpenMP than pointwise: {runtimes()}")
    library.runtime = expected
    time.sleep(0.05)  # pointwise looks for a new library every 2 ms (look_again in openmp_runtime.cpp)
    yield library
    _ctypes.dlclose(library._handle)
    assert wait_until(lambda: threading_now() == before), threading_now()


@pytest.fixture(scope="module")
def layer():
    return pw.Conv(np.ones((64, 64), F))


class TestAnotherOpenMP:
    """A library that the tests compile uses OpenMP in the same process."""

    SHAPE = (4, 64, 56, 56)

    def team(self, layer, wanted):
        with pw.num_threads(wanted):
            return int(re.search(r"(\d+) of (\d+) thread", layer.explain(self.SHAPE))[2])

    @pytest.mark.parametrize("construct", ["region", "nested", "loop", "tasks"])
    def test_calls_within_it_are_serial(self, construct, openmp, layer):
        x, chain, seen = np.ones(self.SHAPE, F), pw.Chain([layer, layer]), []
        callback = ctypes.CFUNCTYPE(None, ctypes.c_int)

        @callback
        def body(_):
            try:
                assert self.team(layer, 4) == 1
                with pw.num_threads(4):
                    assert (layer(x) == 64).all()
                    assert (chain(x) == 4096).all()
                    assert (pw.conv(x, layer.weight) == 64).all()
                seen.append(None)
            except BaseException as error:
                seen.append(error)

        getattr(openmp, construct)(2, body)
        assert seen == [None] * {"region": 2, "nested": 4}.get(construct, 6)
        assert self.team(layer, 4) == 4

    def test_calls_join_its_threads(self, openmp, layer):
        """Calls compute on the OpenMP threads of the library, and start no other threads."""
        if os.environ.get("POINTWISE_THREADING"):
            pytest.skip("POINTWISE_THREADING forces one way")

        def joined():
            threading, reason = threading_now()
            return threading == "openmp" and "users.so uses OpenMP" in reason and openmp.runtime in reason

        assert wait_until(joined), threading_now()
        x, before = np.ones(self.SHAPE, F), openmp.most()
        try:
            openmp.set_most(5)  # regions of the library do the same, so that calls with fewer threads keep the team
            openmp.region(5, ctypes.CFUNCTYPE(None, ctypes.c_int)(lambda _: None))
            tasks = set(os.listdir("/proc/self/task"))
            for wanted in (4, 2, 5, 3):
                with pw.num_threads(wanted):
                    assert (layer(x) == 64).all()
                assert set(os.listdir("/proc/self/task")) == tasks
        finally:
            openmp.set_most(before)

    def test_workers_can_be_forced(self, openmp, python):
        script = f"""
import ctypes, time
import numpy as np, pointwise as pw
ctypes.CDLL({openmp._name!r})
time.sleep(0.05)
assert (pw.Conv(np.ones((64, 64), "f4"))(np.ones((1, 64, 56, 56), "f4")) == 64).all()
print(pw.show_config("dicts")["threading"])
"""
        assert python(script, POINTWISE_THREADING="workers") == "workers"
        assert python(script, POINTWISE_THREADING=None) == "openmp"

    def test_its_limit_holds_and_ours_is_not_set_on_it(self, openmp, layer):
        before = openmp.most()
        x = np.ones(self.SHAPE, F)
        try:
            with pw.num_threads(3):
                assert (layer(x) == 64).all()
            assert openmp.most() == before
            openmp.set_most(before + 1)
            assert self.team(layer, before + 5) == before + 1
            assert self.team(layer, 1) == 1
        finally:
            openmp.set_most(before)
        assert self.team(layer, before + 5) == before + 5

    def test_threadpoolctl_keeps_threads_from_starting(self, python):
        pytest.importorskip("threadpoolctl")
        script = """
import re, threadpoolctl
import numpy as np, pointwise as pw
from pointwise import _core
def threads():
    with open("/proc/self/status") as status:
        return int(re.search(r"Threads:\\s*(\\d+)", status.read())[1])
_core._testing.ignore_neighbours(True)
pw.set_num_threads(4)
x, layer = np.ones((4, 64, 56, 56), np.float32), pw.Conv(np.ones((64, 64), np.float32))
chain = pw.Chain([layer, layer])
before, counts = threads(), []
for limit in (1, 3):
    with threadpoolctl.threadpool_limits(limit, user_api="openmp"):  # (OpenBLAS starts threads for a limit)
        assert (layer(x) == 64).all() and (chain(x) == 4096).all() and (pw.conv(x, layer.weight) == 64).all()
    counts.append(threads() - before)
layer(x)
print(*counts, threads() - before)
"""
        assert python(script, OMP_NUM_THREADS="7") == "0 2 3"


@pytest.mark.skipif(WITH_A_COPY, reason="this process was started by this test")
def test_with_a_copy_of_the_runtime():
    assert_tests_passed(run(pytest_command(__file__, "-k", "TestAnotherOpenMP", POINTWISE_TEST_OPENMP="copy")))


@pytest.mark.skipif(not sysconfig.get_config_var("Py_GIL_DISABLED"), reason="this interpreter has a GIL")
def test_the_gil_stays_off(python):
    assert python("import pointwise, sys; print(sys._is_gil_enabled())", PYTHON_GIL=None) == "False"
    if "PYTHON_GIL" not in os.environ:
        assert not sys._is_gil_enabled()
