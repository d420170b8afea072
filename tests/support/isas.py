"""The instruction sets, and the kernels that they share."""

import pointwise as pw

# The best comes last. An instruction set with VNNI has the floating-point kernels of the one without VNNI. In
# avx512_bf16, only bfloat16 has its own kernels.
ISAS = ("portable", "avx2", "avx2_vnni", "avx512", "avx512_vnni", "avx512_bf16")
SUPPORTED = pw.show_config("dicts")["isas"]


def floating(isa):
    """Return the instruction set of the float32 and float64 kernels of `isa`."""
    return isa.removesuffix("_vnni").removesuffix("_bf16")


FLOATING = tuple(isa for isa in ISAS if floating(isa) == isa)
# Tests compare the floating-point results of this process with the results of the instruction set OTHER.
OTHER = {"avx512": "avx2", "avx2": "avx512"}.get(floating(pw.isa()))
