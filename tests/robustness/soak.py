"""Run random calls of every kind for a given time. Results must be right, and memory must not grow.

    python tests/robustness/soak.py --seconds 3600

The script prints its seed first, and a line every minute. If a result is wrong, the script prints the seed, the step
and the problem, and exits with 1. `--seed S --step K` repeats only this step, and `--problem "{...}"` computes only
this problem.
"""

import argparse
import ast
import collections
import contextlib
import ctypes
import gc
import math
import os
import pathlib
import pickle
import secrets
import signal
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))

import numpy as np
import pointwise as pw
import reference
import views
from pointwise import _core
from soak_problems import FLOATS, INTEGERS, Arrays, Mismatch, draw, make, parameters, run
from soak_wrong import run_wrong

MIB = 1 << 20
# Limits for the growth from the end of the warm-up to the end of the run. The bytes include the workspace that a
# calling thread keeps (at most twice 8 MiB) and fragments of the heap. Blocks and objects include caches of Python and
# of NumPy.
MOST_BYTES, MOST_BLOCKS, MOST_OBJECTS = 16 * MIB, 3000, 1000
KEPT = 8  # number of layers that later steps may use


def sanitized():
    """Return True if the process uses AddressSanitizer. AddressSanitizer keeps freed memory and fills address space."""
    return "asan" in os.environ.get("LD_PRELOAD", "")


def in_child(work):
    """Run `work` in a forked child, and raise Mismatch if it fails or takes more than a minute."""
    sys.stdout.flush()
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the child does not use the parent's threads
        child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(60)
            work()
            status = 0
        except BaseException as error:
            os.write(writing, f"{type(error).__name__}: {error}".encode()[:4000])
        finally:
            os._exit(status)
    os.close(writing)
    with open(reading, "rb") as file:
        said = file.read().decode()
    status = os.waitpid(child, 0)[1]
    if status != 0:
        raise Mismatch(f"the child ended with status {status}: {said}")


def with_little_memory(rng, problem):
    """Limit the memory of a child for one call, and then compute a problem without the limit.

    The limited call must give the right result, or raise MemoryError and leave `out` unchanged.
    """
    import resource

    c_in, pixels, margin = int(rng.integers(1, 9)), int(rng.integers(1 << 14, 1 << 18)), int(rng.integers(1, 48)) * MIB
    layer = pw.Conv(np.ones((64, c_in), np.float32), layout="NWC" if rng.integers(2) else "NCW")
    shapes = [(1, pixels, c_in), (1, pixels, 64)] if layer.layout == "NWC" else [(1, c_in, pixels), (1, 64, pixels)]
    x = np.ones(shapes[0], np.float32)[..., :: 1 if rng.integers(2) else -1]
    out = np.full(shapes[1], 7, np.float32) if rng.integers(2) else None
    resource.setrlimit(resource.RLIMIT_AS, (resident(0) + margin, -1))
    expected = c_in
    try:
        y = layer(x, out=out)
    except MemoryError:
        y, expected = out, 7
    resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
    if y is not None and not (y.min() == y.max() == expected):
        raise Mismatch(f"{expected} everywhere expected, got {y.min()} to {y.max()}")
    del y
    run(problem)


def resident(column=1):
    with open("/proc/self/statm") as file:
        return int(file.read().split()[column]) * os.sysconf("SC_PAGESIZE")


class Soak:
    def __init__(self, seed):
        self.seed, self.kept, self.counts = seed, [], collections.Counter()
        self.problems = []  # problems of the current step, to be printed after a wrong result
        self.kinds = {
            "conv": 20,
            "mix": 5,
            "gradients": 5,
            "quantized": 8,
            "covariance": 2,
            "layer": 8,
            "kept": 30,
            "chain": 8,
            "pickle": 3,
            "wrong": 20,
            "threads": 2,
        }
        self.kinds |= {"settings": 2, "fork": 1} | ({} if sanitized() else {"little memory": 1})
        weights = np.array(list(self.kinds.values()), float)
        self.chances = weights / weights.sum()

    def step(self, number):
        rng = np.random.default_rng([self.seed, number])
        kind = str(rng.choice(list(self.kinds), p=self.chances))
        self.problems.clear()
        self.counts[kind] += 1
        try:
            getattr(self, "do_" + kind.replace(" ", "_"))(rng)
        except BaseException:
            print(f"\nstep {number} of seed {self.seed}: {kind}", *self.problems, sep="\n")
            raise

    def draw(self, rng, layer=None):
        self.problems.append(draw(rng, layer=layer))
        return self.problems[-1]

    def do_conv(self, rng):
        run(self.draw(rng))

    def do_mix(self, rng):
        shape = rng.integers(1, 9, rng.integers(1, 8))
        axis = int(rng.integers(len(shape)))
        x = rng.integers(0, 8, shape).astype(str(rng.choice(["float64", "uint8", "int16", *FLOATS])))
        x = x.transpose(rng.permutation(x.ndim))
        matrix = rng.integers(-8, 9, (int(rng.integers(1, 20)), x.shape[axis]))
        choices = INTEGERS + FLOATS if x.dtype.kind in "ui" else () if x.dtype == np.float64 else FLOATS
        y_dtype = str(rng.choice(choices)) if choices and rng.integers(2) else None
        self.problems.append(
            {"shape": x.shape, "axis": axis, "dtype": str(x.dtype), "matrix": matrix.shape, "out_dtype": y_dtype}
        )
        with pw.num_threads(int(rng.integers(1, 4))):
            y = pw.mix(x, matrix, axis=axis, out_dtype=y_dtype)
        expected = np.moveaxis(np.tensordot(matrix, x.astype(float), (1, axis)), 0, axis)
        if y_dtype in INTEGERS:
            limits = np.iinfo(y_dtype)
            expected = expected.clip(limits.min, limits.max)
        if not np.array_equal(y, expected.astype(y.dtype)):
            raise Mismatch("mix differs from tensordot")

    def do_gradients(self, rng):
        """Check the adjoint identity exactly, and that the number of threads changes no bits."""
        problem = self.draw(rng)
        how = {name: value for name, value in problem["layer"]["how"].items() if name != "activation"}
        x, dtype = Arrays(problem | {"residual": None}).x, problem["layer"]["dtype"]
        weight = rng.integers(-4, 5, problem["layer"]["weight"]).astype(dtype)
        x = np.asarray(rng.integers(0, 5, x.shape).astype(x.dtype), order=str(rng.choice(["C", "F"])))
        y = pw.conv(x, weight, **how)
        grad = np.asarray(rng.integers(-4, 5, y.shape).astype(dtype), order=str(rng.choice(["C", "F"])))
        noise, bits = grad + rng.standard_normal(grad.shape).astype(dtype), set()
        others = tuple(i for i, axis in enumerate(how["layout"]) if axis != "C")
        for threads in (1, int(rng.integers(2, 5))):
            with pw.num_threads(threads):
                dx, dw, db = pw.conv_backward(grad, x, weight, **how)
                bits.add(pw.conv_grad_weight(noise, x, **how).tobytes())
            if weight.dtype.name in FLOATS[1:]:  # results are rounded, so compare them with those of float32
                wide = pw.conv_backward(*(a.astype(np.float32) for a in (grad, x, weight)), **how)
                pairs = zip((dx, dw, db), wide, strict=True)
                if not all(np.array_equal(a, b.astype(a.dtype)) for a, b in pairs):
                    raise Mismatch("the gradients differ from those of float32")
                continue
            products = [np.vdot(a.astype(float), b) for a, b in ((y, grad), (x, dx), (weight, dw))]
            if len(set(products)) > 1 or not np.array_equal(db, grad.astype(float).sum(others)):
                raise Mismatch(f"the gradients are not the adjoint: {products}")
        if len(bits) > 1:
            raise Mismatch("the number of threads changes bits")

    def do_quantized(self, rng):
        """Check the sums and the results of a quantized convolution, with the shapes of another problem."""
        problem = self.draw(rng)
        how = {name: value for name, value in problem["layer"]["how"].items() if name != "activation"}
        x_zero, weight_zero, y_zero = (np.dtype(d).type(rng.integers(128)) for d in rng.choice(["uint8", "int8"], 3))
        shape, ways = Arrays(problem | {"residual": None}).x.shape, problem["ways"]
        x, weight = (
            views.put(way, np.frombuffer(rng.bytes(math.prod(size)), zero.dtype).reshape(size))
            for way, size, zero in ((ways[0], shape, x_zero), (ways[1], problem["layer"]["weight"], weight_zero))
        )
        shifted = (x.astype("f4") - np.float32(x_zero), weight.astype("f4") - np.float32(weight_zero))
        total = reference.exact_value(*shifted, **how)
        limits = np.iinfo(y_zero.dtype)
        expected = (np.rint(total.astype("f4") * np.float32(2**-9)) + float(y_zero)).clip(limits.min, limits.max)
        out, base = views.empty(ways[2], expected.shape, y_zero.dtype)
        with pw.num_threads(problem["threads"] or 2):
            sums = pw.conv_integer(x, weight, x_zero, weight_zero, **how)
            pw.qconv(x, 0.5, x_zero, weight, 1, weight_zero, 256, y_zero, out=out, **how)
        if not np.array_equal(sums, total):
            raise Mismatch("sums of integers are not exact")
        try:
            views.assert_wrote_only(ways[2], base, expected.astype(y_zero.dtype))
        except AssertionError:
            raise Mismatch("quantized results differ from the definition, or bytes around out were written") from None

    def do_covariance(self, rng):
        shape = [int(n) for n in rng.integers(1, 30, rng.integers(1, 5))]
        axis = int(rng.integers(len(shape)))
        x = rng.integers(0, 9, shape).astype(str(rng.choice(["float64", "uint8", "int16", *FLOATS])))
        self.problems.append({"shape": shape, "axis": axis, "dtype": str(x.dtype)})
        rows = np.moveaxis(x.astype(float), axis, 0).reshape(shape[axis], -1)
        if not np.array_equal(pw.gram(x, axis=axis), rows @ rows.T):
            raise Mismatch("gram differs from its definition")
        expected = np.cov(rows, ddof=0).reshape(shape[axis], shape[axis])
        if not np.allclose(pw.covariance(x, axis=axis, ddof=0), expected, rtol=0, atol=1e-4):
            raise Mismatch("covariance differs from numpy.cov")

    def do_layer(self, rng):
        problem = self.draw(rng)
        layer = make(problem["layer"])
        run(problem, layer)
        run(self.draw(rng, problem["layer"]), layer)
        if len(self.kept) == KEPT:
            del self.kept[rng.integers(KEPT)]
        self.kept.append((problem["layer"], layer))

    def one_kept(self, rng):
        if not self.kept:
            self.do_layer(rng)
        return self.kept[rng.integers(len(self.kept))]

    def do_kept(self, rng):
        of, layer = self.one_kept(rng)
        run(self.draw(rng, of), layer)

    def do_pickle(self, rng):
        of, layer = self.one_kept(rng)
        again = pickle.loads(pickle.dumps(layer, int(rng.integers(0, pickle.HIGHEST_PROTOCOL + 1))))
        weight, bias = parameters(of)
        if not np.array_equal(again.weight, weight) or (again.bias is None) != (bias is None):
            raise Mismatch("the pickled layer has other weights")
        run(self.draw(rng, of), again)
        self.kept.append((of, again))
        del self.kept[:-KEPT]

    def do_chain(self, rng):
        """Check that a chain gives the same bits as its layers, and check the first layer against its definition."""
        problem = self.draw(rng)
        first = problem["layer"]
        first["how"] |= {"groups": 1, "padding": 0}
        axis = first["how"]["layout"].index("C")
        problem["x"] = (*problem["x"][:axis], first["weight"][1], *problem["x"][axis + 1 :])
        layers = [make(first)]
        run(problem, layers[0])
        for _ in range(int(rng.integers(1, 4))):
            like, c_out = draw(rng)["layer"], int(rng.integers(1, 60))
            if like["how"]["activation"] and like["how"]["activation"][0] == "prelu":
                like["how"]["activation"] = ("prelu", tuple(map(float, rng.choice([-2, 0.5, 1.75], c_out))))
            like["how"] |= {"layout": first["how"]["layout"], "stride": 1, "padding": 0, "groups": 1}
            like |= {"dtype": first["dtype"], "weight": (c_out, len(layers[-1].weight))}
            layers.append(make(like))
            self.problems.append({"next layer": like})
        chain = pw.Chain(layers)
        x = Arrays(problem | {"residual": None}).x
        expected = x
        for layer in layers:
            expected = layer(expected)
        residual = np.full(expected.shape, 0.5, expected.dtype) if rng.integers(2) else None
        if residual is not None:
            value = x
            for layer in layers[:-1]:
                value = layer(value)
            expected = layers[-1](value, residual)
        with pw.num_threads(problem["threads"] or 2):
            y = chain(x, residual)
        if y.tobytes() != expected.tobytes() and not np.array_equal(y, expected, equal_nan=True):
            raise Mismatch("the chain differs from its layers")

    def do_wrong(self, rng):
        self.problems += run_wrong(rng, self.draw(rng) | {"y_dtype": None})

    def do_threads(self, rng):
        """Run Python threads. All threads call one layer, and each thread also computes its own problems."""
        of, layer = self.one_kept(rng)
        plans = [[self.draw(rng, of if i % 2 else None) for i in range(4)] for _ in range(3)]

        def work(plan):
            for i, problem in enumerate(plan):
                run(problem, layer if i % 2 else None)

        with ThreadPoolExecutor(len(plans)) as pool:
            list(pool.map(work, plans))

    def do_settings(self, rng):
        pw.set_memory_limit(int(rng.choice([0, MIB, 128 * MIB])))
        pw.set_num_threads(int(rng.integers(1, 5)))
        _core._testing.ignore_neighbours(bool(rng.integers(2)))
        if rng.integers(2):
            pw.release_memory()
        run(self.draw(rng))

    def do_fork(self, rng):
        of, layer = self.one_kept(rng)
        problems = [self.draw(rng), self.draw(rng, of)]

        def work():
            for problem, made in zip(problems, (None, layer), strict=True):
                run(problem, made)

        in_child(work)

    def do_little_memory(self, rng):
        problem = self.draw(rng)
        in_child(lambda: with_little_memory(rng, problem))

    def used(self):
        """Return the bytes, blocks and objects in use, after everything that can be freed is freed."""
        self.kept.clear()
        pw.release_memory()
        gc.collect()
        with contextlib.suppress(AttributeError, OSError):
            ctypes.CDLL(None).malloc_trim(0)  # only glibc has it
        return resident(), sys.getallocatedblocks(), len(gc.get_objects())


def keep_nothing_that_is_freed():
    """Make glibc return large blocks to the system at once, and use a single heap.

    Otherwise heaps of threads that have ended keep NumPy's blocks, and memory grows.
    """
    with contextlib.suppress(AttributeError, OSError):
        libc, threshold, arenas = ctypes.CDLL(None), -3, -8
        libc.mallopt(threshold, 128 << 10)
        libc.mallopt(arenas, 1)


def soak(seconds, seed):
    """Run steps for `seconds`, and return a line for each quantity that grew beyond its bound."""
    keep_nothing_that_is_freed()
    this, start, number = Soak(seed), time.monotonic(), 0
    warm, minute = None, start + 60
    while (now := time.monotonic()) < start + seconds:
        if warm is None and now > start + min(60, seconds / 3):
            warm = this.used()
        if now > minute:
            minute += 60
            nbytes, blocks, objects = this.used()
            memory = f"{nbytes / MIB:.1f} MiB, {blocks} blocks, {objects} objects"
            print(f"{now - start:.0f} s: {number} steps, {memory}", flush=True)
        this.step(number)
        number += 1
    last = this.used()
    warm = warm or last
    counts = ", ".join(f"{count} {kind}" for kind, count in this.counts.most_common())
    print(f"{number} steps without a mismatch: {counts}")
    words, bounds = ("bytes resident", "blocks of Python", "objects"), (MOST_BYTES, MOST_BLOCKS, MOST_OBJECTS)
    grown = []
    for word, before, after, most in zip(words, warm, last, bounds, strict=True):
        print(f"{word}: {before} after the warm-up, {after} at the end")
        if after - before > most and not (sanitized() and word == words[0]):
            grown.append(f"{word} grew by {after - before}, the limit is {most}")
    return grown


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=secrets.randbits(31))
    parser.add_argument("--step", type=int, help="run only this step")
    parser.add_argument("--problem", type=ast.literal_eval, help="compute only this problem, in the printed form")
    arguments = parser.parse_args()
    try:
        if arguments.problem is not None:
            run(arguments.problem)
            run(arguments.problem, make(arguments.problem["layer"]))
            return 0
        print(f"seed {arguments.seed}, {pw.isa()}", flush=True)
        if arguments.step is not None:
            Soak(arguments.seed).step(arguments.step)
            return 0
        grown = soak(arguments.seconds, arguments.seed)
    except Mismatch as error:
        print(f"MISMATCH: {error}")
        return 1
    for line in grown:
        print(f"GROWN: {line}")
    return 1 if grown else 0


if __name__ == "__main__":
    sys.exit(main())
