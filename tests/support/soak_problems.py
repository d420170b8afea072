"""Random problems of the soak run. A problem is a dictionary of plain values, which determine all arrays."""

import definitions
import ml_dtypes  # noqa: F401
import numpy as np
import pointwise as pw
import reference
import views

INTEGERS = ("uint8", "int8", "uint16", "int16")  # dtypes of x for a float32 layer
FLOATS = ("float32", "float16", "bfloat16")  # dtypes of results, except for x of float64. NumPy knows ml_dtypes' name
# EXACT activations give exact results for small integers. For ROUNDED activations, `nearly` bounds the error.
EXACT = [None, "relu", "relu6", ("clip", -3, 5), ("leaky_relu", 0.25)]
PIECEWISE = ("relu", "relu6", "clip", "leaky_relu", "prelu")
ROUNDED = [("elu", 0.75) if name == "elu" else name for name in definitions.NAMES if name not in PIECEWISE]


def sum_dtype(dtype):
    """Return the dtype of the sums and of the bias."""
    return np.dtype(np.float64 if dtype == "float64" else np.float32)


class Mismatch(Exception):
    """A wrong result."""


def of_length(rng, layout, total):
    """Return lengths of the spatial axes whose product is about `total`."""
    axes = reference.spatial(layout)
    lengths, rest = {}, max(int(total), 0)
    for axis in axes[:-1]:
        lengths[axis] = min(int(rng.integers(1, 8 if len(axes) > 2 else 40)), max(rest, 1))
        rest //= lengths[axis]
    if axes:
        lengths[axes[-1]] = rest
    return lengths


def draw(rng, *, layer=None):
    """Draw a problem. If `layer` is given, the new problem uses this layer of another problem."""
    if layer is None:
        layout = str(rng.choice(reference.LAYOUTS))
        axes = len(reference.spatial(layout))
        groups = int(rng.choice([1, 1, 1, 2, 3]))
        most = int(rng.choice([4, 40, 200]))
        integers = bool(rng.integers(2))

        def window(least, end):
            one = [int(n) for n in rng.integers(least, end, max(axes, 1))]
            return least if rng.random() < 0.6 else tuple(one) if axes and rng.random() < 0.5 else one[0]

        c_out = groups * int(rng.integers(0 if rng.random() < 0.05 else 1, most))
        activations = EXACT if rng.random() < 0.6 else ROUNDED
        activation = activations[rng.integers(len(activations))]
        if rng.random() < 0.1:
            slopes = rng.choice([-2, -1.25, -0.25, 0.5, 1, 1.75], c_out)  # a slope of 0 would give -0.0
            activation = ("prelu", tuple(map(float, slopes)))
        layer = {
            "weight": (c_out, int(rng.integers(0, most))),
            "bias": bool(rng.integers(2)),
            "dtype": str(rng.choice(["float32", "float32", "float64", "float16", "bfloat16"])),
            "integers": integers,
            "seed": int(rng.integers(2**31)),
            "how": {
                "layout": layout,
                "stride": window(1, 4),
                "padding": window(0, 3),
                "groups": groups,
                "activation": activation,
            },
            "int8": rng.random() < 0.3,  # int8 weights, for float32
        }
    c_out, c = layer["weight"]
    layout = layer["how"]["layout"]
    # Most steps should be short. The reference is slow for float64, because it computes in a wider type.
    macs = 10 ** rng.uniform(2, 6.3 if layer["dtype"] != "float64" else 5)
    n = int(rng.choice([0, 1, 1, 1, 2, 3]))
    c_in = c * layer["how"]["groups"]
    pixels = min(macs / max(c_out * c, 1), macs / 4 / max(c_out + c_in, 1)) / max(n, 1)
    sizes = {"N": n, "C": c_in} | of_length(rng, layout, pixels)
    ways = list(views.WAYS)
    return {
        "layer": layer,
        "x": tuple(sizes[axis] for axis in layout),
        "x_dtype": str(rng.choice(INTEGERS)) if layer["dtype"] == "float32" and rng.random() < 0.3 else layer["dtype"],
        "y_dtype": str(rng.choice(INTEGERS + FLOATS)) if rng.random() < 0.5 else None,  # used if x may give it
        "residual": [None, None, "apart", "in place"][rng.integers(4)],
        "scale": rng.random() < 0.2,
        "out": bool(rng.integers(2)),
        "ways": [str(rng.choice(ways)) for _ in range(3)] if rng.random() < 0.6 else ["contiguous"] * 3,
        "threads": [None, 1, 2, 3, 5][rng.integers(5)],
        "seed": int(rng.integers(2**31)),
    }


def numbers(rng, integers, shape, dtype):
    return (rng.integers(-8, 9, shape) if integers else rng.standard_normal(shape)).astype(dtype)


def given_parameters(layer):
    """Return the weights and bias that create a problem's layer. Int8 weights are a pair with their scales."""
    rng = np.random.default_rng(layer["seed"])
    weight = numbers(rng, layer["integers"], layer["weight"], layer["dtype"])
    bias = numbers(rng, layer["integers"], layer["weight"][:1], sum_dtype(layer["dtype"])) if layer["bias"] else None
    if has_int8(layer):
        weight = (
            (weight.astype(np.int8), np.ones(len(weight), "f4")) if layer["integers"] else pw.quantize_weight(weight)
        )
    return weight, bias


def has_int8(layer):
    return layer.get("int8", False) and layer["dtype"] == "float32"


def parameters(layer):
    """Return the weights and bias of a problem's layer."""
    weight, bias = given_parameters(layer)
    return (weight[0] * weight[1][:, None] if isinstance(weight, tuple) else weight), bias


def make(layer):
    return pw.Conv(*given_parameters(layer), **layer["how"], **({"weight_dtype": "int8"} if has_int8(layer) else {}))


class Arrays:
    """The arrays of a call, and its expected result."""

    def __init__(self, problem):
        rng, layer = np.random.default_rng(problem["seed"]), problem["layer"]
        dtype, how = np.dtype(layer["dtype"]), dict(layer["how"])
        self.activation, self.exact = how.pop("activation"), layer["integers"]
        self.axis = how["layout"].index("C")
        self.weight, self.bias = parameters(layer)
        plain = numbers(rng, self.exact, problem["x"], dtype)
        if problem["x_dtype"] != dtype:  # sums of integers of the whole range are not exact
            limits = np.iinfo(problem["x_dtype"])
            plain = plain.clip(limits.min, 8) if self.exact else rng.integers(limits.min, limits.max, plain.shape)
        plain = plain.astype(problem["x_dtype"])
        self.x, scaled, self.scale = views.put(problem["ways"][0], plain), plain.astype(dtype), None
        if problem["scale"]:
            layout = how["layout"]
            self.scale = numbers(rng, self.exact, [problem["x"][layout.index(a)] for a in "NC" if a in layout], dtype)
            scaled = reference.scaled(scaled, self.scale, layout)
        self.shape = reference.exact_value(scaled[:0] if "N" in how["layout"] else scaled, self.weight, **how).shape
        if "N" in how["layout"]:
            self.shape = (problem["x"][0], *self.shape[1:])
        self.dtype = dtype
        integers = problem["y_dtype"] in INTEGERS
        if problem["y_dtype"] and (problem["x_dtype"] in INTEGERS if integers else dtype != np.float64):
            problem = problem | {"out": True} | ({"residual": None} if integers else {})
            self.dtype = np.dtype(problem["y_dtype"])
        residual = numbers(rng, self.exact, self.shape, self.dtype) if problem["residual"] else None
        self.value, self.bound = reference.exact(scaled, self.weight, self.bias, residual=residual, **how)
        self.before, self.way = self.x.copy(), problem["ways"][2]
        self.out = self.base = self.residual = None
        if problem["out"] or problem["residual"] == "in place":
            self.out, self.base = views.empty(self.way, self.shape, self.dtype)
        if residual is not None:
            self.residual = views.put(problem["ways"][1], residual)
            if problem["residual"] == "in place":
                self.out[...] = residual
                self.residual = self.out

    def check(self, y):
        """Raise `Mismatch` if y is not the expected result, or if anything else was written."""
        try:
            if self.out is not None:
                assert y is self.out, "out is not returned"
                views.assert_wrote_only(self.way, self.base, np.array(y))
            assert y.dtype == self.dtype, f"dtype {y.dtype}"
            assert self.x.tobytes() == self.before.tobytes(), "x was written"
            self._check_values(np.asarray(y))
        except AssertionError as error:
            raise Mismatch(str(error) or "bytes around out were written") from error

    def _check_values(self, y):
        value = self.value.astype(np.float64)
        dtype, activation = sum_dtype(self.weight.dtype), self.activation
        expected = value if activation is None else definitions.computed(activation, value, dtype, self.axis)
        exact = self.exact and (activation in EXACT or activation[0] == "prelu")
        if y.dtype.kind in "ui":
            self._check_integers(y, expected, exact)
            return
        if exact:
            reference.assert_same_bits(y, reference.rounded(expected, y.dtype) + y.dtype.type(0))
            return
        if self.activation is None:
            reference.assert_within_bound(y, self.value, self.bound)
            return
        reference.assert_within_bound(y, expected, self._bound(expected))

    def _check_integers(self, y, expected, exact):
        """Check numbers that were converted to integers. A number within its bound may round to the next integer."""
        bound = 0 if exact else self.bound if self.activation is None else self._bound(expected)
        limits = np.iinfo(y.dtype)
        least, most = (np.rint(expected + sign * bound).clip(limits.min, limits.max) for sign in (-1, 1))
        assert ((least <= y) & (y <= most)).all(), "a number is not rounded to the nearest integer"

    def _bound(self, expected):
        """Return the bound of the error of an activation.

        It is the error of the sum times the Lipschitz constant, plus the rounding error of the activation. This
        rounding error grows with the magnitude of the sum. Below 1, it is as large as for a sum of 1.
        """
        value = self.value.astype(np.float64)
        name = self.activation if isinstance(self.activation, str) else self.activation[0]
        bound = 0 if self.exact else definitions.LIPSCHITZ.get(name, 1) * self.bound.astype(np.float64)
        rounded = 0 if name in PIECEWISE else np.maximum(abs(value) + bound, 1)
        nearly = 1e-10 if self.weight.dtype == np.float64 else 2.0**-20
        return bound + nearly * (rounded + abs(expected)) + 1e-37  # bfloat16 has no subnormal results


def run(problem, layer=None):
    """Compute a problem and check the result. Uses `layer`, or `pw.conv` if `layer` is None."""
    arrays = Arrays(problem)
    how = {"residual": arrays.residual, "out": arrays.out, "input_scale": arrays.scale}

    def call():
        if layer is not None:
            return layer(arrays.x, **how)
        return pw.conv(arrays.x, arrays.weight, arrays.bias, **how, **problem["layer"]["how"])

    if problem["threads"] is None:
        arrays.check(call())
    else:
        with pw.num_threads(problem["threads"]):
            y = call()
        arrays.check(y)
