"""Test the tool that fits the constants of the cost model, on times that the model predicts with known constants."""

import importlib.util
import json
import pathlib
import re
import sys

import numpy as np
import pointwise as pw
import pytest
from pointwise._core import _testing

TOOL = pathlib.Path(__file__).parents[2] / "cpp" / "tools" / "fit_cycle_model.py"


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("fit_cycle_model", TOOL)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


@pytest.fixture
def constants():
    found = dict(_testing.machine_constants())
    yield found
    _testing.replace_machine_constants(found)


def document(sizes):
    """Return the JSON that `pointwise bench --explain` would write if the model's current constants were exact."""
    results = []
    for cin, cout, side in sizes:
        for layout in ("NCHW", "NHWC"):
            case = {"n": 1, "cin": cin, "cout": cout, "h": side, "w": side, "stride": 1, "groups": 1}
            shape = tuple({"N": 1, "C": cin, "H": side, "W": side}[axis] for axis in layout)
            conv = pw.Conv(np.zeros((cout, cin), np.float32), layout=layout)
            ways = [{"words": words, "seconds": cycles * 1e-9} for words, cycles in conv._expectations(shape)]
            result = {"case": case, "layout": layout, "alternatives": ways}
            results.append(result)
    return {"machine": {"cpu": "a model", "isa": pw.isa()}, "results": results}


SIZES = [(cin, cout, side) for cin in (24, 64, 300) for cout in (8, 40, 96) for side in (7, 14, 30)]


def test_the_true_constants_have_no_error(tool, constants):
    error = tool.error_of(tool.read(document(SIZES)["results"]))
    assert error.within == pytest.approx(0, abs=1e-12)
    assert error.overall == pytest.approx(0, abs=1e-6)
    assert error.regret == 1


def test_a_constant_that_is_off_is_found(tool, constants, tmp_path, capsys):
    other = "transposed_cycles"
    _testing.replace_machine_constants({other: 2 * constants[other]})
    times = tmp_path / "times.json"
    times.write_text(json.dumps(document(SIZES)))
    _testing.replace_machine_constants(constants)
    assert tool.main([str(times), "--fit", "found", "--constants", other, "--folder", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    within = [float(percent) for percent in re.findall(r"([\d.]+)% between the ways", printed)]
    assert len(within) == 3
    assert within[0] > 1
    assert within[-1] < within[1] / 10
    written = (tmp_path / "found.cpp").read_text()
    values = dict(re.findall(r"m\.(\w+) = ([\d.e+-]+);", written))
    assert set(values) == set(constants)
    assert float(values[other]) == pytest.approx(2 * constants[other], rel=0.03)
    kept = {name: float(value) for name, value in values.items() if name != other}
    assert kept == pytest.approx({name: value for name, value in constants.items() if name != other}, rel=1e-9)


def test_wrong_names_and_other_instruction_sets(tool, constants, tmp_path, capsys):
    times = tmp_path / "times.json"
    found = document(SIZES[:1])
    times.write_text(json.dumps(found))
    with pytest.raises(SystemExit):
        tool.main([str(times), "--fit", "x", "--constants", "fma_per_cycle,nonsense", "--folder", str(tmp_path)])
    assert "fma_per_cycle, nonsense" in capsys.readouterr().err
    found["machine"]["isa"] = "another"
    times.write_text(json.dumps(found))
    with pytest.raises(SystemExit):
        tool.main([str(times)])
    assert "POINTWISE_ISA" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["times.json"]


def test_the_core_names_what_it_does_not_know(constants):
    with pytest.raises(ValueError, match="got an unknown name"):
        _testing.replace_machine_constants({"nonsense": 1.0})
    assert _testing.machine_constants() == constants


def test_a_file_that_others_start_from_is_complete(constants):
    source = (TOOL.parents[1] / "src" / "machine" / "zen5.cpp").read_text()
    assert re.findall(r"m\.(\w+) = [0-9][^;]*;", source) == list(constants)
