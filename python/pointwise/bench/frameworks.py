"""Contenders that are frameworks. Weights are prepared before the calls. Modules are imported when they are needed."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from ..cli.parser import require
from . import quantized
from .dtypes import QUANTIZED, as_array

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from .epilogue import Activation
    from .layers import Case
    from .operands import Call, Operands


def torch(case: Case, layout: str, arrays: Operands, threads: int) -> Call:
    """Return conv2d and activation of PyTorch on tensors that share the memory of the arrays.

    The activation works in place if PyTorch can do that.
    """
    module = require("torch", "--vs torch")
    module.set_num_threads(threads)
    # PyTorch takes no arrays of bfloat16, so both sides see them as int16
    short = case.dtype == "bfloat16"

    def tensor(array: NDArray[Any] | None) -> Any:
        if array is None:
            return None
        same = as_array(array, case.dtypes.x)  # PyTorch has one dtype for all tensors
        return module.from_numpy(same.view(np.int16)).view(module.bfloat16) if short else module.from_numpy(same)

    x, weight, bias, residual, slopes = map(tensor, arrays[:5])
    weight = weight[:, :, None, None]
    nhwc = layout == "NHWC"
    if nhwc:  # PyTorch's channels last: the axes keep the order NCHW, but channels are contiguous
        x = x.permute(0, 3, 1, 2)
        weight = weight.contiguous(memory_format=module.channels_last)
        residual = None if residual is None else residual.permute(0, 3, 1, 2)
    convolve = functools.partial(module.conv2d, x, weight, bias, stride=case.stride, groups=case.groups)
    activate = _torch_activation(module, case.epilogue.activation, slopes)

    def call() -> NDArray[Any]:
        with module.inference_mode():
            y = convolve()
            if residual is not None:
                y.add_(residual)
            y = activate(y)
            result: NDArray[Any] = y.view(module.int16).numpy().view(arrays.x.dtype) if short else y.numpy()
        return result.transpose(0, 2, 3, 1) if nhwc else result

    return call


def _torch_activation(module: Any, activation: Activation, slopes: Any) -> Callable[[Any], Any]:
    functional = module.nn.functional
    low, high = activation.parameters if activation.name == "clip" else (0, 6)
    one = activation.parameters[:1]
    functions: dict[str, Callable[[Any], Any]] = {
        "none": lambda y: y,
        "relu": module.relu_,
        "relu6": lambda y: functional.relu6(y, inplace=True),
        "clip": lambda y: y.clamp_(low, high),
        "leaky_relu": lambda y: functional.leaky_relu(y, *one, inplace=True),
        "elu": lambda y: functional.elu(y, *one, inplace=True),
        "sigmoid": module.sigmoid_,
        "tanh": module.tanh_,
        "silu": lambda y: functional.silu(y, inplace=True),
        "hardsigmoid": lambda y: functional.hardsigmoid(y, inplace=True),
        "hardswish": lambda y: functional.hardswish(y, inplace=True),
        "gelu": functional.gelu,
        "gelu_tanh": lambda y: functional.gelu(y, approximate="tanh"),
        "softplus": functional.softplus,
        "mish": lambda y: functional.mish(y, inplace=True),
        "prelu": lambda y: functional.prelu(y, slopes),
    }
    return functions[activation.name]


_ONNX_TYPES = {"float32": 1, "float16": 10, "int8": 2}  # onnx.TensorProto.FLOAT, FLOAT16 and, for x, UINT8


def _qlinear_model(case: Case, layout: str, arrays: Operands) -> tuple[dict[str, NDArray[Any]], bytes]:
    """Return the inputs and the ONNX model of QLinearConv. After ReLU, the zero point is 0 and results saturate."""
    helper, numpy_helper = (require(f"onnx.{name}", "--vs onnxruntime") for name in ("helper", "numpy_helper"))
    node, nhwc = helper.make_node, layout == "NHWC"
    constants = {
        "x_scale": quantized.X_SCALE,
        "x_zero": quantized.X_ZERO,
        "w": arrays.weight[:, :, None, None],
        "w_scale": arrays.scales,
        "w_zero": np.zeros(case.cout, np.int8),
        "y_scale": quantized.y_scale(case),
        "y_zero": quantized.y_zero(case),
    } | ({} if arrays.bias is None else {"bias": arrays.bias})
    attributes = {"kernel_shape": [1, 1], "group": case.groups, "strides": [case.stride] * 2}
    nodes = [node("Transpose", ["x"], ["x_nchw"], perm=[0, 3, 1, 2])] if nhwc else []
    nodes.append(node("QLinearConv", ["x_nchw" if nhwc else "x", *constants], ["sum"], **attributes))
    last = "sum"
    if case.epilogue.activation.name in ("clip", "relu6"):
        nodes.append(node("Clip", [last, "low", "high"], ["clipped"]))
        constants |= dict(zip(("low", "high"), map(np.uint8, quantized.bounds(case)), strict=True))
        last = "clipped"
    if nhwc:
        nodes.append(node("Transpose", [last], ["y"], perm=[0, 2, 3, 1]))
        last = "y"
    kind = _ONNX_TYPES[case.dtype]
    graph = helper.make_graph(
        nodes,
        "layer",
        [helper.make_tensor_value_info("x", kind, arrays.x.shape)],
        [helper.make_tensor_value_info(last, kind, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return {"x": arrays.x}, model.SerializeToString()


def _onnx_model(
    case: Case, layout: str, arrays: Operands, needed_for: str, *, add_last: bool
) -> tuple[dict[str, NDArray[Any]], bytes]:
    """Return the inputs of an ONNX model by name, and the model.

    ONNX has no NHWC convolution, so in NHWC the convolution stands between Transpose operators. If `add_last` is true,
    the residual is added after the second Transpose. Otherwise the residual is transposed, too, and is added before the
    second Transpose.
    """
    helper, numpy_helper = (require(f"onnx.{name}", needed_for) for name in ("helper", "numpy_helper"))
    node = helper.make_node
    kind, dtype = _ONNX_TYPES[case.dtype], case.dtypes.x
    constants = {"w": arrays.weight[:, :, None, None]}
    constants |= {} if arrays.bias is None else {"b": as_array(arrays.bias, dtype)}
    inputs = {"x": arrays.x} if arrays.residual is None else {"x": arrays.x, "residual": arrays.residual}
    nhwc = layout == "NHWC"
    early = nhwc and add_last and arrays.residual is not None  # the sum is transposed before Add
    nodes, last, end = [], "sum", "y"
    if nhwc:
        for name in ("x",) if early else inputs:
            nodes.append(node("Transpose", [name], [f"{name}_nchw"], perm=[0, 3, 1, 2]))
    x = "x_nchw" if nhwc else "x"
    nodes.append(node("Conv", [x, *constants], ["sum"], strides=[case.stride] * 2, group=case.groups))
    if early:
        nodes.append(node("Transpose", ["sum"], ["sum_nhwc"], perm=[0, 2, 3, 1]))
        last = "sum_nhwc"
    if arrays.residual is not None:
        residual = "residual_nchw" if nhwc and not early else "residual"
        nodes.append(node("Add", [last, residual], ["total"]))
        last = "total"
    if arrays.slopes is not None:
        slopes = as_array(arrays.slopes, dtype)
        constants["slopes"] = slopes if early else slopes[:, None, None]
    nodes += _onnx_activation(node, case.epilogue.activation, last, constants)
    if nhwc and not early:
        nodes.append(node("Transpose", ["y"], ["y_nhwc"], perm=[0, 2, 3, 1]))
        end = "y_nhwc"
    graph = helper.make_graph(
        nodes,
        "layer",
        [helper.make_tensor_value_info(name, kind, array.shape) for name, array in inputs.items()],
        [helper.make_tensor_value_info(end, kind, None)],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    # 20 is the first operator set with all activations, because it adds Gelu
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    return inputs, model.SerializeToString()


def _onnx_activation(node: Any, activation: Activation, source: str, constants: dict[str, NDArray[Any]]) -> list[Any]:
    """Return the nodes from `source` to "y". Add constants that they need to `constants`."""
    name, parameters = activation.name, activation.parameters
    if name in ("clip", "relu6"):
        low, high = parameters or (0, 6)
        dtype = constants["w"].dtype
        constants.update(low=np.array(low, dtype), high=np.array(high, dtype))
        return [node("Clip", [source, "low", "high"], ["y"])]
    if name == "prelu":
        return [node("PRelu", [source, "slopes"], ["y"])]
    if name == "silu":
        return [node("Sigmoid", [source], ["factor"]), node("Mul", [source, "factor"], ["y"])]
    operators: dict[str, tuple[str, dict[str, Any]]] = {
        "none": ("Identity", {}),
        "relu": ("Relu", {}),
        "leaky_relu": ("LeakyRelu", {"alpha": sum(parameters)}),
        "elu": ("Elu", {"alpha": sum(parameters)}),
        "sigmoid": ("Sigmoid", {}),
        "tanh": ("Tanh", {}),
        "hardsigmoid": ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
        "hardswish": ("HardSwish", {}),
        "gelu": ("Gelu", {}),
        "gelu_tanh": ("Gelu", {"approximate": "tanh"}),
        "softplus": ("Softplus", {}),
        "mish": ("Mish", {}),
    }
    operator, attributes = operators[name]
    return [node(operator, [source], ["y"], **attributes)]


def onnxruntime(case: Case, layout: str, arrays: Operands, threads: int) -> Call:
    """Return an ONNX Runtime session for Conv, Add and activation. The session may fuse them."""
    runtime = require("onnxruntime", "--vs onnxruntime")
    # in ONNX Runtime `add_last` is faster, because it saves a Transpose
    if case.dtype == QUANTIZED:
        feed, model = _qlinear_model(case, layout, arrays)
    else:
        feed, model = _onnx_model(case, layout, arrays, "--vs onnxruntime", add_last=True)
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_ALL
    session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def call() -> NDArray[Any]:
        y: NDArray[Any] = session.run(None, feed)[0]
        return y

    return call


def openvino(case: Case, layout: str, arrays: Operands, threads: int) -> Call:
    """Return an OpenVINO request for an ONNX model. The request reuses one array for all results, which makes it
    faster."""
    runtime = require("openvino", "--vs openvino")
    # without add_last, OpenVINO fuses Conv, Add and activation, which is faster
    inputs, model = _onnx_model(case, layout, arrays, "--vs openvino", add_last=False)
    core = runtime.Core()
    settings = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(core.read_model(model), "CPU", settings).create_infer_request()
    for name, array in inputs.items():
        request.set_tensor(name, runtime.Tensor(array, shared_memory=True))

    def call(arrays: Operands = arrays) -> NDArray[Any]:  # the default argument keeps the arrays alive
        request.infer()
        y: NDArray[Any] = request.get_output_tensor().data
        return y

    return call


def xnnpack(case: Case, layout: str, arrays: Operands, threads: int) -> Call | None:
    """Return a TensorFlow Lite interpreter, which uses XNNPACK for floats. Return None for NCHW, which it lacks."""
    if layout != "NHWC":
        return None
    interpreter_module = require("ai_edge_litert.interpreter", "--vs xnnpack")
    interpreter = interpreter_module.Interpreter(model_content=_tflite_model(case, arrays), num_threads=threads)
    interpreter.allocate_tensors()
    # Without an advantage: TensorFlow Lite lacks uint8 x with int8 weights, so its x is lower by 128.
    x = quantized.signed(arrays.x) if case.dtype == QUANTIZED else arrays.x
    names = {"x": x, "residual": arrays.residual}
    inputs = [(tensor["index"], names[tensor["name"]]) for tensor in interpreter.get_input_details()]
    y = interpreter.get_output_details()[0]["index"]

    def call() -> NDArray[Any]:
        for index, array in inputs:
            interpreter.set_tensor(index, array)  # the interface copies inputs and outputs
        interpreter.invoke()
        result: NDArray[Any] = interpreter.get_tensor(y)
        return result

    return call


def xnnpack_lacking(activation: Activation) -> bool:
    """Return True if TensorFlow Lite has no operator for the activation."""
    names = (*_TFLITE_FUSED, *_TFLITE_OPERATORS)
    return activation.name not in names or (activation.name == "elu" and activation.parameters != (1,))


_TFLITE_FUSED = {"none": "NONE", "relu": "RELU", "relu6": "RELU6"}  # fused into the previous operator
_TFLITE_OPERATORS = {
    "leaky_relu": "LEAKY_RELU",
    "elu": "ELU",
    "sigmoid": "LOGISTIC",
    "tanh": "TANH",
    "hardswish": "HARD_SWISH",
    "gelu": "GELU",
    "gelu_tanh": "GELU",
    "prelu": "PRELU",
}


def _tflite_model(case: Case, arrays: Operands) -> bytes:
    """Return a TensorFlow Lite model: CONV_2D, then ADD if there is a residual, then the activation."""
    schema = require("ai_edge_litert.schema_py_generated", "--vs xnnpack")
    flatbuffers = require("flatbuffers", "--vs xnnpack")
    weight = arrays.weight[:, None, None, :]
    # TensorFlow Lite refuses a convolution of floats without a bias
    bias = np.zeros(case.cout, case.dtypes.bias) if arrays.bias is None else arrays.bias
    of: dict[str, Any] = {}  # scales and zero points of tensors
    if case.dtype == QUANTIZED:
        of = {
            "x": (quantized.X_SCALE, int(quantized.X_ZERO) - 128),
            "weight": (quantized.scales_of(arrays), 0),
            "bias": (quantized.X_SCALE * quantized.scales_of(arrays), 0),
            "CONV_2D": (quantized.y_scale(case), int(quantized.y_zero(case)) - 128),
        }
    kinds_of = {"bias": schema.TensorType.INT32} if of else {}
    shape = case.cost("NHWC").output_shape
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.buffers, graph.tensors = 3, [schema.BufferT()], []  # the first buffer must be empty
    model.operatorCodes, graph.operators, graph.inputs = [], [], [0]
    kinds, activation_types = schema.BuiltinOperator, schema.ActivationFunctionType

    def add_tensor(name: str, shape: tuple[int, ...], values: NDArray[Any] | None = None) -> int:
        buffer, tensor = schema.BufferT(), schema.TensorT()
        if values is not None:
            buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        tensor.name, tensor.shape = name, list(shape)
        tensor.type = kinds_of.get(name, schema.TensorType.INT8 if of else schema.TensorType.FLOAT32)
        if name in of:
            scale, zero = of[name]
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = np.atleast_1d(scale).astype(np.float32)
            tensor.quantization.zeroPoint = np.full(np.size(scale), zero, np.int64)
            tensor.quantization.quantizedDimension = 0
        tensor.buffer = len(model.buffers)
        model.buffers.append(buffer)
        graph.tensors.append(tensor)
        return len(graph.tensors) - 1

    def add_operator(kind: str, inputs: list[int], options: str | None = None, **values: Any) -> int:
        code, operator = schema.OperatorCodeT(), schema.OperatorT()
        code.builtinCode = getattr(kinds, kind)
        code.deprecatedBuiltinCode = min(code.builtinCode, 127)  # older readers use this int8 field
        code.version = 3 if of else 1  # 3 is the first version with int8
        model.operatorCodes.append(code)
        operator.opcodeIndex = len(model.operatorCodes) - 1
        operator.inputs, operator.outputs = inputs, [add_tensor(kind, shape)]
        if options is not None:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, options)
            operator.builtinOptions = getattr(schema, f"{options}T")()
            vars(operator.builtinOptions).update(values)
        graph.operators.append(operator)
        return int(operator.outputs[0])

    activation = case.epilogue.activation
    fused = getattr(activation_types, _TFLITE_FUSED.get(activation.name, "NONE"))
    inputs = [
        add_tensor("x", case.shape("NHWC")),
        add_tensor("weight", weight.shape, weight),
        add_tensor("bias", bias.shape, bias),
    ]
    steps = {"strideH": case.stride, "strideW": case.stride, "dilationHFactor": 1, "dilationWFactor": 1}
    ends_here = arrays.residual is None
    last = add_operator(
        "CONV_2D",
        inputs,
        "Conv2DOptions",
        padding=schema.Padding.VALID,
        fusedActivationFunction=fused if ends_here else activation_types.NONE,
        **steps,
    )
    if not ends_here:
        graph.inputs.append(add_tensor("residual", shape))
        last = add_operator("ADD", [last, graph.inputs[-1]], "AddOptions", fusedActivationFunction=fused)
    if activation.name in _TFLITE_OPERATORS:
        options: dict[str, dict[str, Any]] = {
            "leaky_relu": {"options": "LeakyReluOptions", "alpha": sum(activation.parameters)},
            "gelu": {"options": "GeluOptions", "approximate": False},
            "gelu_tanh": {"options": "GeluOptions", "approximate": True},
        }
        slopes = [] if arrays.slopes is None else [add_tensor("slopes", (1, 1, case.cout), arrays.slopes)]
        last = add_operator(_TFLITE_OPERATORS[activation.name], [last, *slopes], **options.get(activation.name, {}))
    graph.outputs = [last]
    model.subgraphs = [graph]
    builder = flatbuffers.Builder(arrays.weight.nbytes + 4096)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
