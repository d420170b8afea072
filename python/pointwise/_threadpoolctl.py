"""Makes the threads of pointwise visible to threadpoolctl, if the process imports threadpoolctl.

threadpoolctl finds libraries of a process by their file names. It knows no library with worker threads of its own, so
a controller is registered for the extension. pointwise does not import threadpoolctl for this purpose.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from . import _core

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec
    from types import ModuleType

NAME = "threadpoolctl"


def register(threadpoolctl: Any) -> None:
    """Register a controller for the extension, if this version of threadpoolctl has the function `register`."""
    if not hasattr(threadpoolctl, "register"):
        return

    class PointwiseController(threadpoolctl.LibController):  # type: ignore[misc]  # the base is known at run time only
        """Shows and limits the threads of pointwise."""

        user_api = internal_api = "pointwise"
        filename_prefixes = ("_core.",)
        check_symbols = ("pointwise_extension",)  # other packages have extensions of the same name

        def get_num_threads(self) -> int:
            """Return the largest number of threads of a call on the calling thread."""
            limit, count = _core.thread_limit(), _core.thread_count()
            return min(limit, count) if limit > 0 else count

        def set_num_threads(self, num_threads: int) -> None:
            """Limit the threads of all calls. A number that is no limit removes the limit."""
            _core.set_thread_limit(num_threads if num_threads < _core.thread_count() else 0)

        def get_version(self) -> str:
            """Return the version of pointwise."""
            return _core.version

    threadpoolctl.register(PointwiseController)


class _Finder:
    """Finder of modules that registers the controller when threadpoolctl is imported, and finds no other module."""

    @classmethod
    def find_spec(
        cls, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != NAME:
            return None
        for finder in sys.meta_path:
            spec = None if finder is cls else finder.find_spec(name, path, target)
            if spec is not None and spec.loader is not None:
                break
        else:
            return None
        execute = spec.loader.exec_module

        def execute_and_register(module: ModuleType) -> None:
            execute(module)
            if cls in sys.meta_path:
                sys.meta_path.remove(cls)
                register(module)

        spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec


if NAME in sys.modules:
    register(sys.modules[NAME])
else:
    sys.meta_path.insert(0, _Finder)
