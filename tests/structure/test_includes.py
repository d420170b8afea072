"""The files of the core have no include cycles. A file includes only files of its folder and of earlier FOLDERS."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parents[2]
CORE = ROOT / "cpp" / "src"
FOLDERS = ["base", "memory", "machine", "kernels", "threads", "product", "convolution", "measure"]
PUBLIC = "pointwise/pointwise.h"
BINDINGS = ROOT / "python" / "bindings"
# Headers of operating systems and of OpenMP, and the only files that may include them.
SYSTEM = re.compile(
    r"^# *include <((?:sys|linux)/.*|(?:unistd|pthread|sched|dlfcn|link|signal|windows|omp|fcntl|time)\.h)>",
    re.MULTILINE,
)
SYSTEM_FILES = {
    "memory/system_memory.cpp",
    "machine/cpu.cpp",
    "threads/openmp.cpp",
    "threads/openmp_runtime.cpp",
    "threads/system_threads.cpp",
}
INTERNAL = "measure/internal.h"  # for the extension, tests and benchmarks


def included(path):
    return re.findall(r'^#include "([^"]+)"', path.read_text(), re.MULTILINE)


def files():
    return sorted(path.relative_to(CORE).as_posix() for path in CORE.rglob("*") if path.suffix in (".h", ".cpp"))


def upward(name, includes):
    """Return the includes of a file from folders that are later in FOLDERS than its own folder."""
    level = FOLDERS.index(name.split("/")[0])
    return [other for other in includes if other != PUBLIC and FOLDERS.index(other.split("/")[0]) > level]


def test_every_file_is_in_a_folder():
    assert {name.split("/")[0] for name in files()} == set(FOLDERS)


@pytest.mark.parametrize("name", files())
def test_includes_point_downward(name):
    includes = included(CORE / name)
    assert upward(name, includes) == []
    for other in includes:
        assert other == PUBLIC or (CORE / other).is_file(), f"{name} includes {other}, which is no file of the core"


def test_few_files_depend_on_the_operating_system():
    assert {name for name in files() if SYSTEM.search((CORE / name).read_text())} == SYSTEM_FILES
    assert not [path.name for path in BINDINGS.glob("*.[ch]*") if SYSTEM.search(path.read_text())]


def test_an_upward_include_is_found():
    assert upward("kernels/tile.h", ["base/lazy.h", "kernels/kernel.h", "product/plan.h", PUBLIC]) == ["product/plan.h"]


def test_no_header_includes_its_includer():
    graph = {name: [other for other in included(CORE / name) if other != PUBLIC] for name in files()}

    def reach(name, seen):
        for other in graph[name]:
            if other not in seen:
                seen.add(other)
                reach(other, seen)
        return seen

    assert [name for name in graph if name in reach(name, set())] == []


@pytest.mark.parametrize("name", sorted(path.name for path in BINDINGS.glob("*.[ch]*")))
def test_the_extension_includes_one_internal_header(name):
    own = {path.name for path in BINDINGS.glob("*.h")}
    assert set(included(BINDINGS / name)) <= own | {PUBLIC, INTERNAL}
