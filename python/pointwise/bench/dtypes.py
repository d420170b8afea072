"""The dtypes in which the benchmark computes a layer."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from .. import _core
from .._arguments import as_dtype

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True)
class Dtypes:
    """Names of the dtypes of the arrays of a layer, and of its sums."""

    x: str
    weight: str
    bias: str
    result: str
    sums: str


FLOAT32, QUANTIZED = "float32", "int8"
# "uint8" is `Conv` with integer x. "int8" is `QConv` with weights of int8.
DTYPES = {
    FLOAT32: Dtypes(FLOAT32, FLOAT32, FLOAT32, FLOAT32, FLOAT32),
    "float64": Dtypes("float64", "float64", "float64", "float64", "float64"),
    "float16": Dtypes("float16", "float16", FLOAT32, "float16", FLOAT32),
    "bfloat16": Dtypes("bfloat16", "bfloat16", FLOAT32, "bfloat16", FLOAT32),
    "uint8": Dtypes("uint8", FLOAT32, FLOAT32, FLOAT32, FLOAT32),
    QUANTIZED: Dtypes("uint8", "int8", "int32", "uint8", "int32"),
}
BITS = {"float64": 53, FLOAT32: 24, "float16": 11, "bfloat16": 8}  # significant bits
TINY = {"float64": 2.0**-1074, FLOAT32: 2.0**-149, "float16": 2.0**-24, "bfloat16": 2.0**-126}  # flushed in bfloat16


def as_array(numbers: NDArray[Any], name: str) -> NDArray[Any]:
    """Return the numbers in a dtype. bfloat16 needs ml_dtypes."""
    return numbers.astype(as_dtype(name) if name in BITS else name, copy=False)


def products(dtype: str, isa: str = _core.isa) -> int:
    """Return the number of products that an instruction computes in 32 bits, with kernels for a dtype.

    AVX512-BF16 adds two products of bfloat16, and VNNI adds four products of int8. Without VNNI, an instruction adds
    two products of int16, and another one adds the result to the sum. So its peak cannot be reached.
    """
    if dtype == "bfloat16" and isa == "avx512_bf16":
        return 2
    if dtype == QUANTIZED:
        return 4 if isa.endswith(("_vnni", "_bf16")) else 1 if isa == "portable" else 2
    return 1


def peak(dtype: str, measured: Callable[[str], float]) -> float:
    """Return the peak of multiply-adds in a dtype, in operations per second.

    Parameters
    ----------
    dtype : str
        One of `DTYPES`.
    measured : callable
        Takes "float32" or "float64". Returns the FMA peak of this dtype.
    """
    return products(dtype) * measured("float64" if dtype == "float64" else FLOAT32)
