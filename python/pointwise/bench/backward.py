"""Contenders of ``pointwise bench --pass backward``: each computes one gradient of a layer, on float32 NumPy arrays.

A layer has two gradients, which are timed separately: dx, the gradient with respect to x, and dw, the gradients with
respect to the weight and the bias. Calls return tuples of arrays: (dx,), (dw, db), or (dw,) for a layer without a bias.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from .._gradients import conv_grad_bias, conv_grad_input, conv_grad_weight
from ..cli.parser import require
from .contenders import US
from .verify import WrongResult, named_forms

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from .layers import Case

    Array: TypeAlias = NDArray[Any]
    Gradients: TypeAlias = tuple[Array, ...]
    Call: TypeAlias = Callable[[], Gradients]
    Forms: TypeAlias = dict[str, Call]

LARGEST = 2  # absolute value of the integers of the check


class Arrays(NamedTuple):
    """Arrays of a layer: the gradient with respect to y, x and the weight."""

    grad: Array
    x: Array
    weight: Array


def integers(case: Case, layout: str) -> Arrays:
    """Return arrays of small random integers, the same in each call. Their sums of products are exact in float32."""
    rng = np.random.default_rng(0)
    shapes = case.cost(layout).output_shape, case.shape(layout), (case.cout, case.cin // case.groups)
    return Arrays(*(rng.integers(-LARGEST, LARGEST, shape, np.int8, True).astype(np.float32) for shape in shapes))


def randomize(arrays: Arrays) -> None:
    """Overwrite arrays with random numbers that use all bits of a mantissa."""
    rng = np.random.default_rng(0)
    for array in arrays:
        rng.standard_normal(out=array, dtype=np.float32)


def prepare(names: Sequence[str], threads: int, case: Case, layout: str) -> dict[str, Forms]:
    """Return the calls of contenders by name and form, after an exact check of each.

    The check uses integers. Then the arrays are overwritten with random numbers for the timing.

    Raises
    ------
    WrongResult
        If a result is wrong.
    """
    arrays = integers(case, layout)
    forms = {name: CONTENDERS[name](case, layout, arrays, threads) for name in names}
    expected: Gradients = next(iter(_numpy(case, layout, arrays, 1).values()))()
    for name in names:
        for words, call in named_forms(name, forms[name]):
            _check(f"{words} on {case.network} {case.layer} in {layout}", case.gradient, call(), expected)
    randomize(arrays)
    return forms


def _check(what: str, gradient: str | None, results: Gradients, expected: Gradients) -> None:
    for name, result, right in zip((gradient, "db"), results, expected, strict=False):
        found, wanted = (result.shape, result.dtype), (right.shape, right.dtype)
        if found != wanted:
            message = f"wrong {name} of {what}: shape {found[0]}, dtype {found[1]}, not {wanted[0]}, {wanted[1]}"
            raise WrongResult(message)
        wrong = result != right
        if wrong.any():
            index = tuple(int(i) for i in np.unravel_index(np.argmax(wrong), wrong.shape))
            raise WrongResult(
                f"wrong {name} of {what}: {np.count_nonzero(wrong)} of {wrong.size} elements; "
                f"at {index} {result[index]:.9g}, not {right[index]:.9g}"
            )


def _pointwise(case: Case, layout: str, arrays: Arrays, threads: int) -> Forms:
    grad, x, weight = arrays
    how: dict[str, Any] = {"layout": layout, "stride": case.stride, "groups": case.groups}

    def dx() -> Gradients:
        return (conv_grad_input(grad, weight, x.shape, **how),)

    def dw() -> Gradients:
        return (conv_grad_weight(grad, x, **how),)

    def dw_db() -> Gradients:
        return conv_grad_weight(grad, x, **how), conv_grad_bias(grad, layout=layout)

    return {"": dx if case.gradient == "dx" else dw_db if case.epilogue.bias else dw}


def _torch(case: Case, layout: str, arrays: Arrays, threads: int) -> Forms:
    """Return the function that PyTorch's autograd calls, for tensors that share the memory of the arrays."""
    module = require("torch", "--vs torch")
    module.set_num_threads(threads)
    nhwc = layout == "NHWC"
    # channels last in PyTorch: the axes keep the order NCHW, but channels are contiguous
    axes = (0, 3, 1, 2) if nhwc else (0, 1, 2, 3)
    grad, x = (module.from_numpy(array).permute(axes) for array in (arrays.grad, arrays.x))
    weight = module.from_numpy(arrays.weight)[:, :, None, None]
    mask = [True, False, False] if case.gradient == "dx" else [False, True, case.epilogue.bias]
    backward = module.ops.aten.convolution_backward
    window = [case.stride, case.stride], [0, 0], [1, 1], False, [0, 0], case.groups

    def call() -> Gradients:
        with module.inference_mode():
            dx, dw, db = backward(grad, x, weight, [case.cout], *window, mask)
        if mask[0]:
            result: Array = dx.numpy()
            return (result.transpose(0, 2, 3, 1) if nhwc else result,)
        return (dw.numpy()[:, :, 0, 0], db.numpy()) if mask[2] else (dw.numpy()[:, :, 0, 0],)

    return {"": call}


def _numpy(case: Case, layout: str, arrays: Arrays, threads: int) -> Forms:
    """Return functions that compute the gradients in NumPy, by form. The first form of each computes every layer."""
    if case.gradient == "dx":
        products = (_nchw_dx if layout == "NCHW" else _nhwc_dx)(case, arrays)
        return {form: _spread(product, case, layout) for form, product in products.items()}
    products = (_nchw_dw if layout == "NCHW" else _nhwc_dw)(case, arrays)
    if not case.epilogue.bias:
        return {form: lambda product=product: (product(),) for form, product in products.items()}  # type: ignore[misc]
    bias = _bias(case, layout, arrays)
    return {
        form: lambda product=product: (product(), bias())  # type: ignore[misc]
        for form, product in products.items()
    }


def _spread(product: Callable[[], Array], case: Case, layout: str) -> Call:
    """Return a call of a product for the pixels of x that y reads. It sets the other pixels to zero."""
    shape, s = case.shape(layout), case.stride
    if s == 1:
        return lambda: (product().reshape(shape),)

    def call() -> Gradients:
        dx = np.zeros(shape, np.float32)
        read = dx[:, :, ::s, ::s] if layout == "NCHW" else dx[:, ::s, ::s]
        read[...] = product().reshape(read.shape)
        return (dx,)

    return call


def _bias(case: Case, layout: str, arrays: Arrays) -> Callable[[], Array]:
    """Return the sum over pixels as a product with ones, which is faster than numpy.sum."""
    grad = arrays.grad
    flat = grad.reshape(case.n, case.cout, -1) if layout == "NCHW" else grad.reshape(-1, case.cout)
    ones = np.ones(flat.shape[-1] if layout == "NCHW" else flat.shape[0], np.float32)
    return (lambda: np.matmul(flat, ones).sum(0)) if layout == "NCHW" else (lambda: np.matmul(ones, flat))


def _nchw_dx(case: Case, arrays: Arrays) -> dict[str, Callable[[], Array]]:
    groups, grad, weight = case.groups, arrays.grad, arrays.weight
    grads = grad.reshape(case.n, groups, case.cout // groups, -1)
    turned = weight.reshape(groups, case.cout // groups, -1).transpose(0, 2, 1)
    products: dict[str, Callable[[], Array]] = {"m.T @ grad": lambda: np.matmul(turned, grads)}
    if groups == 1:
        products["tensordot"] = lambda: np.ascontiguousarray(np.tensordot(weight, grad, (0, 1)).swapaxes(0, 1))
    return products


def _nhwc_dx(case: Case, arrays: Arrays) -> dict[str, Callable[[], Array]]:
    groups, weight = case.groups, arrays.weight
    grads = arrays.grad.reshape(-1, groups, case.cout // groups)
    if groups == 1:
        return {"grad @ m": lambda: np.matmul(grads[:, 0], weight), "dot": lambda: np.dot(grads[:, 0], weight)}
    matrices = weight.reshape(groups, case.cout // groups, -1)

    def grouped() -> Array:
        result = np.empty((len(grads), groups, case.cin // groups), np.float32)
        np.matmul(grads.transpose(1, 0, 2), matrices, out=result.transpose(1, 0, 2))
        return result

    return {"grouped matmul": grouped}


def _nchw_dw(case: Case, arrays: Arrays) -> dict[str, Callable[[], Array]]:
    groups, s, grad = case.groups, case.stride, arrays.grad
    x = arrays.x[:, :, ::s, ::s]
    grads = grad.reshape(case.n, groups, case.cout // groups, -1)

    def pixels() -> Array:
        turned: Array = x.reshape(case.n, groups, case.cin // groups, -1).swapaxes(2, 3)
        return turned

    def per_image() -> Array:
        result = np.zeros((groups, case.cout // groups, case.cin // groups), np.float32)
        for image, columns in zip(grads, pixels(), strict=True):
            result += np.matmul(image, columns)
        dw: Array = result.reshape(arrays.weight.shape)
        return dw

    products: dict[str, Callable[[], Array]] = {"per-image matmul": per_image}
    if case.n > 1:
        products["grad @ x.T"] = lambda: np.matmul(grads, pixels()).sum(0).reshape(arrays.weight.shape)
    if groups == 1:
        products["tensordot"] = lambda: np.tensordot(grad, x, ((0, 2, 3), (0, 2, 3)))
    return products


def _nhwc_dw(case: Case, arrays: Arrays) -> dict[str, Callable[[], Array]]:
    groups, s = case.groups, case.stride
    x = arrays.x[:, ::s, ::s]
    grads = arrays.grad.reshape(-1, groups, case.cout // groups)

    def pixels() -> Array:
        return x.reshape(-1, groups, case.cin // groups)

    if groups == 1:
        return {
            "grad.T @ x": lambda: np.matmul(grads[:, 0].T, pixels()[:, 0]),
            "dot": lambda: np.dot(grads[:, 0].T, pixels()[:, 0]),
        }
    turned = grads.transpose(1, 2, 0)
    return {
        "grouped matmul": lambda: np.matmul(turned, pixels().transpose(1, 0, 2)).reshape(arrays.weight.shape),
    }


CONTENDERS: dict[str, Callable[[Case, str, Arrays, int], Forms]] = {
    US: _pointwise,
    "numpy": _numpy,
    "torch": _torch,
}
