"""Test calls during the end of the interpreter, signals, the end of threads, and in subinterpreters.

Each script runs in its own process. If a script hangs or crashes, the test fails. POINTWISE_STRESS=n runs random
scripts n times as often.
"""

import os

import pytest

STRESS = int(os.environ.get("POINTWISE_STRESS", "1"))

SETUP = """
import atexit, os, signal, sys, threading, time
import numpy as np
import pointwise as pw
from pointwise import _core

_core._testing.ignore_neighbours(True)
pw.set_num_threads(2)
x = np.ones((1, 64, 56, 56), np.float32)
layer = pw.Conv(np.ones((64, 64), np.float32))
chain = pw.Chain([layer, layer])

def right():
    return (
        bool((layer(x) == 64).all()) and bool((chain(x) == 4096).all()) and bool((pw.conv(x, layer.weight) == 64).all())
    )

def start(work, *args, daemon=False):
    thread = threading.Thread(target=work, args=args, daemon=daemon)
    thread.start()
    return thread
"""


@pytest.fixture
def run(python):
    """Return a function that runs a script after SETUP, with Python's debug allocator, and returns its output."""

    def run(script, **variables):
        return python(SETUP + script, timeout=120, PYTHONMALLOC="debug", PYTHONFAULTHANDLER="1", **variables)

    return run


class TestEnd:
    """The interpreter may end while layers and results are alive and calls run."""

    # Sleeps in the main thread while the interpreter ends, so that other threads return from their calls.
    SLOW_END = """
class Slow:
    def __del__(self, sleep=time.sleep):
        sleep(0.3)
sys.slow = Slow()
"""

    @pytest.mark.parametrize(
        "call",
        [
            "layer(x)",
            "chain(x)",
            "pw.conv(x, layer.weight)",
            "layer(slow_x, out=out)",
            "layer(x, input_scale=slow_scale)",
            "_core._testing.fma_peak(1, 'float32', 1, 0.001)",
            "_core._testing.streaming_copy(out, x, 2)",
        ],
    )
    def test_daemon_threads_at_work(self, call, run):
        """If a daemon thread returns from a call after the end of the interpreter, it uses no object of Python."""
        script = f"""{self.SLOW_END}
class Slowly:
    def __init__(self, array):
        self.array = array
    def __array__(self, dtype=None, copy=None):
        time.sleep(0.001)
        return self.array
slow_x, slow_scale = Slowly(x), Slowly(np.ones((1, 64), np.float32))
def work():
    out = np.empty_like(x)
    while True:
        {call}
started = [start(work, daemon=True) for _ in range(4)]
time.sleep(0.05)
assert all(thread.is_alive() for thread in started)
print("end")
"""
        for _ in range(STRESS):
            assert run(script) == "end"

    def test_results_and_layers_that_outlive_their_modules(self, run):
        script = """
y, z = layer(x), chain(x)
globals()["view"] = y[:, 3:5]
sys.modules["kept"] = [y, z, layer, chain]
sys.kept = [y.reshape(-1)[5:], memoryview(z), layer, chain]
cycle = [layer(x)]
cycle.append(cycle)
class Late:
    def __del__(self, layer=layer, x=x):
        assert layer(x).sum() == 64 * x.size
late = Late()
late.self = late
sys.late = Late()
print("end")
"""
        assert run(script) == "end"

    def test_atexit_handlers_that_call(self, run):
        script = """
kept = layer(x)
def last():
    thread = []
    try:
        thread = [start(lambda: print(right()))]
    except RuntimeError:  # 3.12 and later start no threads any more
        print(True)
    for t in thread: t.join()
    pw.release_memory()
    print(right(), int(kept[0, 0, 0, 0]), flush=True)
    pw.set_memory_limit(0)
atexit.register(last)
"""
        assert run(script).split() == ["True", "True", "64"]

    def test_threads_that_outlive_the_main_thread(self, run):
        """Threads that are not daemons may compute after the main thread has ended, and may call sys.exit."""
        script = """
def work():
    local = threading.local()
    local.y = layer(x)
    for _ in range(20):
        assert right()
    sys.exit("not printed")
for _ in range(4): start(work)
"""
        assert run(script) == ""

    @pytest.mark.parametrize("way", ["os._exit(7)", "os.kill(os.getpid(), signal.SIGTERM)", "sys.exit(7)"])
    def test_abrupt_ends(self, way, python):
        """Any thread may end the process abruptly while others compute."""
        script = f"""{SETUP}
def work():
    while True:
        layer(x), chain(x)
for _ in range(3): start(work, daemon=True)
time.sleep(0.03)
if "sys.exit" not in {way!r}:
    start(lambda: {way})
    time.sleep(60)
{way}
"""
        for _ in range(STRESS):
            done = python(script, check=False, timeout=60, PYTHONMALLOC="debug")
            assert done.returncode == (-15 if "SIGTERM" in way else 7), done.stderr
            assert done.stderr == ""


class TestSignals:
    """The handler of a signal runs after the current call. It may raise an exception, and nothing leaks."""

    LONG = """
x = np.ones((4, 64, 56, 56), np.float32)
layer = pw.Conv(np.ones((512, 64), np.float32))
out = np.empty((4, 512, 56, 56), np.float32)
pw.set_num_threads(2)
def memory():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE") >> 20
class Interrupted(Exception): pass
"""

    @pytest.mark.parametrize(
        ("name", "call"),
        [
            ("SIGINT", "layer(x, out=out)"),
            ("SIGALRM", "layer(x, out=out)"),
            ("SIGALRM", "chain(x, out=out)"),
            ("SIGALRM", "pw.conv(x, layer.weight, out=out)"),
        ],
    )
    def test_it_comes_after_the_call(self, name, call, run):
        """If a signal comes while a call writes, `out` is complete when the handler runs."""
        script = f"""{self.LONG}
chain = pw.Chain([layer])
seen = []
def send():
    while out[0, 0, 0, 0] == 0 and out[-1, -1, -1, -1] == 0: pass  # the call has begun
    os.kill(os.getpid(), signal.{name})
if {name!r} == "SIGALRM":
    def handler(*_):
        seen.append(bool((out == 64).all()) and bool((layer(x[:1, :, :2, :2]) == 64).all()))
        raise Interrupted
    signal.signal(signal.SIGALRM, handler)
for _ in range(5):
    out[...] = 0
    thread = start(send)
    try:
        {call}
        while True: pass  # the call came first
    except (KeyboardInterrupt, Interrupted) as error:
        seen.append(bool((out == 64).all()))
    thread.join()
print(all(seen), len(seen))
"""
        assert run(script) == f"True {5 if name == 'SIGINT' else 10}"

    def test_interrupted_results_go_back(self, run):
        script = f"""{self.LONG}
def interrupt(calling):
    calling.wait()
    time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)
used = []
for i in range(12):
    calling = threading.Event()
    thread = start(interrupt, calling)
    try:
        calling.set()  # only now may the signal come
        while True: y = layer(x)
    except KeyboardInterrupt:
        pass
    thread.join()
    y = None
    assert _core._testing.idle_bytes() <= 2 * out.nbytes, _core._testing.idle_bytes()
    pw.release_memory()  # a signal that comes early leaves fewer results to keep than one that comes late
    used.append(memory())
print(max(used[3:]) - used[2] < out.nbytes >> 20 or used)
"""
        assert run(script) == "True"


def test_subinterpreters(run):
    """A subinterpreter gets NumPy's ImportError or right results, and the main interpreter goes on.

    The subinterpreter imports pointwise before NumPy. The package must then import NumPy before its extension, because
    the import of the extension alone would hang.
    """
    script = """
try:
    import _interpreters as interpreters  # 3.13
except ImportError:
    import _xxsubinterpreters as interpreters
inner = '''
try:
    import pointwise as pw, numpy as np
except ImportError:
    print("ImportError")
else:
    kept = pw.Conv(np.ones((3, 2), "f4"), layout="NC")(np.ones((5000, 2), "f4"))
    print(bool((kept == 2).all()))
'''
import warnings
warnings.simplefilter("ignore")
y = layer(x)
for config in ("isolated", "legacy"):
    try:
        id = interpreters.create(config)
    except (TypeError, ValueError):
        id = interpreters.create(isolated=config == "isolated")
    interpreters.run_string(id, inner)
    interpreters.destroy(id)
    assert bool((layer(x) == y).all()) and right()
print("end")
"""
    *inner, end = run(script).split()
    assert end == "end"
    assert len(inner) == 2
    assert set(inner) <= {"ImportError", "True"}
