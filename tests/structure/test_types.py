"""Type checkers accept the package and a user's script, and infer the dtypes that the script names."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pointwise
import pytest

SCRIPT = pathlib.Path(__file__).parents[1] / "support" / "typed_script.py"
PACKAGE = pathlib.Path(pointwise.__file__).parent
MODULES = len([*PACKAGE.rglob("*.py"), *PACKAGE.rglob("*.pyi")])
# mypy finds an installed package by itself, and refuses the folder of installed packages as a path.
INSTALLED = PACKAGE.parent.name == "site-packages"
ENVIRONMENT = dict(os.environ) if INSTALLED else os.environ | {"MYPYPATH": str(PACKAGE.parent)}
WRONG = """
import numpy as np
import pointwise as pw
pw.conv(np.ones((1, 2, 3, 4)), np.ones((2, 2)), strides=2)
pw.Conv(np.ones((2, 2)), groups="two")
"""


def mypy(*files):
    pytest.importorskip("mypy")
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", os.devnull, "--config-file", os.devnull, *files]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)


def pyright(folder, checked):
    """Run pyright on copies, because it checks no files behind symbolic links or in `site-packages`."""
    pytest.importorskip("pyright")
    if checked != PACKAGE:
        shutil.copy(checked, folder / "script.py")
    shutil.copytree(PACKAGE, folder / "pointwise", ignore=shutil.ignore_patterns("__pycache__"))
    settings = {"include": ["pointwise" if checked == PACKAGE else "script.py"], "exclude": []}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--project", folder, "--stats"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert int(re.search(r"Total files checked: (\d+)", done.stdout)[1]) == (1 if checked != PACKAGE else MODULES)
    return done


def test_mypy_accepts_the_script():
    done = mypy(SCRIPT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_mypy_sees_wrong_arguments(tmp_path):
    (tmp_path / "wrong.py").write_text(WRONG)
    done = mypy(tmp_path / "wrong.py")
    assert done.returncode == 1
    assert "wrong.py:4: error" in done.stdout
    assert "wrong.py:5: error" in done.stdout


@pytest.mark.parametrize("what", [SCRIPT, PACKAGE], ids=["script", "package"])
def test_pyright_accepts(what, tmp_path):
    done = pyright(tmp_path, what)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 errors" in done.stdout


def test_pyright_sees_wrong_arguments(tmp_path):
    (tmp_path / "wrong.py").write_text(WRONG)
    done = pyright(tmp_path, tmp_path / "wrong.py")
    assert done.returncode == 1
    assert "script.py:4:" in done.stdout
    assert "script.py:5:" in done.stdout


def test_the_stubs_are_those_of_the_extension():
    pytest.importorskip("mypy")
    allowed = pathlib.Path(__file__).with_name("stubtest_allowed.txt")
    command = [sys.executable, "-m", "mypy.stubtest", "pointwise._core", "--allowlist", allowed]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 0, done.stdout + done.stderr
