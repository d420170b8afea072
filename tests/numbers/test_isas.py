"""Test every instruction set. Each runs in its own process, because the import selects the instruction set."""

import pathlib
import sys

import pointwise as pw
import pytest
from children import assert_tests_passed, pytest_command, run
from isas import FLOATING, ISAS, SUPPORTED, floating

NUMBERS = pathlib.Path(__file__).parent
# The instruction set avx512_bf16 has its own kernels only for bfloat16.
HALVES = ("test_half_bits.py", "test_half_conversion.py", "test_halves.py")


def need(isa):
    if isa not in SUPPORTED:
        pytest.skip(f"this CPU, or this build, has no {isa}: it has {', '.join(SUPPORTED)}")


@pytest.mark.any_cpu
@pytest.mark.parametrize("isa", ISAS)
def test_a_forced_isa_runs(isa, forked):
    need(isa)
    for word in (isa, isa.upper(), isa.title()):
        assert forked("import pointwise; print(pointwise.isa())", POINTWISE_ISA=word) == isa


@pytest.mark.any_cpu
def test_the_best_isa_runs_unless_forced(forked):
    script = "import pointwise; print(pointwise.isa(), *pointwise.show_config('dicts')['isas'])"
    for variable in (None, ""):
        chosen, *supported = forked(script, POINTWISE_ISA=variable).split()
        assert supported == SUPPORTED
        best = max(supported, key=ISAS.index)
        # If the dot product of bfloat16 is slow, as on Intel's CPUs, avx512_bf16 runs only if it is forced.
        assert chosen in (best, max({*supported} - {"avx512_bf16"}, key=ISAS.index))


@pytest.mark.long
@pytest.mark.parametrize("isa", [*FLOATING, "avx512_bf16"])
def test_the_kernels_tests(isa):
    """The tests marked `kernels` pass with all floating-point kernels that this run does not use."""
    need(isa)
    if isa in (pw.isa(), floating(pw.isa())):
        pytest.skip(f"this run already uses {isa}")
    halves = ["-m", "kernels", *(NUMBERS / name for name in HALVES)]
    if isa == "avx512_bf16":
        assert_tests_passed(run(pytest_command(*halves, POINTWISE_ISA=isa)))
    else:
        assert_tests_passed(run(pytest_command(mark="kernels", POINTWISE_ISA=isa)))


@pytest.mark.long
@pytest.mark.parametrize("isa", [isa for isa in ISAS if isa != "avx512_bf16"])  # shares the kernels of avx512_vnni
def test_the_integers_tests(isa):
    """The tests marked `integers` pass on each instruction set that this run does not use."""
    need(isa)
    if isa == pw.isa():
        pytest.skip(f"this run already uses {isa}")
    assert_tests_passed(run(pytest_command(mark="integers", POINTWISE_ISA=isa)))


@pytest.mark.parametrize("word", ["avx", "AVX", "sse", "avx512,avx2", " avx2", "none"])
def test_an_unknown_isa(word, forked):
    script = """
try:
    import pointwise
except ImportError as error:
    print(error)
"""
    printed = forked(script, POINTWISE_ISA=word)
    assert "POINTWISE_ISA" in printed
    assert word in printed
    assert "avx2" in printed or sys.platform != "linux"
    assert "portable" in printed


@pytest.mark.any_cpu
@pytest.mark.parametrize("isa", ISAS)
def test_an_isa_that_this_cpu_has_not(isa, forked):
    if isa in SUPPORTED:
        pytest.skip(f"this CPU has {isa}")
    script = """
try:
    import pointwise
except ImportError as error:
    print(error)
"""
    printed = forked(script, POINTWISE_ISA=isa)
    assert "POINTWISE_ISA" in printed
    assert isa in printed
