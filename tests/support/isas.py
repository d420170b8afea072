"""The instruction sets, and the kernels that they share."""

import pointwise as pw

# The best comes last. An instruction set with VNNI has the floating-point kernels of the one without it. Only bfloat16
# has kernels of its own in avx512_bf16.
ISAS = ("portable", "avx2", "avx2_vnni", "avx512", "avx512_vnni", "avx512_bf16")
SUPPORTED = pw.show_config("dicts")["isas"]


def floating(isa):
    """Return the instruction set of the float32 and float64 kernels of `isa`."""
    return isa.removesuffix("_vnni").removesuffix("_bf16")


FLOATING = tuple(isa for isa in ISAS if floating(isa) == isa)
# The instruction set with whose floating-point results those of this process are compared.
OTHER = {"avx512": "avx2", "avx2": "avx512"}.get(floating(pw.isa()))
