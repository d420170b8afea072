"""Test that forked children give right results, do not hang and do not leak, whatever the parent was doing.

A hang is a failure, because an alarm ends each child after some seconds. POINTWISE_STRESS=n forks n times as often.
"""

import os

import pytest

pytestmark = pytest.mark.threading
STRESS = int(os.environ.get("POINTWISE_STRESS", "1"))

# First lines of every script. These lines make no call.
SETUP = """
import concurrent.futures, multiprocessing, os, random, signal, sys, threading, time, warnings
import numpy as np
import pointwise as pw
from pointwise import _core

warnings.simplefilter("ignore", DeprecationWarning)  # Python warns about forks in a process with threads
_core._testing.ignore_neighbours(True)
layer = pw.Conv(np.ones((64, 64), np.float32))
chain = pw.Chain([layer, layer])
shapes = [(1, 64, s, s) for s in (1, 2, 7, 12, 14, 20, 28)]

def right(shapes=shapes):
    for shape in shapes:
        x = np.ones(shape, np.float32)
        if not ((layer(x) == 64).all() and (chain(x) == 4096).all() and (pw.conv(x, layer.weight) == 64).all()):
            return False
    return True

def fork(work, seconds=20):
    child = os.fork()
    if child == 0:
        code = 3
        try:
            signal.alarm(seconds)
            code = 0 if work() else 1
        finally:
            os._exit(code)
    return child

def wait(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

def busy(count=4):
    stop = threading.Event()
    def work(seed):
        turn = random.Random(seed)
        while not stop.is_set():
            assert right(turn.choices(shapes))
            if seed == 0: pw.release_memory()
    workers = [threading.Thread(target=work, args=(seed,)) for seed in range(count)]
    for worker in workers: worker.start()
    def end():
        stop.set()
        for worker in workers: worker.join()
    return end
"""


# If another thread allocates during a fork, a lock of the sanitizer stays locked in the child. Then the child hangs.
inherits_locks = pytest.mark.skipif("LD_PRELOAD" in os.environ, reason="a sanitizer's allocator has locks of its own")


@pytest.fixture
def run(python):
    return lambda script, **variables: python(SETUP + script, timeout=120, **variables)


@inherits_locks
@pytest.mark.parametrize("threads", [1, 2])
def test_while_others_compute(threads, run):
    """Children work, even if a thread of the parent was using the result pool, a plan cache or a team at the fork."""
    script = f"""
pw.set_num_threads({threads})
kept = layer(np.ones((1, 64, 56, 56), np.float32))
end = busy()
codes = []
for _ in range({40 * STRESS}):
    time.sleep(random.random() * 2e-3)
    codes.append(wait(fork(lambda: right() and bool((kept == 64).all()))))
end()
print(set(codes), right())
"""
    assert run(script) == "{0} True"


@inherits_locks
def test_while_the_first_call_finds_out_what_it_runs_on(run):
    """A child works, even if a thread of the parent was making the first call of the process at the fork."""
    script = f"""
def call(): return right(shapes[:1])
def parent():
    worker = threading.Thread(target=call)
    worker.start()
    children = []
    for _ in range(3):
        time.sleep(random.random() * 1e-4)
        children.append(fork(call, 5))
    return [wait(child) for child in children] == [0] * 3
print({{wait(fork(parent)) for _ in range({60 * STRESS})}})
"""
    assert run(script, OMP_NUM_THREADS=None) == "{0}"


@pytest.mark.skipif("LD_PRELOAD" in os.environ, reason="sanitizers keep freed memory for a while")
def test_children_do_not_grow(run):
    script = f"""
def used():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")
def steady():
    if not all(right() for _ in range(10)): return False
    before = used()
    return all(right() for _ in range(40)) and used() - before < 1 << 20
pw.set_num_threads(2)
end = busy()
codes = []
for _ in range({8 * STRESS}):
    time.sleep(random.random() * 2e-3)
    codes.append(wait(fork(steady)))
end()
print(set(codes), wait(fork(steady)))
"""
    assert run(script) == "{0} 0"


# The child must find its functions by name, so it runs a layer, a chain, and functions of the package.
@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(method, run):
    """Pool and ProcessPoolExecutor work while other threads compute. Only forked children use one thread."""
    script = f"""
signal.alarm(100)
context = multiprocessing.get_context({method!r})
end = busy(2)
xs = [np.full(shape, 2, np.float32) for shape in shapes]
with context.Pool(2) as pool:
    ys = pool.map_async(layer, xs).get(60)
    zs = pool.map_async(chain, xs).get(60)
    print(all((y == 128).all() and y.shape == x.shape for x, y in zip(xs, ys)), all((z == 8192).all() for z in zs))
with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as executor:
    ys = list(executor.map(layer, xs, timeout=60))
    w = executor.submit(pw.conv, xs[-1], layer.weight, activation="relu").result(60)
    z = executor.submit(chain, xs[-1]).result(60)
    print(all((y == 128).all() for y in ys), bool((w == 128).all()), bool((z == 8192).all()))
    text = executor.submit(layer.explain, (8, 64, 112, 112)).result(60)
    print("2 of 2 thread(s)" in text, "1 of 1 thread(s)" in text)
end()
"""
    alone = method == "fork"
    assert run(script, OMP_NUM_THREADS="2").split() == ["True"] * 5 + [str(not alone), str(alone)]
