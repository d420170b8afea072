"""The contenders of the benchmark: bias and ReLU included, NumPy array in, new NumPy array out, float32."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from ._api import Conv
from ._cli import require

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from ._tables import Case

    Call: TypeAlias = Callable[[], NDArray[Any]]
    Builder: TypeAlias = Callable[[Case, str, "Operands", int], Call]

US = "pointwise"


class Operands(NamedTuple):
    """The arrays of one case."""

    x: NDArray[Any]
    weight: NDArray[Any]
    bias: NDArray[Any]

    def magnitudes(self) -> Operands:
        """Return absolute values in float64: the same convolution of them bounds the rounding errors."""
        x, weight, bias = (np.abs(array, dtype=np.float64) for array in self)
        return Operands(x, weight, bias)


def operands(case: Case, layout: str) -> Operands:
    """Return random arrays for a case, the same ones every time."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(case.shape(layout), dtype=np.float32)
    weight = rng.standard_normal((case.cout, case.cin // case.groups), dtype=np.float32)
    weight /= np.sqrt(np.float32(weight.shape[1]))
    return Operands(x, weight, rng.standard_normal(case.cout, dtype=np.float32))


def _pointwise(case: Case, layout: str, arrays: Operands, threads: int) -> Call:
    layer = Conv(arrays.weight, arrays.bias, layout=layout, stride=case.stride, groups=case.groups, activation="relu")
    return functools.partial(layer, arrays.x)


def numpy_baseline(case: Case, layout: str, arrays: Operands, threads: int) -> Call:
    """Return what a NumPy user writes: matmul on reshaped views, then bias and ReLU in place.

    Parameters
    ----------
    case : Case
        The layer.
    layout : str
        "NCHW" or "NHWC".
    arrays : Operands
        Of any one floating dtype, which the result has too.
    threads : int
        Unused: BLAS takes its number of threads from the process.

    Returns
    -------
    callable
        Computes the result, a new array for each call.
    """
    return (_numpy_nchw if layout == "NCHW" else _numpy_nhwc)(case, arrays)


def _numpy_nchw(case: Case, arrays: Operands) -> Call:
    x, weight, bias = arrays
    n, s, g = case.n, case.stride, case.groups
    matrix = weight.reshape(g, case.cout // g, -1) if g > 1 else weight
    channels = (g, case.cin // g) if g > 1 else (case.cin,)
    column = bias[:, None, None]

    def call() -> NDArray[Any]:
        source = x[:, :, ::s, ::s] if s > 1 else x
        h, w = source.shape[2:]
        y: NDArray[Any] = np.matmul(matrix, source.reshape(n, *channels, h * w)).reshape(n, case.cout, h, w)
        y += column
        np.maximum(y, 0, out=y)
        return y

    return call


def _numpy_nhwc(case: Case, arrays: Operands) -> Call:
    x, weight, bias = arrays
    n, s, g = case.n, case.stride, case.groups
    matrix = np.ascontiguousarray(weight.reshape(g, case.cout // g, -1).transpose(0, 2, 1))

    def call() -> NDArray[Any]:
        source = x[:, ::s, ::s] if s > 1 else x
        h, w = source.shape[1:3]
        if g == 1:
            y = np.matmul(source.reshape(n * h * w, case.cin), matrix[0])
        else:
            y = np.empty((n * h * w, case.cout), x.dtype)
            grouped = source.reshape(n * h * w, g, -1).transpose(1, 0, 2)
            np.matmul(grouped, matrix, out=y.reshape(n * h * w, g, -1).transpose(1, 0, 2))
        y += bias
        np.maximum(y, 0, out=y)
        result: NDArray[Any] = y.reshape(n, h, w, case.cout)
        return result

    return call


def _torch(case: Case, layout: str, arrays: Operands, threads: int) -> Call:
    torch = require("torch", "--vs torch")
    torch.set_num_threads(threads)
    x, weight, bias = map(torch.from_numpy, arrays)
    weight = weight[:, :, None, None]
    nhwc = layout == "NHWC"
    if nhwc:  # PyTorch's own way to hold NHWC: axes in the order NCHW, channels innermost in memory
        x = x.permute(0, 3, 1, 2)
        weight = weight.contiguous(memory_format=torch.channels_last)
    convolve = functools.partial(torch.conv2d, x, weight, bias, stride=case.stride, groups=case.groups)

    def call() -> NDArray[Any]:
        with torch.inference_mode():
            y: NDArray[Any] = torch.relu_(convolve()).numpy()
        return y.transpose(0, 2, 3, 1) if nhwc else y

    return call


def _onnxruntime(case: Case, layout: str, arrays: Operands, threads: int) -> Call:
    runtime = require("onnxruntime", "--vs onnxruntime")
    helper, numpy_helper = (require(f"onnx.{name}", "--vs onnxruntime") for name in ("helper", "numpy_helper"))
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["sum"], strides=[case.stride] * 2, group=case.groups),
        helper.make_node("Relu", ["sum"], ["y"]),
    ]
    ends = ("x", "y")
    if layout == "NHWC":  # ONNX has no NHWC convolution
        nodes.insert(0, helper.make_node("Transpose", ["x_nhwc"], ["x"], perm=[0, 3, 1, 2]))
        nodes.append(helper.make_node("Transpose", ["y"], ["y_nhwc"], perm=[0, 2, 3, 1]))
        ends = ("x_nhwc", "y_nhwc")
    float32 = 1  # onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "layer",
        [helper.make_tensor_value_info(ends[0], float32, case.shape(layout))],
        [helper.make_tensor_value_info(ends[1], float32, None)],
        [
            numpy_helper.from_array(arrays.weight[:, :, None, None], "w"),
            numpy_helper.from_array(arrays.bias, "b"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feed = {ends[0]: arrays.x}

    def call() -> NDArray[Any]:
        y: NDArray[Any] = session.run(None, feed)[0]
        return y

    return call


CONTENDERS: dict[str, Builder] = {
    US: _pointwise,
    "numpy": numpy_baseline,
    "torch": _torch,
    "onnxruntime": _onnxruntime,
}
MODULES = {"torch": ("torch",), "onnxruntime": ("onnxruntime", "onnx")}
