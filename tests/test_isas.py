"""Every instruction set in turn, each in a process of its own: it is chosen when the package is imported."""

import csv
import os
import pathlib
import sys

import pointwise as pw
import pytest

ISAS = ("portable", "avx2", "avx512")
HERE = pathlib.Path(__file__).parent
SUPPORTED = pw.show_config("dicts")["isas"]


def need(isa):
    if isa not in SUPPORTED:
        pytest.skip(f"this CPU, or this build, has no {isa}: it has {', '.join(SUPPORTED)}")


@pytest.mark.any_cpu
@pytest.mark.parametrize("isa", ISAS)
def test_a_forced_isa_runs(isa, python):
    need(isa)
    assert python("import pointwise; print(pointwise.isa())", POINTWISE_ISA=isa) == isa


@pytest.mark.any_cpu
def test_the_best_isa_runs_unless_forced(python):
    script = "import pointwise; print(pointwise.isa(), *pointwise.show_config('dicts')['isas'])"
    for variable in (None, ""):
        chosen, *supported = python(script, POINTWISE_ISA=variable).split()
        assert supported == SUPPORTED
        assert chosen == max(supported, key=ISAS.index)


@pytest.mark.parametrize("isa", ISAS)
def test_the_kernels_tests(isa, python):
    """The tests marked `kernels`, for each instruction set but the one that they run on anyway."""
    need(isa)
    if isa == pw.isa():
        pytest.skip(f"{isa} is what this very run uses")
    names = ("numbers", "operation", "layouts", "out", "environment", "subnormals")
    names += ("activations", "activation_paths", "input_scale")
    script = f"""
import os, sys
NAMES = {names!r}
os.chdir({os.fspath(HERE.parent)!r})
import pointwise, pytest
assert pointwise.isa() == {isa!r}
files = [f"tests/test_{{name}}.py" for name in NAMES]
code = pytest.main(["-q", "-x", "-m", "kernels", "-p", "no:cacheprovider", *files])
sys.stderr.write(f"pytest ended with {{code}}\\n")
sys.exit(int(code))
"""
    done = python(script, POINTWISE_ISA=isa, check=False, timeout=900)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    ran = done.stdout.strip().splitlines()[-1]
    assert " passed" in ran
    assert " failed" not in ran


@pytest.mark.parametrize("word", ["avx", "AVX2", "sse", "avx512,avx2", " avx2", "none"])
def test_an_unknown_isa(word, python):
    script = """
try:
    import pointwise
except ImportError as error:
    print(error)
"""
    printed = python(script, POINTWISE_ISA=word)
    assert "POINTWISE_ISA" in printed
    assert word in printed
    assert "avx2" in printed or sys.platform != "linux"
    assert "portable" in printed


@pytest.mark.any_cpu
@pytest.mark.parametrize("isa", ISAS)
def test_an_isa_that_this_cpu_has_not(isa, python):
    if isa in SUPPORTED:
        pytest.skip(f"this CPU has {isa}")
    script = """
try:
    import pointwise
except ImportError as error:
    print(error)
"""
    printed = python(script, POINTWISE_ISA=isa)
    assert "POINTWISE_ISA" in printed
    assert isa in printed


# Hashes of the results of real layers: each line is read as a layer's name and the figures of a layer table.
HASHES = """
import hashlib, sys, numpy as np, pointwise as pw
for line in LAYERS:
    name, *figures = line.split(",")
    n, c_in, c_out, h, w, stride, groups = map(int, figures)
    rng = np.random.default_rng(list(name.encode()))
    for dtype in ("f4", "f8"):
        x = rng.standard_normal((n, c_in, h, w)).astype(dtype)
        weight = rng.standard_normal((c_out, c_in // groups)).astype(dtype)
        bias = rng.standard_normal(c_out).astype(dtype)
        y = pw.conv(x, weight, bias, stride=stride, groups=groups, activation="relu")
        z = pw.conv(np.ascontiguousarray(x.transpose(0, 2, 3, 1)), weight, bias, layout="NHWC", stride=stride,
                    groups=groups, activation="relu")
        z = np.ascontiguousarray(z.transpose(0, 3, 1, 2))
        assert y.tobytes() == z.tobytes(), name
        print(name, dtype, hashlib.sha256(y).hexdigest())
"""


COLUMNS = ("n", "cin", "cout", "h", "w", "stride", "groups")


def real_layers(most_macs=30e6):
    """The smallest layers of each table, every third of those that do not take long, and odd ones of our own."""
    lines = ["odd,1,7,33,1,1,1,1", "odd batch,5,65,47,3,3,1,1", "odd groups,2,66,34,5,9,2,2", "long,1,2051,17,7,7,1,1"]
    for table in sorted((HERE.parent / "bench" / "layers").glob("*.csv")):
        with open(table, newline="") as file:
            rows = list(csv.DictReader(file))
        chosen = []
        for row in rows:
            n, c_in, c_out, h, w, stride, groups = (int(row[column]) for column in COLUMNS)
            macs = n * c_out * (c_in // groups) * (h // stride) * (w // stride)
            if macs <= most_macs:
                chosen.append((macs, f"{row['network']}/{row['layer']},{n},{c_in},{c_out},{h},{w},{stride},{groups}"))
        lines += [line for _, line in sorted(chosen)[::3]]
    return lines


def test_avx2_and_avx512_give_the_same_bits_on_real_layers(python):
    need("avx2")
    need("avx512")
    script = f"LAYERS = {real_layers()!r}\n{HASHES}"
    avx2, avx512 = (python(script, POINTWISE_ISA=isa) for isa in ("avx2", "avx512"))
    assert avx2.count("\n") > 10
    assert avx2 == avx512
