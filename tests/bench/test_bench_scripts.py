"""Test that the scripts in bench/ run, and check results before the timing."""

import datetime
import importlib.util
import json
import math
import pathlib
import subprocess

import numpy as np
import pointwise as pw
import pytest
from children import PYTHON, python_command, run
from pointwise.bench.epilogue import ACTIVATIONS

BENCH = pathlib.Path(__file__).parents[2] / "bench"


@pytest.mark.long
def test_threads():
    done = run(python_command(BENCH / "threads.py", "--above", "205"))
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == ["NCHW", "NHWC"]
    assert all("geometric mean of 6 layers above 205 MFLOP" in line for line in lines)


def load(name):
    """Return a script of the folder bench/ as a module."""
    spec = importlib.util.spec_from_file_location(name, BENCH / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def images(folder, *argv):
    return subprocess.run([*PYTHON, BENCH / "images.py", *argv], cwd=folder, capture_output=True, text=True)


def test_images(tmp_path):
    run = images(tmp_path, "--quick", "--json", "images.json")
    assert run.returncode == 0, run.stderr
    assert "uint8 to uint8, 64x64, 3 -> 3: pointwise " in run.stdout
    found = json.loads((tmp_path / "images.json").read_text())
    assert {(r["x_dtype"], r["dtype"]) for r in found["results"]} == {
        ("float32", "float32"),
        ("uint8", "float32"),
        ("uint8", "uint8"),
    }
    assert all(r["ratio"]["numpy"] > 0 for r in found["results"])
    table = load("markdown").images_block(found)
    assert table[2].startswith("| float32 | float32 | 64x64 |")
    assert len(table) >= 5


def test_images_checks_results(tmp_path):
    script = load("images")
    x, matrix = np.full((2, 2, 1), 3, np.uint8), np.ones((1, 1), np.float32)
    right = {"pointwise": lambda: x}
    script.check(right, x, matrix, np.dtype(np.uint8))
    with pytest.raises(AssertionError, match="pointwise: 4 of 4 numbers are wrong"):
        script.check({"pointwise": lambda: x + 1}, x, matrix, np.dtype(np.uint8))


def test_dtypes(tmp_path):
    command = [*PYTHON, BENCH / "dtypes.py", "--quick", "--json", "dtypes.json"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    found = json.loads((tmp_path / "dtypes.json").read_text())
    isas = [errors["isa"] for errors in found["errors"]]
    assert isas == [pw.isa(), *({"avx2"} - {pw.isa()})]
    assert f"{isas[0]}, int8: times float32: arithmetic " in run.stdout
    kinds = {(r["isa"], r["kind"], r["dtype"], r["layout"]) for r in found["results"]}
    assert len(kinds) == len(found["results"]) == len(isas) * 3 * 6 * 2
    for errors in found["errors"]:
        decibels = errors["decibels"]
        assert decibels["float64"] < -290
        assert decibels["float64"] < decibels["float32"] < decibels["float16"] < decibels["bfloat16"] < -45
        assert decibels["bfloat16"] < decibels["uint8"] < decibels["int8"] < -30
    assert len(load("markdown").dtypes_block(found)) > 8


TINY = """network,layer,n,cin,cout,h,w,stride,groups
tiny,plain,1,8,16,6,5,1,1
tiny,grouped,2,12,8,5,5,2,4
"""


def compare(folder, *argv):
    command = [*PYTHON, BENCH / "compare.py", *argv]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def test_compare_two_builds(tmp_path):
    (tmp_path / "tiny.csv").write_text(TINY)
    build = str(pathlib.Path(pw.__file__).parent.parent)
    run = compare(tmp_path, build, build, "--layers", "tiny.csv", "--rounds", "2", "--threads", "2")
    assert run.returncode == 0, run.stderr
    assert "other bits" not in run.stdout
    assert run.stdout.startswith(f"{pw.__path__[0]} ({pw.isa()}) -> ")
    for words in ("tiny plain", "tiny grouped", "NCHW: the second is", "NHWC: the second is", "of 2 layers"):
        assert words in run.stdout


def test_compare_finds_a_wrong_result(tmp_path):
    """compare.py does not time a build with wrong results."""
    package = tmp_path / "wrong" / "pointwise"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(
        "import numpy as np\n"
        "isa = lambda: 'wrong'\n"
        "set_num_threads = lambda n: None\n"
        "Conv = lambda weight, bias, **options: lambda x: np.zeros((1, 16, 6, 5), np.float32)\n"
    )
    (tmp_path / "tiny.csv").write_text(TINY)
    run = compare(tmp_path, "wrong", "wrong", "--layers", "tiny.csv")
    assert run.returncode == 1
    assert "wrong result: tiny plain NCHW" in run.stderr


def test_compare_two_files(tmp_path):
    def write(name, seconds):
        rows = [{"network": "n", "layer": k, "layout": "NCHW", "seconds": {"pointwise": s}} for k, s in seconds.items()]
        (tmp_path / name).write_text(json.dumps({"results": rows}))

    write("a.json", {"one": 4.0, "two": 1.0})
    write("b.json", {"one": 1.0, "two": 1.0, "three": 1.0})
    run = compare(tmp_path, "a.json", "b.json")
    assert run.returncode == 0, run.stderr
    assert "only in one of the files: n three NCHW" in run.stdout
    assert (
        "NCHW: the second is 2.000 times as fast as the first (geometric mean of 2 layers), at least 1.000 (n two)"
        in (run.stdout)
    )
    assert compare(tmp_path, "a.json", ".").returncode == 2


@pytest.fixture
def sweep():
    """Load bench/sweep.py as a module."""
    return load("sweep")


def run_sweep(folder, *argv, check=True):
    command = [*PYTHON, BENCH / "sweep.py", *argv]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=check)


def test_sweep(tmp_path):
    run = run_sweep(tmp_path, "--random", "6", "--seed", "3", "--json", "out.json", "--plot", "out.png")
    assert run.stderr == ""
    found = json.loads((tmp_path / "out.json").read_text())
    rows = found["points"]
    assert len(rows) == 6 * 2 * 2
    kinds = {(row["layout"], row["epilogue"]) for row in rows}
    assert kinds == {(layout, epilogue) for layout in ("NCHW", "NHWC") for epilogue in ("plain", "bias and ReLU")}
    assert len({(row["c_in"], row["c_out"], row["pixels"]) for row in rows}) == 6
    for row in rows:
        assert 1 <= row["c_in"] <= 256
        assert 1 <= row["c_out"] <= 256
        assert 1 <= row["pixels"] <= 512 * 512
        assert row["form"]
        assert row["ratio"] == row["seconds"]["numpy"] / row["seconds"]["pointwise"] > 0
    ratios = [row["ratio"] for row in rows]
    every = found["summary"]["all"]
    assert every["points"] == 24
    assert every["minimum_ratio"] == min(ratios)
    assert every["below_1"] == sum(ratio < 1 for ratio in ratios)
    assert every["geometric_mean_ratio"] == pytest.approx(math.prod(ratios) ** (1 / 24))
    lines = run.stdout.splitlines()
    assert [line.split(":")[0] for line in lines[:5]] == [*(f"{a}, {b}" for a, b in sorted(kinds)), "all"]
    assert lines[5] == "the worst:"
    assert [line.split()[0] for line in lines[6:]] == [f"{ratio:.2f}" for ratio in sorted(ratios)[:10]]
    import matplotlib.image

    picture = matplotlib.image.imread(tmp_path / "out.png")
    assert picture.shape[0] >= 400
    assert picture.shape[1] >= 600


def test_sweep_of_one_layout_and_epilogue(tmp_path):
    run = run_sweep(tmp_path, "--random", "2", "--layout", "NHWC", "--epilogue", "bias-relu", "--json", "out.json")
    rows = json.loads((tmp_path / "out.json").read_text())["points"]
    assert [(row["layout"], row["epilogue"]) for row in rows] == [("NHWC", "bias and ReLU")] * 2
    assert "plain" not in run.stdout


def test_sweep_says_what_cannot_be_written_before_the_run(tmp_path):
    run = run_sweep(tmp_path, "--full", "--json", "nowhere/out.json", check=False)
    assert run.returncode == 1
    assert run.stdout == ""
    assert run.stderr.startswith("sweep.py: nowhere/out.json: cannot be written")


def test_points_of_the_sweep(sweep):
    def points(**settings):
        defaults = {"random": None, "full": False, "quick": False, "seed": 1}
        return sweep.points(sweep.argparse.Namespace(**defaults | settings))

    def is_within(points, channels, pixels):
        return all(1 <= a <= channels and 1 <= b <= channels and 1 <= c <= pixels for a, b, c in points)

    grid, quick, full, drawn = points(), points(quick=True), points(full=True), points(random=200)
    small = [point for point in grid if is_within([point], 65, 200)]
    assert len(small) == len(set(small)) == 26 * 26 * 23
    assert len(full) == len(set(full)) == 65 * 65 * 200
    assert set(small) < set(full)
    assert is_within(full, 65, 200)
    assert len(quick) < len(grid) / 20
    for some in (grid, quick):
        assert len(set(some)) == len(some)
        assert is_within(some, 256, 512 * 512)
        assert {1, 256} <= {c_in for c_in, _, _ in some}
        assert {1, 256} <= {c_out for _, c_out, _ in some}
        largest = [point for point in some if point[2] == 512 * 512]
        assert {c_in for c_in, _, _ in largest} >= {1, 3, 16, 64, 256}
        assert {c_out for _, c_out, _ in largest} >= {1, 3, 16}
    assert is_within(drawn, 256, 512 * 512)
    assert max(c_in for c_in, _, _ in drawn) > 200
    assert max(pixels for _, _, pixels in drawn) > 100_000
    for some in (grid, quick, drawn):
        assert all(2 * a * b * c <= 1.5e9 and 4 * (a + b) * c <= 300e6 and 4 * b * c <= 34e6 for a, b, c in some)
    assert points(random=50) == points(random=50) != points(random=50, seed=2)


@pytest.mark.parametrize(("first", "again"), [(1.04, True), (1.06, False)])
def test_the_sweep_measures_again_what_seems_slow(sweep, monkeypatch, first, again):
    efforts = []

    def time_in_turn(timers, deadline, effort):
        efforts.append(effort)
        return {"numpy": first if effort is sweep.SHORT else 3.0, "pointwise": 1.0}

    monkeypatch.setattr(sweep, "time_in_turn", time_in_turn)
    monkeypatch.setattr(sweep, "fastest_form", lambda forms, block, rounds: list(forms)[-1])
    seconds, form = sweep.measure((3, 5, 7), "NCHW", "plain")
    assert form == "dot"
    assert efforts == [sweep.SHORT, sweep.CAREFUL][: 1 + again]
    assert seconds["numpy"] == (3.0 if again else first)


@pytest.mark.parametrize("name", ["numpy", "pointwise"])
@pytest.mark.parametrize("epilogue", ["plain", "bias and ReLU"])
@pytest.mark.parametrize(
    "mistake",
    [
        lambda result: result + np.float32(1e-3),
        lambda result: result * np.float32(np.nan),
        lambda result: result[0],
        lambda result: result.astype(np.float64),
    ],
)
def test_the_sweep_times_no_wrong_result(sweep, monkeypatch, name, epilogue, mistake):
    right = sweep.forms_of

    def forms_of(*arguments):
        forms = right(*arguments)
        *others, (form, call) = forms[name].items()
        return forms | {name: dict(others) | {form: lambda: mistake(call())}}

    monkeypatch.setattr(sweep, "forms_of", forms_of)
    for timing in ("time_in_turn", "fastest_form"):
        monkeypatch.setattr(sweep, timing, lambda *_, **__: pytest.fail("it is timed"))
    words = f"wrong result of {name}.* on sweep 3 -> 5, 7 pixels, {epilogue} in NHWC"
    with pytest.raises(sweep.WrongResult, match=words):
        sweep.measure((3, 5, 7), "NHWC", epilogue)


def test_the_sweep_says_that_a_result_is_wrong(sweep, monkeypatch, capsys):
    def wrong(*_):
        raise sweep.WrongResult("wrong result of numpy")

    monkeypatch.setattr(sweep, "check", wrong)
    monkeypatch.setattr(sweep.sys, "argv", ["sweep.py", "--random", "1"])
    with pytest.raises(SystemExit, match=r"sweep\.py: wrong result of numpy"):
        sweep.main()
    assert capsys.readouterr().out == ""


def test_markdown(tmp_path):
    found = tmp_path / "found.json"
    bench = [*PYTHON, "-m", "pointwise", "bench", "--quick", "--network", "seed", "--json", found]
    subprocess.run(bench, capture_output=True, check=True)
    run = json.loads(found.read_text())["run"]
    assert datetime.date.fromisoformat(run["date"]) <= datetime.date.today()
    assert run["command"].endswith(f"pointwise bench --quick --network seed --json {found}")
    script = [*PYTHON, BENCH / "markdown.py", "--layers", found]
    lines = subprocess.run(script, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(lines) == 2 + 6
    assert {line.count("|") for line in lines} == {7}


@pytest.mark.long
@pytest.mark.parametrize("what", ["activations", "concatenation", "chain"])
def test_epilogue(what):
    done = run(python_command(BENCH / "epilogue.py", what, "--quick"))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 100
    rows = [
        line for line in lines if line.startswith(("NCHW", "NHWC", "('clip", *(f"{name} " for name in ACTIVATIONS)))
    ]
    assert len(rows) == {"activations": len(ACTIVATIONS), "concatenation": 8, "chain": 14}[what]


def test_inception(tmp_path):
    pytest.importorskip("torch")
    command = [*PYTHON, BENCH / "inception.py", "--quick", "--json", "inception.json"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert "3a NCHW: 5x5 " in run.stdout
    found = json.loads((tmp_path / "inception.json").read_text())
    assert [r["module"] for r in found["results"]] == ["3a", "3b", "4a", "4b", "4d", "4e", "5a", "5b"]
    assert load("markdown").inception_block(found)[2].startswith("| 3a | 28x28 | 192 -> 16 -> 32 | ")


def test_the_table_of_inception_modules_uses_the_faster_layout():
    seconds = {"NCHW": {"5x5": 8e-3, "1x1": 3e-4, "1x1 then 5x5": 1e-3}}
    seconds["NHWC"] = {"5x5": 6e-3, "1x1": 2e-4, "1x1 then 5x5": 4e-3}
    result = {"module": "3a", "cin": 4, "reduced": 1, "cout": 2, "h": 5, "w": 6, "seconds": seconds}
    machine = {"cpu": "a CPU", "isa": "avx2", "threads": 1, "versions": {"torch": "2"}}
    found = {"machine": machine, "run": {"date": "d", "build": "b", "command": "c"}, "results": [result]}
    lines = load("markdown").inception_block(found)
    assert lines[2] == "| 3a | 5x6 | 4 -> 1 -> 2 | 6000 us | 200 us | 1000 us | 6.0 |"
    assert lines[4] == "d, a CPU, avx2, one thread; b, torch 2."
