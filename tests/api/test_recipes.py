"""Run the scripts of examples/, and compare them with the pages of docs/guide/recipes/.

Each page shows a command with its output, and lines of the script. A script whose libraries are missing is skipped.
Scripts that need more than NumPy run in their own process, so that their libraries do not change later tests.
"""

import ast
import importlib.util
import pathlib
import re
import runpy
import shlex
import sys

import pairs
import pytest
from children import python_command
from children import run as run_command

ROOT = pathlib.Path(__file__).parents[2]
RECIPES = ROOT / "docs/guide/recipes"
PAGES = sorted(page for page in RECIPES.glob("*.md") if page != pairs.PAGE)
SMALLER = {"zarr_cluster": ["--size", "128", "--chunk", "64"]}  # its figures differ from those of the page


def stem(path):
    return path.stem


def script_of(page):
    return ROOT / "examples" / f"{page.stem.replace('-', '_')}.py"


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def libraries(script):
    """Return the names of the modules that a script imports at its beginning, apart from NumPy and pointwise."""
    imports = [node for node in ast.parse(script.read_text()).body if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [getattr(node, "module", None) or alias.name for node in imports for alias in node.names]
    return {name.partition(".")[0] for name in names} - {"numpy", "pointwise"}


def run(script, arguments, capsys):
    """Return the lines that a script prints."""
    names = libraries(script)
    missing = sorted(name for name in names if importlib.util.find_spec(name) is None)
    if missing:
        pytest.skip(f"{script.name} needs {', '.join(missing)}")
    if all(name in sys.stdlib_module_names for name in names):
        runpy.run_path(str(script))["main"](arguments)
        return capsys.readouterr().out.splitlines()
    done = run_command(python_command(script, *arguments))
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def without_figures(lines):
    return [re.sub(r"\d[\d.,]*", "#", line) for line in lines]


def check_output(printed, shown, exact):
    """Compare lines. Three dots at the end of the page's output stand for lines that the page omits."""
    if not exact:
        printed, shown = without_figures(printed), without_figures(shown)
    if shown[-1] == "...":
        shown = shown[:-1]
        printed = printed[: len(shown)]
    assert printed == shown


@pytest.mark.parametrize("page", PAGES, ids=stem)
def test_a_recipe_prints_what_its_page_shows_and_draws_a_picture(page, tmp_path, monkeypatch, capsys):
    image = pytest.importorskip("matplotlib.image")
    monkeypatch.chdir(tmp_path)
    (block,) = blocks(page, "console")
    command, *shown = block.splitlines()
    dollar, python, script, *arguments = shlex.split(command)
    assert (dollar, python, ROOT / script) == ("$", "python", script_of(page))
    smaller = SMALLER.get(script_of(page).stem, [])
    check_output(run(script_of(page), arguments + smaller, capsys), shown, exact=not smaller)
    picture = image.imread(arguments[arguments.index("--plot") + 1])
    assert picture.shape[0] > 200
    assert picture[..., :3].std() > 0.05


@pytest.mark.parametrize("page", PAGES, ids=stem)
def test_code_of_a_page_is_in_its_script(page):
    script = script_of(page).read_text()
    found = blocks(page, "python")
    assert found
    for block in found:
        assert f"\n{block}" in script


def test_every_script_has_a_page():
    assert [script_of(page) for page in PAGES] == sorted((ROOT / "examples").glob("*.py"), key=lambda p: p.stem)


def test_the_index_lists_every_page_and_script():
    rows = (ROOT / "docs/guide/recipes.md").read_text()
    assert f"](recipes/{pairs.PAGE.name})" in rows
    for page in PAGES:
        assert f"](recipes/{page.name}) | `{script_of(page).name}` |" in rows


@pytest.mark.parametrize("page", sorted(RECIPES.glob("*.md")), ids=stem)
def test_a_recipe_fits_on_a_screen(page):
    assert len(page.read_text().splitlines()) <= (50 if page == pairs.PAGE else 45)


@pytest.mark.parametrize("library", ["NumPy", "Keras"])
def test_both_columns_of_a_table_are_equal(library):
    assert pairs.compare(library) >= 2


@pytest.mark.parametrize(("library", "module"), [("OpenCV", "cv2"), ("PyTorch", "torch"), ("ONNX", "onnx")])
def test_both_columns_of_a_table_of_another_library_are_equal(library, module):
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"there is no {module}")
    done = run_command(python_command(pairs.__file__, library))
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 2


def test_every_table_is_compared():
    assert list(pairs.tables()) == ["NumPy", "OpenCV", "PyTorch", "ONNX", "Keras"]
