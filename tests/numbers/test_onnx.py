"""Compare quantized convolutions with the test cases of ONNX, with its reference, and with ONNX Runtime."""

import importlib

import numpy as np
import pointwise as pw
import pytest

onnx = pytest.importorskip("onnx")

pytestmark = pytest.mark.filterwarnings("ignore")  # the test cases of ONNX warn about overflow
MODULES = ("qlinearconv", "convinteger", "matmulinteger", "qlinearmatmul")
CALLS = {"QLinearConv": pw.qconv, "ConvInteger": pw.conv_integer}


def generated_cases():
    """Return the test cases of the operators in MODULES. Importing all modules of ONNX would take seconds."""
    package = "onnx.backend.test.case.node"
    for name in MODULES:
        importlib.import_module(f"{package}.{name}")
    cases = getattr(importlib.import_module(package), "_NodeTestCases", None)
    if cases is None:
        pytest.skip(f"onnx {onnx.__version__} keeps its test cases elsewhere")
    return cases


def multiply(function, a, b, before, after):
    """Return the product of matrices, or of stacks of matrices. The rows of a are pixels."""
    if a.ndim == 3:
        return np.stack([multiply(function, *pair, before, after) for pair in zip(a, b, strict=True)])
    return function(a, *before, b.T, *after, layout="NC")


def computed(case):
    """Return the result of pointwise for a test case, or None if the case has another kernel size or dtype."""
    (node,) = case.model.graph.node
    inputs = case.data_sets[0][0]
    if any(array.dtype == np.float16 for array in inputs):
        return None
    if node.op_type in CALLS:
        weight = inputs[3 if node.op_type == "QLinearConv" else 1]
        return CALLS[node.op_type](*inputs) if weight.shape[2:] == (1, 1) and not node.attribute else None
    if node.op_type == "MatMulInteger":
        a, b, a_zero, b_zero = inputs
        return multiply(pw.conv_integer, a, b, (), (a_zero, b_zero))
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = inputs
    return multiply(pw.qconv, a, b, (a_scale, a_zero), (b_scale, b_zero, y_scale, y_zero))


def test_generated_cases():
    done = []
    for case in generated_cases():
        y = computed(case)
        if y is None:
            continue
        (expected,) = case.data_sets[0][1]
        assert y.dtype == expected.dtype, case.name
        np.testing.assert_array_equal(y, expected, case.name)
        done.append(case.model.graph.node[0].op_type)
    assert sorted(set(done)) == ["MatMulInteger", "QLinearConv", "QLinearMatMul"]
    assert len(done) >= 6


def model(op, arrays, names, shape_of_y, dtype_of_y, groups, stride):
    """Return a model of one node, whose first input is x. All other inputs are constants."""
    attributes = {"kernel_shape": [1, 1], "group": groups, "strides": [stride, stride]}
    node = onnx.helper.make_node(op, names, ["y"], **attributes)
    types = onnx.helper.np_dtype_to_tensor_dtype
    x = onnx.helper.make_tensor_value_info("x", types(arrays[0].dtype), arrays[0].shape)
    y = onnx.helper.make_tensor_value_info("y", types(np.dtype(dtype_of_y)), shape_of_y)
    constants = [onnx.numpy_helper.from_array(a, name) for a, name in zip(arrays[1:], names[1:], strict=True)]
    graph = onnx.helper.make_graph([node], "g", [x], [y], constants)
    made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)])
    made.ir_version = 8
    return made


def random_case(rng, dtypes):
    """Return the arrays of a random convolution in the order of QLinearConv, and its groups and stride."""
    x_dtype, weight_dtype, y_dtype = dtypes

    def numbers(shape, dtype):
        limits = np.iinfo(dtype)
        return rng.integers(limits.min, limits.max + 1, shape).astype(dtype)

    groups, stride = int(rng.integers(1, 3)), int(rng.integers(1, 3))
    c_in, c_out = int(rng.integers(1, 40)), groups * int(rng.integers(1, 20))
    x = numbers((2, groups * c_in, int(rng.integers(1, 9)), int(rng.integers(1, 9))), x_dtype)
    weight = numbers((c_out, c_in, 1, 1), weight_dtype)
    weight_zero = np.zeros(c_out, weight_dtype) if weight_dtype == "int8" else np.full(c_out, 128, weight_dtype)
    scale = rng.uniform(0.5, 2, c_out).astype(np.float32)
    y_scale = np.float32(rng.uniform(100, 400) * c_in**0.5)
    bias = rng.integers(-(2**14), 2**14, c_out).astype(np.int32)
    return (
        [x, np.float32(1.5), numbers((), x_dtype), weight, scale, weight_zero, y_scale, numbers((), y_dtype), bias],
        {"groups": groups, "stride": stride},
    )


NAMES = ["x", "x_scale", "x_zero", "w", "w_scale", "w_zero", "y_scale", "y_zero", "bias"]
DTYPES = [("uint8", "uint8", "uint8"), ("uint8", "int8", "uint8"), ("int8", "int8", "int8")]


def evaluate(arrays, how, run):
    """Return the result of pointwise, and the result of a function that runs a model."""
    y = pw.qconv(*arrays, **how)
    made = model("QLinearConv", [np.asarray(a) for a in arrays], NAMES, y.shape, y.dtype, how["groups"], how["stride"])
    return y, run(made, {"x": arrays[0]})


@pytest.mark.parametrize("dtypes", DTYPES)
def test_the_reference_of_onnx(dtypes, rng):
    """Sums are equal. The reference multiplies in float64, so a few results may be rounded to the next integer."""
    from onnx.reference import ReferenceEvaluator

    def run(made, feeds):
        return ReferenceEvaluator(made).run(None, feeds)[0]

    equal, count = 0, 0
    for _ in range(12):
        arrays, how = random_case(rng, dtypes)
        if how["groups"] == 1:
            x, _, x_zero, weight, _, weight_zero, *_ = arrays
            y = pw.conv_integer(x, weight, x_zero, weight_zero, **how)
            given = [x, weight, np.asarray(x_zero), weight_zero]
            made = model("ConvInteger", given, ["x", "w", "x_zero", "w_zero"], y.shape, np.int32, 1, how["stride"])
            np.testing.assert_array_equal(y, run(made, {"x": x}))
        y, expected = evaluate(arrays, how, run)
        assert np.abs(y.astype(int) - expected).max() <= 1
        equal, count = equal + int((y == expected).sum()), count + y.size
    assert equal >= 0.999 * count


@pytest.mark.skipif(
    "avx512_vnni" not in pw.show_config("dicts")["isas"], reason="without VNNI the sums of MLAS saturate"
)
@pytest.mark.parametrize("dtypes", DTYPES)
def test_onnx_runtime(dtypes, rng):
    onnxruntime = pytest.importorskip("onnxruntime")

    def run(made, feeds):
        return onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"]).run(
            None, feeds
        )[0]

    for _ in range(12):
        arrays, how = random_case(rng, dtypes)
        y, expected = evaluate(arrays, how, run)
        np.testing.assert_array_equal(y, expected)
