"""Loads the extension. This module comes first, so that the command line can report a wrong environment variable.

The extension reads POINTWISE_ISA and POINTWISE_THREADING when it is loaded. For a wrong value, the import of the
package raises ImportError. A user of the command line gets one line instead of a traceback.
"""

from __future__ import annotations

import os
import sys

try:
    from . import _core  # noqa: F401
except ImportError as error:

    def runs_command_line() -> bool:
        """Return True if the process runs ``pointwise`` or ``python -m pointwise``."""
        argv: list[str] = getattr(sys, "argv", [])
        original: list[str] = sys.orig_argv
        if not argv:
            return False
        if argv[0] == "-m":  # Python looks for the module, so the arguments that follow its name are argv[1:]
            return original[-len(argv) :][:1] in (["pointwise"], ["-mpointwise"])
        return os.path.splitext(os.path.basename(argv[0]))[0] == "pointwise"

    if not (str(error).startswith("POINTWISE_") and runs_command_line()):
        raise
    print(f"pointwise: {error}", file=sys.stderr)
    raise SystemExit(2) from error
