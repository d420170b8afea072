"""Definitions of activations in a wider type, their arguments in tests, and the allowed errors.

Like reference.py, this module uses nothing of the package. The wider type of float32 is float64. The wider type of
float64 is NumPy's longdouble, if longdouble is wider.
"""

import math

import numpy as np

# All activations except "prelu", which depends on the channel.
NAMES = (
    "relu",
    "relu6",
    "clip",
    "leaky_relu",
    "elu",
    "sigmoid",
    "tanh",
    "silu",
    "hardsigmoid",
    "hardswish",
    "gelu",
    "gelu_tanh",
    "softplus",
    "mish",
)
INF = float("inf")
# Every activation. Activations with parameters occur several times.
ACTIVATIONS = [name for name in NAMES if name != "clip"] + [
    ("clip", 0, 6),
    ("clip", -0.3, 0.7),
    ("clip", -INF, 2.5),
    ("clip", -1e-3, INF),
    ("clip", 1.5, 1.5),
    ("leaky_relu", 0.2),
    ("leaky_relu", 0),
    ("leaky_relu", -1.5),
    ("elu", 0.3),
    ("elu", -2),
    ("elu", 0),
]


def label(activation):
    """Return the name of an activation for pytest."""
    return activation if isinstance(activation, str) or activation is None else "-".join(map(str, activation))


def wider(dtype):
    return np.float64 if dtype == np.float32 else np.longdouble


def is_wider(dtype):
    """Return True if the significand of the wider type has 10 more bits. On some platforms longdouble is float64."""
    return np.finfo(wider(dtype)).nmant >= np.finfo(dtype).nmant + 10


def _sigmoid(v):
    return 1 / (1 + np.exp(-v))


def _softplus(v):
    return np.maximum(v, 0) + np.log1p(np.exp(-abs(v)))


def _gelu_tanh(v):
    t = np.sqrt(2 / np.arccos(v.dtype.type(-1))) * (v + v.dtype.type(44715) / 1000000 * v**3)
    return v * _sigmoid(2 * t)  # (1 + tanh(t))/2 without cancellation


def upper_tail(a):
    """Return 1 - Phi(a) for a >= 0, in a's type.

    Below 1, Phi(a) - 1/2 is phi(a) times a series of positive terms. From 1 on, 1 - Phi(a) is phi(a) times Mills'
    ratio, a continued fraction: 1/(a + 1/(a + 2/(a + ...))).
    """
    one = a.dtype.type(1)
    head = a.astype(np.float32).astype(a.dtype)  # head**2 is exact: an error of the exponent is a relative error of exp
    density = np.exp(-head * head / 2) * np.exp(-(a - head) * (a + head) / 2) / np.sqrt(2 * np.arccos(-one))
    below, fraction = np.minimum(a, 1), np.maximum(a, 1)
    term = total = below
    for k in range(1, 30):
        term = term * below * below / (2 * k + 1)
        total = total + term
    last = fraction
    for k in range(500, 0, -1):
        last = fraction + k / last
    return np.where(a < 1, one / 2 - density * total, density / last)


def _gelu(v):
    tail = upper_tail(np.minimum(abs(v), 150))  # the tail at 150 is 0 in the narrower type
    return v * np.where(v < 0, tail, 1 - tail)


def exact(activation, v):
    """Return the activation of v, which is float32 or float64, in the wider type."""
    return computed(activation, v.astype(wider(v.dtype)), v.dtype)


def computed(activation, v, dtype, axis=None):
    """Return the activation of v, computed in v's type. Its parameters are rounded to `dtype` first.

    "prelu" needs `axis`, the axis of the output channels.
    """
    name, *given = (activation,) if isinstance(activation, str) else activation
    if name == "prelu":
        slopes = np.asarray(given[0]).astype(dtype).astype(v.dtype)
        slopes = slopes.reshape([-1 if i == axis % v.ndim else 1 for i in range(v.ndim)])
        with np.errstate(all="ignore"):
            return np.where(v < 0, slopes * v, v)
    given = given or {"leaky_relu": [0.01], "elu": [1]}.get(name, [])
    a, b = (np.dtype(dtype).type(parameter).astype(v.dtype) for parameter in (*given, 0, 0)[:2])
    with np.errstate(all="ignore"):
        return {
            "relu": lambda: np.where(v < 0, 0, v),
            "relu6": lambda: np.clip(v, 0, 6),
            "clip": lambda: np.clip(v, a, b),
            "leaky_relu": lambda: np.where(v < 0, a * v, v),
            "elu": lambda: np.where(v < 0, a * np.expm1(v), v),
            "sigmoid": lambda: _sigmoid(v),
            "tanh": lambda: np.tanh(v),
            "silu": lambda: v * _sigmoid(v),
            "hardsigmoid": lambda: np.clip((v + 3) / 6, 0, 1),
            "hardswish": lambda: v * np.clip((v + 3) / 6, 0, 1),
            "gelu": lambda: _gelu(v),
            "gelu_tanh": lambda: _gelu_tanh(v),
            "softplus": lambda: _softplus(v),
            "mish": lambda: v * np.tanh(_softplus(v)),
        }[name]()


def points(rng, dtype, count=3000):
    """Return finite numbers of every magnitude, and numbers near each point at which a formula changes.

    Most of the numbers are in the range in which activations curve.
    """
    dtype = np.dtype(dtype)
    info = np.finfo(dtype)
    top = math.log10(float(info.max)) - 0.01
    seams = [
        0.5,
        0.625,
        1,
        1.5,
        2,
        3,
        6,
        0.7,
        0.3,
        9.9,
        10,
        13,
        20,
        21,
        37.5,
        40,
        87.3,
        88,
        88.4,
        104,
        708,
        709,
        710,
        746,
    ]
    around = np.repeat(np.array(seams, dtype), 9)
    around = (around.view(f"i{dtype.itemsize}") + np.tile(np.arange(-4, 5), len(seams))).view(dtype)
    parts = [
        rng.standard_normal(count) * 2,
        rng.uniform(-14, 14, count),
        rng.uniform(-110, 110, count) * (1 if dtype == np.float32 else 7),
        rng.choice([-1, 1], count) * 10.0 ** rng.uniform(-top, top, count),
        rng.integers(-2000, 2000, 200) * float(info.smallest_subnormal),
        np.concatenate([around, -around]).astype(np.float64),
        [float(info.max), -float(info.max), float(info.tiny), -float(info.tiny), 0.0, -0.0],
    ]
    return np.concatenate(parts).astype(dtype)


# Bounds of the derivatives. An activation multiplies an error of its argument by at most this number. The default is 1.
# The bound of "prelu" is for slopes of at most 2.
LIPSCHITZ = {"prelu": 2, "hardswish": 1.5, "gelu": 1.13, "gelu_tanh": 1.13, "silu": 1.1, "mish": 1.09}
ULPS = {"gelu": 4, "gelu_tanh": 4, "mish": 4, "softplus": 4}  # bounds in float32; all other bounds are 2


def errors(activation, v, y):
    """Return the errors of y, the computed activation of v, in units of the allowed error.

    In float32 the allowed error is 2 ULP, except for activations in `ULPS`. In float64 it is 4 ULP. An error of up to
    2**-48 |v| in float32, or 2**-106 |v| in float64, is always allowed. This exception matters only if v is large
    and the result is close to 0.
    """
    name = activation if isinstance(activation, str) else activation[0]
    value = exact(activation, v)
    with np.errstate(all="ignore"):
        rounded = value.astype(v.dtype)
        ulp = np.spacing(abs(rounded)).astype(value.dtype)
    units = 4 if v.dtype == np.float64 else ULPS.get(name, 2)
    far = abs(v.astype(value.dtype)) * value.dtype.type(2) ** (-48 if v.dtype == np.float32 else -106)
    # Rounding errors of the wider type. An exponent near 700 enlarges these errors.
    own = 1000 * np.finfo(value.dtype).eps * abs(value) if v.dtype == np.float64 else 0
    with np.errstate(all="ignore"):
        return np.where(y == rounded, 0, abs(y.astype(value.dtype) - value) / np.maximum(units * ulp + own, far))
