"""Compare the columns of the tables in docs/guide/recipes/coming-from.md.

As a script, it takes the first word of a table's header, and compares this table in a fresh interpreter. So later tests
have no PyTorch in their process.
"""

import pathlib
import re
import sys

import numpy as np

PAGE = pathlib.Path(__file__).parents[2] / "docs/guide/recipes/coming-from.md"


def tables():
    """Return the tables of the page: the first word of the header, the code in the header, and the code of each row."""
    result = {}
    for table in re.findall(r"(?:^\|.*\n)+", PAGE.read_text(), re.MULTILINE):
        header, _, *rows = (re.findall(r"`([^`]+)`", line) for line in table.splitlines())
        expressions = [[code for code in row if "(" in code or "@" in code] for row in rows]
        result[table.split()[1].strip(",")] = header, expressions
    return result


class OnnxNode:
    """A function that computes an operator of ONNX with the reference implementation of the package onnx."""

    def __init__(self, operator):
        self.operator = operator

    def __call__(self, *arrays, **attributes):
        from onnx import TensorProto, helper
        from onnx.reference import ReferenceEvaluator

        arrays = {f"input{i}": np.asarray(array, np.float32) for i, array in enumerate(arrays)}
        inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, a.shape) for name, a in arrays.items()]
        output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
        node = helper.make_node(self.operator, list(arrays), ["y"], **attributes)
        model = helper.make_model(
            helper.make_graph([node], "graph", inputs, [output]), opset_imports=[helper.make_opsetid("", 13)]
        )
        return ReferenceEvaluator(model).run(None, arrays)[0]


def values(row, namespace):
    return [np.asarray(eval(code, namespace)) for code in row]


def compare(name):
    """Check that all expressions of a row have the same value. Return the number of rows that were compared."""
    namespace = {}
    for block in re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL):
        exec(block, namespace)
    module = {"OpenCV": "cv2", "PyTorch": "torch"}.get(name)
    if module:
        namespace[module] = __import__(module)
    if name == "ONNX":
        namespace |= {operator: OnnxNode(operator) for operator in ("Clip", "Conv", "MatMul", "Relu", "Sigmoid")}
    header, rows = tables()[name]
    for code in header:
        exec(code, namespace)
    compared = 0
    for row in rows:
        if any("np.matvec" in code for code in row) and not hasattr(np, "matvec"):  # NumPy 2.2 and newer
            continue
        assert len(row) > 1, row
        *others, last = values(row, namespace)
        for other in others:
            np.testing.assert_allclose(other, last, rtol=1e-5, atol=1e-5, err_msg=str(row))
            assert other.shape == last.shape, row
        compared += 1
    return compared


if __name__ == "__main__":
    print(compare(sys.argv[1]))
