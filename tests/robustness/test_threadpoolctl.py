"""Test that threadpoolctl shows and limits the threads of pointwise, whichever is imported first."""

import numpy as np
import pointwise as pw
import pytest
from pointwise import _core

threadpoolctl = pytest.importorskip("threadpoolctl")
if not hasattr(threadpoolctl, "register"):
    pytest.skip("this version of threadpoolctl takes no controllers", allow_module_level=True)

# Prints how many threads one call starts, for limits 1, 3 and none. OpenMP's own limit is not set.
LIMITS = """
import re, sys
{imports}
import numpy as np
from pointwise import _core
def threads():
    with open("/proc/self/status") as status:
        return int(re.search(r"Threads:\\s*(\\d+)", status.read())[1])
_core._testing.ignore_neighbours(True)
_core._testing.force_teams(True)
x, layer = np.ones((4, 64, 56, 56), np.float32), pw.Conv(np.ones((64, 64), np.float32))
pw.set_num_threads(5)
before, counts = threads(), []
for limit in (1, 3):
    with threadpoolctl.threadpool_limits({{"pointwise": limit}}):
        assert (layer(x) == 64).all() and (pw.conv(x, layer.weight) == 64).all()
        with pw.num_threads(4):  # no setting exceeds the limit
            layer(x), pw.Chain([layer, layer])(x), pw.conv_grad_weight(x, x)
    counts.append(threads() - before)
layer(x)
print(*counts, threads() - before, sum(type(f).__module__ == "pointwise._threadpoolctl" for f in sys.meta_path))
"""


def ours():
    (entry,) = [entry for entry in threadpoolctl.threadpool_info() if entry["user_api"] == "pointwise"]
    return entry


def test_the_entry():
    entry = ours()
    assert entry["internal_api"] == "pointwise"
    assert entry["version"] == pw.__version__
    assert entry["filepath"] == _core.__file__
    with pw.num_threads(7):
        assert ours()["num_threads"] == 7
    assert ours()["num_threads"] == pw.get_num_threads()


@pytest.mark.parametrize(
    "imports",
    ["import pointwise as pw\nimport threadpoolctl", "import threadpoolctl\nimport pointwise as pw"],
    ids=["pointwise first", "threadpoolctl first"],
)
def test_limits_keep_workers_from_starting(imports, python):
    assert python(LIMITS.format(imports=imports), POINTWISE_THREADING="workers") == "0 2 4 0"


def test_limits_nest_and_are_removed():
    with pw.num_threads(5):
        with threadpoolctl.threadpool_limits({"pointwise": 3}):
            assert ours()["num_threads"] == 3
            with threadpoolctl.threadpool_limits({"pointwise": 2}):
                assert ours()["num_threads"] == 2
            assert ours()["num_threads"] == 3
            assert pw.get_num_threads() == 5
        assert ours()["num_threads"] == 5
        assert _core.thread_limit() == 0


def test_a_limit_never_raises_a_setting():
    with pw.num_threads(2), threadpoolctl.threadpool_limits({"pointwise": 50}):
        assert ours()["num_threads"] == 2
    assert _core.thread_limit() == 0


def test_a_limit_of_all_libraries_includes_pointwise():
    with pw.num_threads(4), threadpoolctl.threadpool_limits(1):
        assert ours()["num_threads"] == 1
        assert (pw.conv(np.ones((1, 2, 3, 3), np.float32), np.ones((2, 2), np.float32)) == 2).all()
    assert _core.thread_limit() == 0


def test_the_import_does_not_import_threadpoolctl(python):
    script = "import sys, pointwise; print('threadpoolctl' in sys.modules)"
    assert python(script) == "False"


def test_without_threadpoolctl(python):
    script = """
import sys, pointwise
sys.path[:] = [path for path in sys.path if "site-packages" not in path]
try:
    import threadpoolctl
except ImportError as error:
    print(error)
"""
    assert python(script) == "No module named 'threadpoolctl'"
