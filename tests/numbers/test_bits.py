"""Test that all ways to compute a layer of a real network give the same bits.

The ways differ in threads, batches, layouts, views, instruction sets and calls.

By default, layers have smaller images than in the networks, but all of their channels. POINTWISE_TEST_BITS=full uses
the full images and takes minutes.
"""

import functools
import hashlib
import itertools
import json
import math
import os
import sys

import isas
import numpy as np
import pointwise as pw
import pytest
from pointwise import _core
from pointwise.bench import layers

FULL = os.environ.get("POINTWISE_TEST_BITS") == "full"
MOST_MACS = 1e6  # limit for the multiply-adds of an image. One pixel may need more
IMAGES = 3
TEAMS = (1, 2, 3, 7, 64)
ACTIVATIONS = (None, "relu", "gelu", ("clip", -1, 1), "silu", ("leaky_relu", 0.1), "tanh", "hardswish")
DTYPES = ("float32", "float64", "float16", "bfloat16")  # NumPy knows bfloat16 because conftest.py imports ml_dtypes


class Problem:
    """A layer with its arrays. The numbers in the arrays are the same on every instruction set."""

    def __init__(self, case, dtype):
        self.name = f"{case.network}/{case.layer}"
        seed = list(f"{self.name} {dtype}".encode())
        rng = np.random.default_rng(seed)
        self.h, self.w = (case.h, case.w) if FULL else self.smaller(case)

        def numbers(*shape):
            return rng.standard_normal(shape, np.float32).astype(dtype) * dtype.type(1.1)  # fills all digits of float64

        self.x = numbers(IMAGES, case.cin, self.h, self.w)
        self.weight, self.bias = numbers(case.cout, case.cin // case.groups), numbers(case.cout)
        if dtype.itemsize == 2:
            self.bias = self.bias.astype(np.float32) / np.float32(3)  # fills all digits of float32
        self.how = {
            "stride": case.stride,
            "groups": case.groups,
            "activation": ACTIVATIONS[sum(seed) % len(ACTIVATIONS)],
        }
        out = (IMAGES, case.cout, -(-self.h // case.stride), -(-self.w // case.stride))
        self.residual = numbers(*out) if sum(seed) % 3 == 0 else None

    @staticmethod
    def smaller(case):
        """Return the height and width of a smaller image, which are no multiples of a tile."""
        pixels = MOST_MACS / (case.cout * case.cin / case.groups) * case.stride**2
        side = max(3, math.isqrt(int(pixels)))
        return min(case.h, side), min(case.w, side + 1)

    def plain(self):
        """Return the result that defines the bits: one thread, one call, arrays as they are."""
        with pw.num_threads(1):
            return pw.conv(self.x, self.weight, self.bias, residual=self.residual, **self.how)

    def others(self):
        """Yield the name and the NCHW result of each other way to compute the layer."""
        nchw = pw.Conv(self.weight, self.bias, **self.how)
        nhwc = pw.Conv(self.weight, self.bias, layout="NHWC", **self.how)
        for threads in TEAMS:
            with pw.num_threads(threads):
                yield f"NCHW, {threads} threads", nchw(self.x, self.residual)
                yield f"NHWC, {threads} threads", first(nhwc(last(self.x), last(self.residual)))
        with pw.num_threads(3):
            yield from self.calls(nchw, nhwc)
            yield from self.batches(nchw, nhwc)
            yield from self.views(nchw, nhwc)

    def calls(self, nchw, nhwc):
        x, r, arrays = self.x, self.residual, (self.weight, self.bias)
        yield "conv", pw.conv(x, *arrays, residual=r, **self.how)
        yield "conv, NHWC", first(pw.conv(last(x), *arrays, layout="NHWC", residual=last(r), **self.how))
        yield "a chain of one", pw.Chain([nchw])(x, r)
        yield "a chain of one, NHWC", first(pw.Chain([nhwc])(last(x), last(r)))
        if self.how["stride"] == 1:
            flat = pw.Conv(*arrays, layout="NCW", **self.how)
            y = flat(x.reshape(*x.shape[:2], -1), None if r is None else r.reshape(*r.shape[:2], -1))
            yield "NCW", y.reshape(*y.shape[:2], *x.shape[2:])

    def batches(self, nchw, nhwc):
        for name, splits in (("image by image", range(IMAGES + 1)), ("one image and the others", (0, 1, IMAGES))):
            parts = [slice(a, b) for a, b in itertools.pairwise(splits)]
            xs, rs = [self.x[i] for i in parts], [None if self.residual is None else self.residual[i] for i in parts]
            yield name, np.concatenate([nchw(x, r) for x, r in zip(xs, rs, strict=True)])
            ys = [first(nhwc(last(x), last(r))) for x, r in zip(xs, rs, strict=True)]
            yield f"{name}, NHWC", np.concatenate(ys)

    def views(self, nchw, nhwc):
        x, r = self.x, self.residual
        n, c, h, w = nchw(x).shape
        wide = np.empty((n, c + 5, h, w), x.dtype)
        yield "out, some channels", nchw(x, r, wide[:, 3 : c + 3])
        wide = np.empty((n, h, w, c + 5), x.dtype)
        yield "out, some channels, NHWC", first(nhwc(last(x), last(r), wide[..., 3 : c + 3]))
        wide = np.empty((n, c, h + 2, w + 3), x.dtype)
        yield "out, a crop", nchw(x, r, wide[:, :, 1:-1, 1:-2])
        yield "NHWC seen as NCHW", nchw(first(last(x)), r, first(np.empty((n, h, w, c), x.dtype)))
        if r is not None:
            both = r.copy()
            yield "in place of the residual", nchw(x, both, both)


def last(a):
    """Return an NCHW array as a contiguous NHWC array."""
    return None if a is None else np.ascontiguousarray(a.transpose(0, 2, 3, 1))


def first(a):
    """Return an NHWC array as an NCHW view."""
    return a.transpose(0, 3, 1, 2)


def digest(y):
    return hashlib.sha256(np.ascontiguousarray(y)).hexdigest()


@functools.cache
def hashes_of(dtype):
    """Return hashes of two results for each layer. Other instruction sets must give the same hashes."""
    found, dtype = {}, np.dtype(dtype)
    for network in layers.default_networks():
        for case in layers.read_network(network):
            problem = Problem(case, dtype)
            nhwc = pw.Conv(problem.weight, problem.bias, layout="NHWC", **problem.how)
            with pw.num_threads(3):
                y = first(nhwc(last(problem.x), last(problem.residual)))
            found[f"{problem.name} {dtype}"] = [digest(problem.plain()), digest(y)]
    return found


def hashes_of_all(dtypes=DTYPES):
    return {name: both for dtype in dtypes for name, both in hashes_of(dtype).items()}


@pytest.fixture
def forced_teams():
    """Make calls use the requested number of threads, even for little work."""
    _core._testing.force_teams(True)
    yield
    _core._testing.force_teams(False)


canonical_only = pytest.mark.skipif(pw.isa() == "portable", reason="the portable kernels keep the bound, not the bits")


@canonical_only
@pytest.mark.parametrize("network", layers.default_networks())
def test_every_way_gives_the_same_bits(network, dtype, forced_teams):
    for case in layers.read_network(network):
        problem = Problem(case, dtype)
        expected = digest(problem.plain())
        for name, y in problem.others():
            assert digest(y) == expected, f"{problem.name}: {name}"


@canonical_only
@pytest.mark.parametrize(
    ("other", "dtypes"), [("avx2", DTYPES), ("avx512", DTYPES), ("avx512_bf16", ("float16", "bfloat16"))]
)
def test_other_instruction_sets_give_the_same_bits(other, dtypes, forked):
    supported = _core.supported_isas()
    same = isas.floating(pw.isa()) if other != "avx512_bf16" else pw.isa()
    if other not in supported or other == same:
        pytest.skip(f"this run has the kernels of {other}, or it is missing in {', '.join(supported)}")
    script = f"""
import json, sys
import ml_dtypes
sys.path.insert(0, {os.path.dirname(__file__)!r})
import pointwise
assert pointwise.isa() == {other!r}
import test_bits
test_bits._core._testing.force_teams(True)
print(json.dumps(test_bits.hashes_of_all({dtypes!r})))
"""
    theirs = json.loads(forked(script, POINTWISE_ISA=other, timeout=1200))
    mine = hashes_of_all(dtypes)
    assert len(mine) > 100
    for name, both in mine.items():
        assert both == theirs[name], name
        assert len(set(both)) == 1, name


def test_forced_teams_have_all_threads(forked):
    """A forced team starts all requested threads. Without force_teams, such a small layer uses one thread."""
    script = """
import re, numpy as np, pointwise as pw
def threads():
    with open("/proc/self/status") as status:
        return int(re.search(r"Threads:\\s*(\\d+)", status.read())[1])
pw._core._testing.ignore_neighbours(True)
x, before = np.ones((3, 8, 3, 4), np.float32), threads()
pw.set_num_threads(7)
pw.Conv(np.ones((5, 8), np.float32))(x)
print(threads() - before)
pw._core._testing.force_teams(True)
pw.Conv(np.ones((5, 8), np.float32))(x)
print(threads() - before)
"""
    if not sys.platform.startswith("linux"):
        pytest.skip("no /proc/self/status to see threads by")
    assert forked(script).split() == ["0", "6"]
