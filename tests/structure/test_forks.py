"""Test that a script in a fork behaves like a script of `python -c`."""

import subprocess

import pytest
from children import python_command
from forks import Forks


def test_output_and_status(forked):
    done = forked("import sys; print('out'); print('error', file=sys.stderr); sys.exit(3)", check=False)
    assert (done.returncode, done.stdout, done.stderr) == (3, "out\n", "error\n")
    done = forked("raise ValueError('wrong')", check=False)
    assert done.returncode == 1
    assert 'File "<string>", line 1' in done.stderr
    assert done.stderr.endswith("ValueError: wrong\n")
    assert forked("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", check=False).returncode == -9
    assert forked("import atexit; atexit.register(print, 'at exit')") == "at exit"


def test_no_fork_sees_another(forked, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    script = """
import os, sys
print(os.getcwd(), *(os.popen("echo $POINTWISE_TEST_WORD").read().split()))
print(sorted({"numpy", "pointwise", "pytest"} & set(sys.modules)), "leaked" in globals(), sys.argv)
leaked = True
os.environ["POINTWISE_TEST_WORD"] = "another"
import pointwise
"""
    for word in ("one", None, "two"):
        seen = [str(tmp_path), *filter(None, [word])]
        expected = f"{' '.join(seen)}\n['numpy'] False ['-c']"
        assert forked(script, POINTWISE_TEST_WORD=word) == expected


def test_timeout(request):
    forks = Forks()
    request.addfinalizer(forks.end)
    with pytest.raises(subprocess.TimeoutExpired):
        forks.run(python_command("import time; time.sleep(60)", timeout=0.5))
    assert forks.process.poll() is not None
