"""The scripts beside the benchmarks run."""

import pathlib
import subprocess
import sys

BENCH = pathlib.Path(__file__).parent.parent / "bench"


def test_threads():
    run = subprocess.run(
        [sys.executable, BENCH / "threads.py", "--above", "205"], capture_output=True, text=True, check=True
    )
    lines = run.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == ["NCHW", "NHWC"]
    assert all("geometric mean of 6 layers above 205 MFLOP" in line for line in lines)
