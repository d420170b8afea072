"""Pointwise (1x1) convolution of NumPy arrays on the CPU.

A pointwise convolution mixes the channels of each pixel and never mixes pixels::

    import numpy as np
    import pointwise as pw

    layer = pw.Conv(weight, bias, activation="relu")  # packs the weights once
    y = layer(x)                                      # (N, C_in, H, W) -> (N, C_out, H, W)
    y = pw.conv(x, weight, bias, layout="NHWC")       # a single call; x is (N, H, W, C_in)

The package also applies a matrix along any axis: ``pw.mix(image, matrix)``.
"""

# In a second interpreter, the import of NumPy fails, but the import of the extension would hang. So NumPy comes first.
import numpy as _numpy  # noqa: F401

from . import _startup, _threadpoolctl  # noqa: F401
from ._batchnorm import fold_batchnorm
from ._chain import Chain
from ._conv import Conv, conv
from ._core import version as __version__
from ._cost import Cost, cost
from ._gradients import conv_backward, conv_grad_bias, conv_grad_input, conv_grad_weight
from ._mix import mix
from ._qconv import QConv
from ._quantize import calibrate, quantize_weight
from ._quantized import conv_integer, qconv
from ._runtime import get_num_threads, isa, num_threads, release_memory, set_memory_limit, set_num_threads, show_config
from ._runtime import warn_about_environment as _warn_about_environment
from ._statistics import Covariance, covariance, gram

__all__ = [
    "Chain",
    "Conv",
    "Cost",
    "Covariance",
    "QConv",
    "__version__",
    "calibrate",
    "conv",
    "conv_backward",
    "conv_grad_bias",
    "conv_grad_input",
    "conv_grad_weight",
    "conv_integer",
    "cost",
    "covariance",
    "fold_batchnorm",
    "get_num_threads",
    "gram",
    "isa",
    "mix",
    "num_threads",
    "qconv",
    "quantize_weight",
    "release_memory",
    "set_memory_limit",
    "set_num_threads",
    "show_config",
]

_warn_about_environment()
