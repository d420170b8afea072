"""Read and write MXCSR. This x86 register holds the floating-point state of a thread."""

import ctypes
import mmap
import platform

import pytest


def machine_code(code, result, *arguments):
    """Return a function made of machine code, or skip the test if that is not possible."""
    if platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("MXCSR is a register of x86")
    try:
        memory = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    except (AttributeError, OSError) as error:
        pytest.skip(f"no executable memory: {error}")
    memory.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    function = ctypes.PYFUNCTYPE(result, *arguments)(address)
    function.memory = memory
    return function


class Mxcsr:
    DEFAULT, FLUSH, DOWN, UP, TO_ZERO, FLAGS = 0x1F80, 0x8040, 0x2000, 0x4000, 0x6000, 0x3F
    UNMASKED = ~0x0680  # invalid operations, divisions by zero and overflows raise SIGFPE

    def __init__(self):
        self._load = machine_code(b"\x0f\xae\x17\xc3", None, ctypes.c_void_p)  # ldmxcsr [rdi]; ret
        self._store = machine_code(b"\x0f\xae\x1f\xc3", None, ctypes.c_void_p)  # stmxcsr [rdi]; ret
        self._word = ctypes.c_uint32()
        self._at = ctypes.byref(self._word)

    def get(self):
        self._store(self._at)
        return self._word.value

    def set(self, value):
        self._word.value = value
        self._load(self._at)
