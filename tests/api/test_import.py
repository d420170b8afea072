"""Test which modules `import pointwise` loads, and that it prints nothing."""

import pytest

SCRIPT = """
import sys
import numpy
before = set(sys.modules)
import pointwise
new = {name.partition(".")[0] for name in set(sys.modules) - before}
print(*sorted(new - {"pointwise", "numpy"} - set(sys.stdlib_module_names)))
print(*sorted({"rich", "matplotlib", "ml_dtypes", "threadpoolctl", "torch"} & set(sys.modules)))
"""


@pytest.mark.any_cpu
def test_numpy_alone(python):
    assert python(SCRIPT) == ""


def test_neither_command_line_nor_benchmark(python):
    script = "import sys, pointwise; print(*(name for name in sys.modules if name.startswith('pointwise.')))"
    modules = python(script).split()
    assert "pointwise._conv" in modules
    assert [name for name in modules if name.split(".")[1] in ("__main__", "bench", "cli")] == []


def test_calls_import_nothing_more(python):
    calls = """
x = numpy.ones((1, 3, 4, 4), "f4")
pointwise.conv(x, numpy.ones((2, 3)), stride=(1, 2), activation="relu")
layer = pointwise.Conv(numpy.ones((2, 3), "f4"))
layer(x), layer.explain(x.shape), repr(layer), pointwise.cost(x.shape, 2), pointwise.show_config("dicts")
try:
    pointwise.conv(x.astype("f2"), layer.weight)
except NotImplementedError:
    pass
"""
    assert python(SCRIPT.replace("new =", calls + "new =")) == ""


@pytest.mark.parametrize("name", ["ml_dtypes", "rich", "matplotlib", "threadpoolctl", "pytest"])
def test_without_what_is_optional(name, python):
    script = f"""
import sys
sys.modules[{name!r}] = None
import numpy as np, pointwise as pw
print(pw.conv(np.ones((1, 3), "f4"), np.ones((2, 3)), layout="NC").tolist())
"""
    assert python(script) == "[[3.0, 3.0]]"


@pytest.mark.any_cpu
def test_nothing_is_printed(python):
    assert python("import pointwise") == ""


@pytest.mark.any_cpu
def test_importing_twice_in_threads(python):
    script = """
import threading
def work():
    import pointwise
    seen.append(pointwise.isa())
seen = []
workers = [threading.Thread(target=work) for _ in range(8)]
[w.start() for w in workers], [w.join() for w in workers]
print(len(seen), len(set(seen)))
"""
    assert python(script) == "8 1"
