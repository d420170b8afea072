"""The contender NumPy. It computes a product in one of several forms, then bias, residual and activation in place.

NumPy computes the same product in several ways, and the fastest depends on the shape. So the benchmark times all forms
of a layer, and the fastest form is the baseline. `numpy.einsum` and sums of single channels are left out, because they
were never the fastest form (docs/design/tried.md).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from .dtypes import as_array
from .epilogue import NO_ACTIVATION, RELU
from .numpy_activations import in_place, lacking

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from .layers import Case
    from .operands import Call, Forms, Operands

    Array: TypeAlias = NDArray[Any]


def numpy_baseline(case: Case, layout: str, arrays: Operands, threads: int, *, sums: bool = False) -> Forms:
    """Return functions that compute a layer in NumPy, by form.

    Parameters
    ----------
    case : Case
        Layer.
    layout : str
        "NCHW" or "NHWC".
    arrays : Operands
        Arrays of one floating dtype, which is also the dtype of the result.
    threads : int
        Unused, because the number of threads of BLAS is a setting of the process.
    sums : bool
        True if the functions leave out the activation.

    Returns
    -------
    dict of callable
        Functions that return the result in a new, contiguous array. Empty if NumPy cannot compute the activation: see
        `lacking`.
    """
    activation = NO_ACTIVATION if sums else case.epilogue.activation
    if lacking(activation):
        return {}
    activate = None if activation == RELU else in_place(activation, arrays.slopes_of(layout))
    products = _products(case, layout, arrays)
    return {form: _followed_by(product, layout, arrays, activate) for form, product in products.items()}


def numpy_converted(case: Case, layout: str, arrays: Operands) -> Forms:
    """Return functions that convert x to float32, compute a layer, and convert the result, by form.

    Weights are converted beforehand. As an advantage, all calls use one array for the converted x.
    """
    x = np.empty(arrays.x.shape, np.float32)
    wide = arrays.each(lambda array: array.astype(np.float32))._replace(x=x)

    def converted(form: Call) -> Call:
        def call() -> Array:
            np.copyto(x, arrays.x, casting="unsafe")
            return as_array(form(), case.dtypes.result)

        return call

    return {name: converted(form) for name, form in numpy_baseline(case, layout, wide, 1).items()}


def numpy_sum(case: Case, layout: str, arrays: Operands) -> Array:
    """Return the sum before the activation, computed by NumPy in the dtype of the arrays."""
    product = next(iter(_products(case, layout, arrays).values()))
    return _followed_by(product, layout, arrays, lambda y: None)()


def _followed_by(product: Call, layout: str, arrays: Operands, activate: Callable[[Array], Any] | None) -> Call:
    """Return a call of the product and the epilogue. If `activate` is None, it computes ReLU inline, to save a call."""
    residual = arrays.residual
    bias = arrays.bias if arrays.bias is None or layout == "NHWC" else arrays.bias[:, None, None]

    def call() -> Array:
        y = product()
        if bias is not None:
            y += bias
        if residual is not None:
            y += residual
        if activate is None:
            np.maximum(y, 0, out=y)
        else:
            activate(y)
        return y

    return call


def _products(case: Case, layout: str, arrays: Operands) -> dict[str, Call]:
    """Return the products by form. The first one computes every layer."""
    s, weight = case.stride, arrays.weight
    if layout == "NCHW":
        x = arrays.x[:, :, ::s, ::s]
        shape = (case.n, case.cout, *x.shape[2:])
        products = _nchw(x, weight, shape) if case.groups == 1 else _grouped_nchw(x, weight, shape, case.groups)
        factors = weight[:, :, None]
    else:
        x = arrays.x[:, ::s, ::s]
        shape = (*x.shape[:3], case.cout)
        products = _nhwc(x, weight, shape) if case.groups == 1 else _grouped_nhwc(x, weight, shape, case.groups)
        factors = weight[:, 0]
    if 1 < case.groups == case.cin == case.cout:
        products["x * k"] = lambda: x * factors
    return products


def _nchw(x: Array, m: Array, shape: tuple[int, ...]) -> dict[str, Call]:
    n, cin = x.shape[:2]
    cout = len(m)
    pixels = shape[2] * shape[3]
    flat = (n, cin, pixels)

    def per_image() -> Array:
        y = np.empty(shape, x.dtype)
        for image, result in zip(x.reshape(flat), y.reshape(n, cout, pixels), strict=True):
            np.matmul(m, image, out=result)
        return y

    products: dict[str, Call] = {
        "m @ x": lambda: np.matmul(m, x.reshape(flat)).reshape(shape),
        "per-image matmul": per_image,
        "tensordot": lambda: np.ascontiguousarray(np.tensordot(m, x, (1, 1)).swapaxes(0, 1)),
    }
    if n == 1:
        products["dot"] = lambda: np.dot(m, x.reshape(cin, pixels)).reshape(shape)
    if cout == 1:
        v = m[0]
        products["v @ x"] = lambda: np.matmul(v, x.reshape(flat)).reshape(shape)
    return products


def _nhwc(x: Array, weight: Array, shape: tuple[int, ...]) -> dict[str, Call]:
    n, h, w, cin = x.shape
    cout = len(weight)
    flat = (n * h * w, cin)
    m, transposed = np.ascontiguousarray(weight.T), weight.T

    def per_image() -> Array:
        y = np.empty(shape, x.dtype)
        for image, result in zip(x.reshape(n, h * w, cin), y.reshape(n, h * w, cout), strict=True):
            np.matmul(image, m, out=result)
        return y

    products: dict[str, Call] = {
        "flattened x @ m": lambda: np.matmul(x.reshape(flat), m).reshape(shape),
        "x @ m": lambda: np.matmul(x, m),
        "flattened x @ m.T": lambda: np.matmul(x.reshape(flat), transposed).reshape(shape),
        "x @ m.T": lambda: np.matmul(x, transposed),
        "dot": lambda: np.dot(x.reshape(flat), m).reshape(shape),
        "dot with m.T": lambda: np.dot(x.reshape(flat), transposed).reshape(shape),
        "tensordot": lambda: np.tensordot(x, weight, (3, 1)),
        "per-image matmul": per_image,
    }
    if cout == 1:
        v = weight[0]
        products["x @ v"] = lambda: np.matmul(x, v)[..., None]
        products["flattened x @ v"] = lambda: np.matmul(x.reshape(flat), v).reshape(shape)
    return products


def _grouped_nchw(x: Array, weight: Array, shape: tuple[int, ...], groups: int) -> dict[str, Call]:
    m = weight.reshape(groups, shape[1] // groups, -1)
    flat = (shape[0], groups, -1, shape[2] * shape[3])
    return {"grouped matmul": lambda: np.matmul(m, x.reshape(flat)).reshape(shape)}


def _grouped_nhwc(x: Array, weight: Array, shape: tuple[int, ...], groups: int) -> dict[str, Call]:
    m = np.ascontiguousarray(weight.reshape(groups, shape[3] // groups, -1).transpose(0, 2, 1))
    flat = (shape[0] * shape[1] * shape[2], groups, -1)

    def grouped_matmul() -> Array:
        y = np.empty(shape, x.dtype)
        np.matmul(x.reshape(flat).transpose(1, 0, 2), m, out=y.reshape(flat).transpose(1, 0, 2))
        return y

    return {"grouped matmul": grouped_matmul}
