"""The contenders of the benchmark. Each computes a layer with its epilogue, on NumPy arrays."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from .._conv import Conv
from . import frameworks, numpy_activations, numpy_baseline, quantized
from .dtypes import DTYPES, FLOAT32, QUANTIZED

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._qconv import QConv
    from .epilogue import Activation
    from .layers import Case
    from .operands import Builder, Call, Forms, Operands

US = "pointwise"
TUNED = "tuned"  # pointwise after Conv.tune; not a peer
FLOAT = "pointwise float32"  # pointwise in float32, next to pointwise in another dtype; not a peer
OWN = (US, TUNED, FLOAT)
TUNE_SECONDS = 0.3


def _layer(case: Case, layout: str, arrays: Operands) -> Conv | QConv:
    if case.dtype == QUANTIZED:
        return quantized.layer(case, layout, arrays)
    return Conv(
        arrays.weight,
        arrays.bias,
        layout=layout,
        stride=case.stride,
        groups=case.groups,
        activation=case.epilogue.activation.argument(arrays.slopes),
    )


def _call(layer: Conv | QConv, arrays: Operands) -> Call:
    # Does not pass a residual of None, because parsing this argument would slow down the smallest layers.
    return functools.partial(layer, arrays.x, *(() if arrays.residual is None else (arrays.residual,)))


def _pointwise(case: Case, layout: str, arrays: Operands, threads: int) -> Call:
    return _call(_layer(case, layout, arrays), arrays)


def _tuned(case: Case, layout: str, arrays: Operands, threads: int) -> Forms:
    """Return a call of a tuned layer. Its form is the kernel, or empty if the prediction was the fastest."""
    layer: Any = _layer(case, layout, arrays)
    gain = layer.tune(arrays.x.shape, seconds=TUNE_SECONDS)
    lines = layer.explain(arrays.x.shape).splitlines()
    kernel = next(line for line in lines if line.startswith("  kernel "))
    form = "" if gain == 1 else kernel.removeprefix("  kernel ").partition(", about ")[0]
    return {form: _call(layer, arrays)}


def _numpy(case: Case, layout: str, arrays: Operands, threads: int) -> Forms:
    if case.dtype == QUANTIZED:
        return quantized.numpy_forms(case, layout, arrays)
    if case.dtypes.x == case.dtypes.sums:
        return numpy_baseline.numpy_baseline(case, layout, arrays, threads)
    return numpy_baseline.numpy_converted(case, layout, arrays)  # NumPy's sums of 16-bit numbers are far slower


def case_of(name: str, case: Case) -> Case:
    """Return the layer in the dtype of a contender."""
    return case.in_dtype(FLOAT32) if name == FLOAT else case


def peer_dtypes(name: str) -> tuple[str, ...]:
    """Return the dtypes in which a contender computes layers."""
    return _PEER_DTYPES.get(name, tuple(DTYPES))


_PEER_DTYPES = {
    "torch": (FLOAT32, "float64", "float16", "bfloat16"),
    "onnxruntime": (FLOAT32, "float16", QUANTIZED),
    "openvino": (FLOAT32,),
    "xnnpack": (FLOAT32, QUANTIZED),
}


def left_out(name: str, activation: Activation) -> str | None:
    """Return the end of a message: the reason why a contender cannot compute an activation. Return None if it can."""
    if name == "numpy":
        return numpy_activations.lacking(activation)
    return "" if name == "xnnpack" and frameworks.xnnpack_lacking(activation) else None


def _one_form(build: Callable[[Case, str, Operands, int], Call | None]) -> Builder:
    """Return a builder for a contender that has only one form. The name of the form is empty."""

    def forms(case: Case, layout: str, arrays: Operands, threads: int) -> Forms:
        call = build(case, layout, arrays, threads)
        return {} if call is None else {"": call}

    return forms


CONTENDERS: dict[str, Builder] = {
    US: _one_form(_pointwise),
    "numpy": _numpy,
    "torch": _one_form(frameworks.torch),
    "onnxruntime": _one_form(frameworks.onnxruntime),
    "openvino": _one_form(frameworks.openvino),
    "xnnpack": _one_form(frameworks.xnnpack),
}


def builder(name: str) -> Builder:
    """Return the builder of one of `CONTENDERS`, or of the contenders `TUNED` and `FLOAT`."""
    return _tuned if name == TUNED else CONTENDERS[US if name == FLOAT else name]


MODULES = {
    "torch": ("torch",),
    "onnxruntime": ("onnxruntime", "onnx"),
    "openvino": ("openvino", "onnx"),
    "xnnpack": ("ai_edge_litert", "flatbuffers"),
}
