"""The frameworks among the contenders, their weights prepared beforehand and their modules imported late."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from ._cli import require

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._contenders import Call, Operands
    from ._tables import Case


def torch(case: Case, layout: str, arrays: Operands, threads: int) -> Call:
    """Return PyTorch's conv2d and relu_ on tensors that share the arrays' memory."""
    module = require("torch", "--vs torch")
    module.set_num_threads(threads)
    x, weight, bias = map(module.from_numpy, arrays)
    weight = weight[:, :, None, None]
    nhwc = layout == "NHWC"
    if nhwc:  # PyTorch's own way to hold NHWC: axes in the order NCHW, channels innermost in memory
        x = x.permute(0, 3, 1, 2)
        weight = weight.contiguous(memory_format=module.channels_last)
    convolve = functools.partial(module.conv2d, x, weight, bias, stride=case.stride, groups=case.groups)

    def call() -> NDArray[Any]:
        with module.inference_mode():
            y: NDArray[Any] = module.relu_(convolve()).numpy()
        return y.transpose(0, 2, 3, 1) if nhwc else y

    return call


def _onnx_model(case: Case, layout: str, arrays: Operands, needed_for: str) -> tuple[str, bytes]:
    """Return the name of the input of an ONNX model, and the model."""
    helper, numpy_helper = (require(f"onnx.{name}", needed_for) for name in ("helper", "numpy_helper"))
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
    return ends[0], model.SerializeToString()


def onnxruntime(case: Case, layout: str, arrays: Operands, threads: int) -> Call:
    """Return an ONNX Runtime session of Conv and Relu; in NHWC, between two Transposes."""
    runtime = require("onnxruntime", "--vs onnxruntime")
    x, model = _onnx_model(case, layout, arrays, "--vs onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feed = {x: arrays.x}

    def call() -> NDArray[Any]:
        y: NDArray[Any] = session.run(None, feed)[0]
        return y

    return call


def openvino(case: Case, layout: str, arrays: Operands, threads: int) -> Call:
    """Return an OpenVINO request of the same model; its result is not a new array but its own one: an advantage."""
    runtime = require("openvino", "--vs openvino")
    _, model = _onnx_model(case, layout, arrays, "--vs openvino")
    core = runtime.Core()
    settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(core.read_model(model), "CPU", settings).create_infer_request()
    request.set_input_tensor(runtime.Tensor(arrays.x, shared_memory=True))

    def call(x: NDArray[Any] = arrays.x) -> NDArray[Any]:  # holds x, which the tensor only points to
        request.infer()
        y: NDArray[Any] = request.get_output_tensor().data
        return y

    return call


def xnnpack(case: Case, layout: str, arrays: Operands, threads: int) -> Call | None:
    """Return a TensorFlow Lite interpreter, whose delegate for floats is XNNPACK; None in NCHW, which it lacks."""
    if layout != "NHWC":
        return None
    interpreter_module = require("ai_edge_litert.interpreter", "--vs xnnpack")
    interpreter = interpreter_module.Interpreter(model_content=_tflite_model(case, arrays), num_threads=threads)
    interpreter.allocate_tensors()
    x = interpreter.get_input_details()[0]["index"]
    y = interpreter.get_output_details()[0]["index"]

    def call() -> NDArray[Any]:
        interpreter.set_tensor(x, arrays.x)  # the interface copies in, and out
        interpreter.invoke()
        result: NDArray[Any] = interpreter.get_tensor(y)
        return result

    return call


def _tflite_model(case: Case, arrays: Operands) -> bytes:
    """Return a TensorFlow Lite model of one CONV_2D with its bias and ReLU."""
    schema = require("ai_edge_litert.schema_py_generated", "--vs xnnpack")
    flatbuffers = require("flatbuffers", "--vs xnnpack")
    h, w = ((size - 1) // case.stride + 1 for size in (case.h, case.w))
    weight = arrays.weight[:, None, None, :]
    tensors = [
        ("x", case.shape("NHWC"), None),
        ("weight", weight.shape, weight),
        ("bias", arrays.bias.shape, arrays.bias),
        ("y", (case.n, h, w, case.cout), None),
    ]
    model, graph, convolution = schema.ModelT(), schema.SubGraphT(), schema.OperatorT()
    model.version, model.buffers, graph.tensors = 3, [schema.BufferT()], []  # by definition the first buffer is empty
    for name, shape, values in tensors:
        buffer, tensor = schema.BufferT(), schema.TensorT()
        if values is not None:
            buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        tensor.name, tensor.shape, tensor.type = name, list(shape), schema.TensorType.FLOAT32
        tensor.buffer = len(model.buffers)
        model.buffers.append(buffer)
        graph.tensors.append(tensor)

    options = schema.Conv2DOptionsT()
    options.padding = schema.Padding.VALID
    options.strideH = options.strideW = case.stride
    options.dilationHFactor = options.dilationWFactor = 1
    options.fusedActivationFunction = schema.ActivationFunctionType.RELU
    convolution.opcodeIndex, convolution.inputs, convolution.outputs = 0, [0, 1, 2], [3]
    convolution.builtinOptionsType, convolution.builtinOptions = schema.BuiltinOptions.Conv2DOptions, options
    graph.operators, graph.inputs, graph.outputs = [convolution], [0], [3]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CONV_2D
    code.version = 1
    model.operatorCodes, model.subgraphs = [code], [graph]
    builder = flatbuffers.Builder(arrays.weight.nbytes + 4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
