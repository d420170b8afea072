"""Run soak.py for two seconds, and test that it finds wrong results and leaks."""

import os
import pathlib
import subprocess

import pytest
from children import PYTHON

HERE = pathlib.Path(__file__).parent
pytestmark = pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="there is no /proc/self/statm")


def soak(*argv, before=""):
    """Run the code `before`, which may make the package wrong on purpose. Then run soak.py."""
    script = f"import runpy, sys\n{before}\nsys.argv[1:] = {argv!r}\nrunpy.run_path('soak.py', run_name='__main__')"
    return subprocess.run([*PYTHON, "-c", script], cwd=HERE, capture_output=True, text=True, timeout=300)


def test_two_seconds():
    done = soak("--seconds", "2", "--seed", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    first, *lines = done.stdout.splitlines()
    assert first.startswith("seed 1, ")
    assert " steps without a mismatch: " in lines[0]


def test_a_wrong_result_is_seen_and_can_be_seen_again():
    spoil = """
import pointwise
right = pointwise.conv
def conv(*arguments, **keywords):
    y = right(*arguments, **keywords)
    if y.size > 100:
        y[(0,) * y.ndim] += 1
    return y
pointwise.conv = conv
"""
    done = soak("--seconds", "60", "--seed", "1", before=spoil)
    assert done.returncode == 1, done.stdout + done.stderr
    said = done.stdout.splitlines()[-1]
    assert said.startswith("MISMATCH: ")
    step = next(line for line in done.stdout.splitlines() if line.startswith("step "))
    number = step.split()[1]
    again = soak("--seed", "1", "--step", number, before=spoil)
    assert again.returncode == 1
    assert step in again.stdout
    assert soak("--seed", "1", "--step", number).returncode == 0


@pytest.mark.skipif("asan" in os.environ.get("LD_PRELOAD", ""), reason="the address sanitizer keeps freed memory")
def test_a_leak_is_seen():
    leak = """
import pointwise
right, kept = pointwise.conv, []
def conv(*arguments, **keywords):
    kept.append(bytearray(b"leaked" * 200_000))
    return right(*arguments, **keywords)
pointwise.conv = conv
"""
    done = soak("--seconds", "2", "--seed", "1", before=leak)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "GROWN: bytes resident grew by" in done.stdout
