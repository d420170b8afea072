"""The modules of the package have no import cycles. A folder imports only from itself and from earlier FOLDERS."""

import ast
import functools
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[2]
PACKAGE = ROOT / "python" / "pointwise"
FOLDERS = ["", "cli", "bench"]  # "" holds the public functions
TOP = {"pointwise", "pointwise.__main__"}  # may import all others


def modules():
    """Return the file of every module, by its full name. The file of the compiled module `_core` is `_core.pyi`."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py*")):
        if path.suffix in (".py", ".pyi"):
            parts = ("pointwise", *path.relative_to(PACKAGE).with_suffix("").parts)
            found[".".join(part for part in parts if part != "__init__")] = path
    return found


MODULES = modules()


def imported(name, text, is_package, known):
    """Return the modules of the package that a module imports, also in functions and for type checking.

    An import first runs the packages that contain the imported module, so these packages count, too. Packages that
    contain the importing module have run before and do not count.
    """
    package = name if is_package else name.rpartition(".")[0]
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            source = ".".join([*base, *filter(None, [node.module])])
            for alias in node.names:
                inner = f"{source}.{alias.name}"
                found.add(inner if inner in known else source)
    found = {module for module in found if module.split(".")[0] == "pointwise"}
    assert found <= set(known), f"{name} imports modules that do not exist: {found - set(known)}"
    around = {module.rpartition(".")[0] for module in found}
    return found | {module for module in around - {""} if not f"{name}.".startswith(f"{module}.")}


@functools.cache
def graph():
    return {
        name: imported(name, path.read_text(), path.name == "__init__.py", MODULES) for name, path in MODULES.items()
    }


def cycles(graph):
    """Return the modules that import themselves through others."""

    def reach(name, seen):
        for other in graph[name]:
            if other not in seen:
                seen.add(other)
                reach(other, seen)
        return seen

    return [name for name in graph if name in reach(name, set())]


def folder(name):
    return next((part for part in name.split(".")[1:2] if part in FOLDERS), "")


def test_there_are_modules():
    assert {folder(name) for name in MODULES} == set(FOLDERS)
    assert {"pointwise", "pointwise._core", "pointwise._conv"} <= set(MODULES)


def test_no_module_imports_itself_through_others():
    assert cycles(graph()) == []


@pytest.mark.parametrize("name", sorted(set(MODULES) - TOP))
def test_imports_point_downward(name):
    level = FOLDERS.index(folder(name))
    assert [other for other in graph()[name] if other in TOP or FOLDERS.index(folder(other)) > level] == []


@pytest.mark.parametrize(
    "line",
    [
        "from .b import thing",
        "from . import b",
        "import pointwise.b",
        "def late():\n    from .b import thing",
        "if TYPE_CHECKING:\n    from .b import thing",
        "from .folder.c import thing",
        "from .folder import c",
    ],
)
def test_a_cycle_is_found(line):
    """A cycle of two modules and a cycle through a third one are found."""
    texts = {
        "pointwise": "",
        "pointwise.a": line,
        "pointwise.b": "from .folder.c import thing",
        "pointwise.folder": "",
        "pointwise.folder.c": "from ..a import thing",
    }
    packages = ("pointwise", "pointwise.folder")
    found = {name: imported(name, text, name in packages, texts) for name, text in texts.items()}
    assert {"pointwise.a", "pointwise.folder.c"} <= set(cycles(found))
    found["pointwise.a"] = set()
    assert cycles(found) == []


def test_scripts_use_no_private_names():
    """The scripts in bench/ use only public names of the package and its subpackages."""
    private = re.compile(r"\b(?:pw|pointwise(?:\.\w+)*)\._(?!_)\w+|from pointwise[\w.]* import (?:.*\W)?_(?!_)\w+")
    assert private.search("from pointwise.bench.timing import Effort, _repetitions")
    assert private.search("pw._core._testing.fma_peak(1)")
    for path in sorted((ROOT / "bench").glob("*.py")):
        assert private.search(path.read_text()) is None, path.name
