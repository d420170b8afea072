"""A script of a user. Type checkers must accept it and infer the types that it names: see test_types.py."""

from __future__ import annotations

import pathlib
from typing import Any

import numpy as np
import pointwise as pw
from numpy.typing import NDArray
from typing_extensions import assert_type


def dtypes_of_results(
    x: NDArray[np.float32],
    wide: NDArray[np.float64],
    image: NDArray[np.uint8],
    unknown: NDArray[Any],
    out: NDArray[np.float64],
) -> None:
    weight = np.ones((16, 32), np.float32)
    assert_type(pw.conv(x, weight), NDArray[np.float32])
    assert_type(pw.conv(wide, weight, stride=(2, 1), activation=("clip", 0, 6)), NDArray[np.float64])
    assert_type(pw.conv(image, weight, np.zeros(16), layout="NHWC", activation="relu"), NDArray[np.float32])
    assert_type(pw.conv(image, weight, out_dtype=np.uint8), NDArray[np.uint8])
    assert_type(pw.conv(image, weight, out_dtype=np.dtype(np.int16)), NDArray[np.int16])
    assert_type(pw.conv(x, weight, out=out), NDArray[np.float64])
    assert_type(pw.conv(image, weight, out_dtype="uint8"), NDArray[Any])
    assert_type(pw.conv([[1.0, 2.0]], [[1.0, 1.0]], layout="NC"), NDArray[Any])
    assert_type(pw.mix(x, [[1, 2], [3, 4]], axis=0), NDArray[np.float32])
    assert_type(pw.mix(image, np.eye(3), out_dtype=np.uint8), NDArray[np.uint8])
    assert_type(pw.conv_integer(image, np.ones((16, 32), np.int8), 3), NDArray[np.int32])
    pw.conv(unknown, weight, activation=("prelu", np.ones(16)), input_scale=np.ones((1, 32)))


def layers(x: NDArray[np.float32], folder: pathlib.Path) -> NDArray[np.float32]:
    first = pw.Conv(np.ones((16, 32)), dtype="float32", activation="silu", padding=[1, 0])
    second = pw.Conv.from_batchnorm(np.ones((8, 16)), mean=np.zeros(8), variance=np.ones(8))
    chain = pw.Chain([first, second])
    with pw.num_threads(2):
        y = chain(first(x), out=np.empty((1, 8, 10, 10), np.float32))
    np.save(folder / "y.npy", y)
    counted: pw.Cost = pw.cost(x.shape, 16, bias=True)
    assert_type(counted.flops, int)
    assert_type(pw.isa(), str)
    return y.astype(np.float32)


def gradients(grad: NDArray[np.float32], x: NDArray[np.float32], weight: NDArray[np.float32]) -> float:
    dx = pw.conv_grad_input(grad, weight, x.shape)
    dw = pw.conv_grad_weight(grad, x, accumulate=False)
    assert_type(dx, NDArray[np.float32])
    assert_type(dw, NDArray[np.float32])
    wide = grad.astype(np.float64)
    assert_type(pw.conv_grad_weight(wide, x), NDArray[np.float64])
    assert_type(pw.conv_grad_weight(wide, x, out=dw, accumulate=True), NDArray[np.float32])
    assert_type(pw.conv_grad_bias(grad.astype(np.float16)), NDArray[Any])
    assert_type(pw.conv_backward(wide, x, weight, y=wide, activation="relu")[1], NDArray[np.float64])
    return float(dx.sum() + dw.sum() + pw.conv_grad_bias(grad).sum())
