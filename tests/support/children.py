"""Start other interpreters for tests.

Under an emulator of another CPU (`qemu-x86_64 -cpu Nehalem python -m pytest`) a child would run on the real CPU. So
POINTWISE_TEST_EMULATOR holds the command that runs every interpreter that a test starts.
"""

import os
import pathlib
import shlex
import subprocess
import sys

EMULATOR = shlex.split(os.environ.get("POINTWISE_TEST_EMULATOR", ""))
PYTHON = [*EMULATOR, sys.executable]
SUPPORT = pathlib.Path(__file__).parent
TESTS = SUPPORT.parent


def python_command(*argv, timeout=300, **variables):
    """Return the arguments of `subprocess.run` for a script, or for a file with arguments.

    The fresh interpreter finds the modules of this folder. Keyword arguments set environment variables. The value None
    unsets a variable.
    """
    variables = {"PYTHONPATH": os.pathsep.join(filter(None, [str(SUPPORT), os.environ.get("PYTHONPATH")]))} | variables
    environment = {k: v for k, v in os.environ.items() if k not in variables}
    environment |= {k: v for k, v in variables.items() if v is not None}
    argv = ["-c", *argv] if len(argv) == 1 else argv
    return {"args": [*PYTHON, *map(os.fspath, argv)], "env": environment, "timeout": timeout}


def pytest_command(*argv, mark=None, **variables):
    """Return the arguments of `subprocess.run` for pytest in the root folder.

    With a mark, pytest runs the tests that have this mark. It collects only the files that name the mark, because
    collecting all files takes seconds. pytest does not rewrite assertions, which takes seconds. To see the values of
    a failed assertion, run the test with the same environment variables and without this option. The child starts no
    further processes of pytest, because other tests run at the same time.
    """
    if mark is not None:
        files = sorted(path for path in TESTS.rglob("test_*.py") if f"mark.{mark}" in path.read_text())
        argv = ["-m", mark, *files, *argv]
    command = f"import os, sys, pytest; os.chdir({os.fspath(TESTS.parent)!r}); sys.exit(pytest.main(sys.argv[1:]))"
    argv = ["-q", "-x", "-n", "0", "--assert=plain", "-p", "no:cacheprovider", *argv]
    return python_command("-c", command, *argv, timeout=900, **variables)


def run(command):
    """Run a command of `python_command` or `pytest_command`."""
    return subprocess.run(**command, capture_output=True, text=True)


def assert_tests_passed(done):
    """Check that a run of pytest ran at least one test, and that all of its tests passed."""
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    ran = done.stdout.strip().splitlines()[-1]
    assert " passed" in ran
    assert " failed" not in ran
