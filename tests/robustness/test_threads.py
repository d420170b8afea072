"""Test the number of threads of calls, the release of the GIL, and forks.

Settings, environment variables, affinity and limits of other libraries determine the number of threads.
"""

import ctypes
import os
import re
import threading
import time

import numpy as np
import pointwise as pw
import pytest

F = np.float32
pytestmark = pytest.mark.threading


@pytest.fixture
def restore():
    before = pw.get_num_threads()
    yield before
    pw.set_num_threads(before)


def in_a_thread(function):
    results = []
    worker = threading.Thread(target=lambda: results.append(function()))
    worker.start()
    worker.join()
    return results[0]


class TestSettings:
    def test_of_the_process(self, restore):
        for n in (1, 2, 7, np.int64(3), True):
            pw.set_num_threads(n)
            assert pw.get_num_threads() == n
            assert type(pw.get_num_threads()) is int
            assert in_a_thread(pw.get_num_threads) == n
        assert in_a_thread(lambda: pw.set_num_threads(5)) is None
        assert pw.get_num_threads() == 5

    def test_of_the_calling_thread(self, restore):
        with pw.num_threads(restore + 3):
            assert pw.get_num_threads() == restore + 3
            assert in_a_thread(pw.get_num_threads) == restore
            pw.set_num_threads(restore + 1)  # the thread's own setting comes first
            assert pw.get_num_threads() == restore + 3
            assert in_a_thread(pw.get_num_threads) == restore + 1
        assert pw.get_num_threads() == restore + 1

    def test_nesting(self, restore):
        with pw.num_threads(2):
            with pw.num_threads(5), pw.num_threads(3):
                assert pw.get_num_threads() == 3
            assert pw.get_num_threads() == 2
        assert pw.get_num_threads() == restore

    def test_exceptions(self, restore):
        with pytest.raises(KeyError), pw.num_threads(5), pw.num_threads(6):  # noqa: PT012
            assert pw.get_num_threads() == 6
            raise KeyError
        assert pw.get_num_threads() == restore
        with pw.num_threads(4):
            with pytest.raises(ValueError, match="n must"), pw.num_threads(0):
                raise AssertionError("not reached")
            assert pw.get_num_threads() == 4
        assert pw.get_num_threads() == restore

    def test_threads_do_not_see_each_other(self, restore):
        barrier, seen = threading.Barrier(4), []

        def work(n):
            with pw.num_threads(n):
                barrier.wait(timeout=60)
                seen.append(pw.get_num_threads() == n)
                barrier.wait(timeout=60)
            seen.append(pw.get_num_threads() == restore)

        workers = [threading.Thread(target=work, args=(n,)) for n in (2, 3, 4, 5)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert seen == [True] * 8

    @pytest.mark.parametrize(
        ("n", "exception", "message"),
        [
            (0, ValueError, r"\bn must be .*1.*got 0"),
            (-1, ValueError, r"\bn must be .*1.*got -1"),
            (2**31, ValueError, r"\bn must be .*got 2147483648"),
            (2**70, ValueError, r"\bn must be .*got"),
            (1.0, TypeError, r"\bn must be an integer, got float"),
            ("2", TypeError, r"\bn must be an integer, got str"),
            (None, TypeError, r"\bn must be an integer, got NoneType"),
        ],
    )
    def test_errors(self, n, exception, message, restore):
        with pytest.raises(exception, match=message):
            pw.set_num_threads(n)
        with pytest.raises(exception, match=message), pw.num_threads(n):
            raise AssertionError("not reached")
        assert pw.get_num_threads() == restore

    def test_more_threads_than_work_or_cpus(self, integers):
        x, weight = integers((1, 3, 1000)), integers((4, 3))
        expected = pw.conv(x, weight, layout="NCW")
        with pw.num_threads(64):
            np.testing.assert_array_equal(pw.conv(x, weight, layout="NCW"), expected)
            big = np.ones((1, 64, 20000), F)
            assert (pw.conv(big, np.ones((32, 64), F), layout="NCW") == 64).all()


class TestDefaults:
    SCRIPT = "import pointwise; print(pointwise.get_num_threads())"

    @pytest.mark.parametrize("n", ["1", "3", "5,2", " 2"])
    def test_omp_num_threads(self, n, forked):
        assert forked(self.SCRIPT, OMP_NUM_THREADS=n) == n.strip().split(",")[0]

    def test_a_setting_comes_before_omp_num_threads(self, forked):
        script = """
import pointwise
pointwise.set_num_threads(4)
print(pointwise.get_num_threads())
with pointwise.num_threads(2):
    print(pointwise.get_num_threads())
"""
        assert forked(script, OMP_NUM_THREADS="3").split() == ["4", "2"]

    def test_omp_num_threads_that_is_no_number(self, forked):
        for text in ("", "many", "0", "-3"):
            done = forked(self.SCRIPT, OMP_NUM_THREADS=text, check=False)  # libgomp prints a warning
            assert done.returncode == 0
            assert 1 <= int(done.stdout) <= os.cpu_count()

    def test_affinity(self, forked):
        cpus = sorted(os.sched_getaffinity(0))
        unset = {"OMP_NUM_THREADS": None}
        assert 1 <= int(forked(self.SCRIPT, **unset)) <= len(cpus)
        pinned = f"import os; os.sched_setaffinity(0, [{cpus[-1]}]); "
        assert forked(pinned + self.SCRIPT, **unset) == "1"
        assert forked(pinned + self.SCRIPT, OMP_NUM_THREADS="2") == "2"

    def test_importing_is_not_yet_deciding(self, forked):
        """OMP_NUM_THREADS may change between the import and the first use."""
        script = "import os, pointwise; os.environ['OMP_NUM_THREADS'] = '1'; print(pointwise.get_num_threads() >= 1)"
        assert forked(script, OMP_NUM_THREADS=None) == "True"


class TestThreadsThatRun:
    SCRIPT = """
import re, sys
import numpy as np
import pointwise as pw
def threads():
    with open("/proc/self/status") as status:
        return int(re.search(r"Threads:\\s*(\\d+)", status.read())[1])
x, layer = np.ones((1, 64, 112, 112), np.float32), pw.Conv(np.ones((64, 64), np.float32))
before = threads()
"""

    @pytest.mark.parametrize("n", [1, 3])
    def test_as_many_as_were_set(self, n, forked):
        script = self.SCRIPT + f"with pw.num_threads({n}):\n    layer(x)\nprint(threads() - before)"
        assert forked(script) == str(n - 1)
        script = self.SCRIPT + f"pw.set_num_threads({n}); layer(x); print(threads() - before)"
        assert forked(script) == str(n - 1)
        assert forked(self.SCRIPT + "layer(x); print(threads() - before)", OMP_NUM_THREADS=str(n)) == str(n - 1)

    def test_one_for_little_work(self, forked):
        script = self.SCRIPT + "pw.set_num_threads(8); layer(x[:, :, :2, :2]); print(threads() - before)"
        assert forked(script) == "0"


class TestLimitsOfOthers:
    """`explain` reports the number of threads, with limits that other libraries set."""

    @pytest.fixture
    def layer(self):
        return pw.Conv(np.ones((256, 256), F))

    SHAPE = (4, 256, 56, 56)

    def explained(self, layer, n):
        with pw.num_threads(n):
            return layer.explain(self.SHAPE)

    def test_threadpoolctl(self, layer):
        threadpoolctl = pytest.importorskip("threadpoolctl")
        x = np.ones(self.SHAPE, F)
        one, six = self.explained(layer, 1), self.explained(layer, 6)
        assert one != six
        with threadpoolctl.threadpool_limits(1):
            if "openmp" not in {pool["user_api"] for pool in threadpoolctl.threadpool_info()}:
                pytest.skip("threadpoolctl sees no OpenMP library")
            assert self.explained(layer, 6) == one
            assert (layer(x) == 256).all()
        assert self.explained(layer, 6) == six
        with threadpoolctl.threadpool_limits(3):
            assert self.explained(layer, 6) == self.explained(layer, 3)
            assert self.explained(layer, 1) == one
            assert (layer(x) == 256).all()
        with threadpoolctl.threadpool_limits(limits={"openmp": 1}):
            assert self.explained(layer, 6) == one
        with threadpoolctl.threadpool_limits(limits=1, user_api="blas"):
            layer(x)
        assert self.explained(layer, 6) == six

    def test_serial_inside_another_parallel_region(self, layer, integers):
        """A call within a parallel region of GNU OpenMP uses one thread."""
        with open("/proc/self/maps") as maps:
            paths = set(re.findall(r"\S*/libgomp\S*", maps.read()))
        if len(paths) != 1:
            pytest.skip(f"libgomp is not loaded, or more than once: {paths or 'none'}")
        gomp = ctypes.CDLL(paths.pop())
        x, weight = integers((2, 64, 2000)), integers((32, 64))
        expected = pw.conv(x, weight, layout="NCW")
        one, seen = self.explained(layer, 1), []

        @ctypes.CFUNCTYPE(None, ctypes.c_void_p)
        def body(_):
            try:
                seen.append(self.explained(layer, 6) == one)
                seen.append(np.array_equal(pw.conv(x, weight, layout="NCW"), expected))
            except BaseException as error:
                seen.append(error)

        gomp.GOMP_parallel(body, None, 2, 0)
        assert seen == [True] * 4
        assert self.explained(layer, 6) != one


def test_the_gil_is_released(integers):
    """Other threads run Python while a call computes."""
    layer, x = pw.Conv(integers((512, 512)), layout="NC"), integers((6000, 512))
    out = np.empty((6000, 512), F)
    layer(x[:10])
    span = []

    def work():
        with pw.num_threads(1):
            span.append(time.perf_counter())
            layer(x, None, out)
            span.append(time.perf_counter())

    for _ in range(100):
        span.clear()
        ticks = []
        worker = threading.Thread(target=work)
        worker.start()
        while len(span) < 2:
            ticks.append(time.perf_counter())
            time.sleep(0)
        worker.join()
        begin, end = span
        # If the call held the GIL, ticks would come only near the beginning and the end of the call.
        if sum(begin + 0.3 * (end - begin) < tick < begin + 0.7 * (end - begin) for tick in ticks) > 2:
            return
    raise AssertionError("the GIL is held for the length of a call")


FORK = """
import os, sys, multiprocessing, signal, warnings
warnings.simplefilter("ignore")
import numpy as np
import pointwise as pw
x, layer = np.ones((2, 64, 56, 56), np.float32), pw.Conv(np.ones((48, 64), np.float32))
def right(_=None):
    pw.set_num_threads(3)
    y = layer(x)
    return bool((y == 64).all()) and bool((pw.conv(x, layer.weight) == 64).all())
"""


class TestForks:
    """A child of a process that has used threads works. Scripts have a time limit, so a hang is a failure."""

    @pytest.mark.parametrize("used", ["pw.set_num_threads(3); assert right()", "pass"])
    def test_fork(self, used, python):
        script = f"""{FORK}
{used}
child = os.fork()
if child == 0:
    signal.alarm(60)
    os._exit(0 if right() else 3)
_, status = os.waitpid(child, 0)
print(os.waitstatus_to_exitcode(status), right())
"""
        assert python(script, timeout=250) == "0 True"

    def test_a_childs_child(self, python):
        script = f"""{FORK}
assert right()
def descend(depth):
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        ok = right() and (depth == 0 or descend(depth - 1))
        os._exit(0 if ok else 3)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
print(descend(2), right())
"""
        assert python(script, timeout=250) == "True True"

    def test_multiprocessing(self, python, tmp_path):
        script = f"""{FORK}
if __name__ == "__main__":
    assert right()
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print(pool.map_async(right, range(6)).get(timeout=60))
        print(pool.apply_async(layer, (x[:1, :, :2, :2],)).get(timeout=60).sum())
    assert right()
"""
        assert python(script, timeout=250).split("\n") == [str([True] * 6), str(64.0 * 48 * 4)]

    def test_fork_from_another_thread(self, python):
        script = f"""{FORK}
import threading
assert right()
def work():
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        os._exit(0 if right() else 3)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
codes = []
worker = threading.Thread(target=work)
worker.start()
worker.join()
print(codes, right())
"""
        assert python(script, timeout=250) == "[0] True"


@pytest.mark.parametrize("before", [1, 2], ids=["cold", "warm"])
@pytest.mark.parametrize("allowed", [0, 2])
def test_a_system_that_starts_no_more_threads(before, allowed, forked):
    """A team has only as many threads as the system can start. Otherwise OpenMP would end the process."""
    script = f"""
import os, resource
import numpy as np, pointwise as pw
from pointwise import _core
_core._testing.ignore_neighbours(True)
x, layer = np.ones((4, 128, 56, 56), "f4"), pw.Conv(np.ones((128, 128), "f4"))
chain = pw.Chain([layer, layer])
def right():
    return (layer(x) == 128).all() and (chain(x) == 128**2).all() and (pw.conv(x, layer.weight) == 128).all()
with pw.num_threads({before}):
    assert right()
def processes(user):
    count = 0
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and entry.stat().st_uid == user:
            count += len(os.listdir(entry.path + "/task"))
    return count
user = os.getuid() or 65534  # root has no such limit
os.setgid(os.getgid() or 65534), os.setuid(user)
limit = {allowed} and processes(user) + {allowed} or 1
resource.setrlimit(resource.RLIMIT_NPROC, (limit, limit))
pw.set_num_threads(8)
assert right() and right()
print("alive")
"""
    assert forked(script) == "alive"


def test_no_number_of_threads_ends_the_process(forked):
    """The size of a team is limited, even if a very large number of threads is requested."""
    script = """
import resource
resource.setrlimit(resource.RLIMIT_AS, (9 << 30, 9 << 30))
import numpy as np, pointwise as pw
x, weight = np.ones((1, 1024, 64, 64), "f4"), np.ones((1024, 1024), "f4")
for threads in (3000, 65535):
    pw.set_num_threads(threads)
    assert (pw.conv(x, weight) == 1024).all()
print("alive")
"""
    if "libasan" in os.environ.get("LD_PRELOAD", ""):
        pytest.skip("the address sanitizer needs more address space than the limit leaves")
    assert forked(script) == "alive"


def test_affinity_after_import_is_no_limit_of_openmp(forked):
    script = """
import os
import pointwise as pw
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
os.environ["OMP_NUM_THREADS"] = "7"
pw.set_num_threads(3)
text = pw.Conv(__import__("numpy").ones((256, 256), "f4")).explain((1, 256, 56, 56))
assert "3 of 3 thread(s)" in text, text
"""
    forked(script, OMP_NUM_THREADS=None)


@pytest.mark.parametrize(("value", "threads"), [("3", 3), ("3,2", 3), ("3 ", 3), ("3 , 2", 3), ("+3", 3)])
def test_omp_num_threads_is_read_as_openmp_does(forked, value, threads):
    assert forked("import pointwise; print(pointwise.get_num_threads())", OMP_NUM_THREADS=value) == str(threads)


WARNINGS = """
import os
import warnings

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import pointwise as pw
    pw.get_num_threads()
    pw.conv(__import__("numpy").ones((1, 2, 3, 4), "f4"), [[1, 2]])
print(pw.get_num_threads() <= len(os.sched_getaffinity(0)))
for warning in caught:
    print(warning.category.__name__, warning.filename, warning.message)
"""


@pytest.mark.parametrize("value", ["0", "-1", "3abc", "many", "2.5", "3,", ",3", "3,0", "3,x", "3 4", "3,,4"])
def test_a_wrong_omp_num_threads_is_ignored_with_a_warning(forked, value):
    few, *warned = forked(WARNINGS, OMP_NUM_THREADS=value).splitlines()
    assert few == "True"
    message = "OMP_NUM_THREADS must be a positive integer or a list of positive integers, got "
    assert warned == [f"RuntimeWarning <string> {message}{value!r}: pointwise ignores it"]


@pytest.mark.parametrize("value", [None, "", " ", "1", "1,1", " 1 , 2 ", "100000", "1" * 30])
def test_a_right_omp_num_threads_gives_no_warning(forked, value):
    assert len(forked(WARNINGS, OMP_NUM_THREADS=value).splitlines()) == 1


def test_a_large_omp_num_threads(forked):
    assert forked("import pointwise; print(pointwise.get_num_threads())", OMP_NUM_THREADS="100000") == "65535"
