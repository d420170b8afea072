"""How tests start other interpreters.

Under an emulator of another CPU (`qemu-x86_64 -cpu Nehalem python -m pytest`) a child would run on the real CPU:
POINTWISE_TEST_EMULATOR holds the words that go before every interpreter that a test starts.
"""

import os
import shlex
import sys

EMULATOR = shlex.split(os.environ.get("POINTWISE_TEST_EMULATOR", ""))
PYTHON = [*EMULATOR, sys.executable]
