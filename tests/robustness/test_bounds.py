"""Test that calls read and write nothing outside their arrays.

Each array lies next to an inaccessible page. An access to the page ends the process, so the cases run in child
processes. tests/cpp/bounds_test.cpp tests kernel rows with every kind of view, and the workspace.
"""

import pointwise as pw
import pytest
from children import SUPPORT, python_command, run
from isas import FLOATING, ISAS, SUPPORTED, floating


def run_section(section, isa):
    """Run a section of bounds_cases.py in a child process."""
    script = SUPPORT / "bounds_cases.py"
    return run(python_command(SUPPORT / "named_case.py", script, section, timeout=600, POINTWISE_ISA=isa))


@pytest.mark.long
@pytest.mark.parametrize(
    ("section", "isa"),
    [
        (section, isa)
        for section in ("views", "mix", "gradients", "rows", "streams")
        for isa in (*FLOATING, "avx512_bf16")
    ]
    + [("quantized", isa) for isa in ISAS if isa != "avx512_bf16"],
)
def test_nothing_outside_an_array_is_touched(section, isa):
    if isa not in SUPPORTED:
        pytest.skip(f"this CPU, or this build, has no {isa}")
    done = run_section(section, isa)
    assert done.returncode == 0, done.stderr
    printed = done.stdout.strip()
    assert printed not in ("", "0", "[]")
    ends = (f"_{isa}'", f"_{floating(isa)}'")
    assert section != "rows" or all(name.endswith(ends) for name in printed[1:-1].split(", "))


def test_reading_beyond_an_array_faults():
    done = run_section("fault", pw.isa())
    assert done.returncode != 0, "a byte beyond an array could be read"
    assert "reading beyond the end" in done.stderr.splitlines()[-1]
    assert "Segmentation fault" in done.stderr
    assert "bounds_cases.py" in done.stderr, "nothing says where"
