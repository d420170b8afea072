"""Nothing outside an array is touched: arrays against pages that fault, in processes that may die of it.

Kernel rows on every kind of view, and scratch memory, are the business of tests/cpp/bounds_test.cpp.
"""

import os
import pathlib
import subprocess
import sys

import pointwise as pw
import pytest

HERE = pathlib.Path(__file__).parent
ISAS = ("portable", "avx2", "avx512")


def run(section, isa, tmp_path):
    note = tmp_path / "case"
    done = subprocess.run(
        [sys.executable, HERE / "bounds_cases.py", section, note],
        env=os.environ | {"POINTWISE_ISA": isa},
        capture_output=True,
        text=True,
        timeout=600,
    )
    return done, note.read_text().rstrip() if note.exists() else "no case"


@pytest.mark.parametrize("isa", ISAS)
@pytest.mark.parametrize("section", ["views", "rows", "streams"])
def test_nothing_outside_an_array_is_touched(section, isa, tmp_path):
    if isa not in pw.show_config("dicts")["isas"]:
        pytest.skip(f"this CPU, or this build, has no {isa}")
    done, case = run(section, isa, tmp_path)
    assert done.returncode == 0, f"ended with {done.returncode} in {case}\n{done.stderr}"
    assert done.stdout.strip() not in ("", "0", "[]")
    assert section != "rows" or all(name.endswith(f"_{isa}'") for name in done.stdout.strip()[1:-1].split(", "))


def test_a_page_that_faults_is_seen_to(tmp_path):
    done, case = run("fault", pw.isa(), tmp_path)
    assert done.returncode != 0, "a byte beyond an array could be read"
    assert "reading beyond the end" in case
    assert "Segmentation fault" in done.stderr
    assert "bounds_cases.py" in done.stderr, "nothing says where"
