"""Compare the columns of the tables in docs/guide/recipes/coming-from.md.

Run as a script with the first word of a table's header, it compares one table in a fresh interpreter. So the tests that
follow have no PyTorch in their process.
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
