"""The suite of airspeed velocity has ten benchmarks, and each one runs."""

import json
import pathlib
import sys

import pointwise as pw
import pytest

SUITE = pathlib.Path(__file__).parents[2] / "bench" / "asv"
sys.path.insert(0, str(SUITE))
Calls = pytest.importorskip("benchmarks.calls").Calls
sys.path.remove(str(SUITE))
NAMES = [name for name in dir(Calls) if name.startswith("time_")]


@pytest.fixture(scope="module")
def calls():
    suite = Calls()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pw, "set_num_threads", lambda n: None)  # other tests need the default
        suite.setup()
    return suite


def test_there_are_ten_benchmarks():
    assert len(NAMES) == 10
    settings = json.loads((SUITE / "asv.conf.json").read_text())
    assert (SUITE / settings["benchmark_dir"]).is_dir()


@pytest.mark.parametrize("name", NAMES)
def test_a_benchmark_runs(name, calls):
    getattr(calls, name)()
