"""Calls with one wrong argument. A call must raise the right exception, name the argument and not change `out`."""

import numpy as np
import pointwise as pw
import views
from soak_problems import Arrays, Mismatch


def longer(shape, axis=0):
    return tuple(n + (i == axis) for i, n in enumerate(shape))


def wrong(arrays, layout, out):
    """Return values that do not fit, for each argument: (name, value, exception)."""
    x, weight, shape = arrays.x, arrays.weight, arrays.shape
    dtype = weight.dtype  # the dtype of all arrays except x, which may have integers
    other = np.float32 if dtype == np.float64 else np.float64
    read_only = out[...]
    read_only.flags.writeable = False
    return [
        ("x", np.ones(longer(x.shape, layout.index("C")), x.dtype), ValueError),
        ("x", x[..., None], ValueError),
        ("x", x.astype(int), TypeError),
        ("x", np.ma.array(x), TypeError),
        ("x", None, TypeError),
        ("weight", weight.reshape(-1), ValueError),
        ("weight", weight.astype(complex), TypeError),
        ("bias", np.ones(len(weight) + 1), ValueError),
        ("bias", np.ones(len(weight), "U1"), TypeError),
        ("residual", np.ones(longer(shape), dtype), ValueError),
        ("residual", np.ones(shape, other), TypeError),
        ("out", np.ones(longer(shape, -1 % len(shape)), dtype), ValueError),
        ("out", np.ones(shape, other), TypeError),
        ("out", [], TypeError),
        ("out", read_only, ValueError),
        ("input_scale", np.ones((9, 9, 9), dtype), ValueError),
        ("layout", "NOPE", ValueError),
        ("layout", 1, TypeError),
        ("stride", 0, ValueError),
        ("stride", 1.5, TypeError),
        ("padding", -1, ValueError),
        ("padding", 2**63, ValueError),
        ("groups", 0, ValueError),
        ("groups", len(weight) + 1, ValueError),
        ("activation", "rule", ValueError),
        ("activation", ("clip", 1, 0), ValueError),
    ]


def run_wrong(rng, problem):
    """Make one argument wrong, check the exception, and return a line for the report."""
    arrays = Arrays(problem | {"residual": None, "out": False})
    how = problem["layer"]["how"]
    out, base = views.empty(problem["ways"][2], arrays.shape, arrays.weight.dtype)
    cases = wrong(arrays, how["layout"], out)
    name, value, exception = cases[rng.integers(len(cases))]
    if name in ("groups",) and len(arrays.weight) == 0:
        return []  # any number of groups divides 0 channels
    before = base.tobytes()
    good = {"x": arrays.x, "weight": arrays.weight, "bias": arrays.bias, "out": out, "input_scale": arrays.scale}
    said = ""
    try:
        pw.conv(**(good | how | {name: value}))
    except exception as error:
        said = str(error)
    except Exception as error:
        raise Mismatch(f"{name}={value!r}: expected {exception.__name__}, got {error!r}") from error
    if name not in said:
        raise Mismatch(f"{name}={value!r}: expected {exception.__name__} that names it, got {said!r}")
    if base.tobytes() != before:
        raise Mismatch(f"{name}={value!r}: out or bytes around it were written")
    arrays.out, arrays.base, arrays.way = out, base, problem["ways"][2]
    arrays.check(pw.conv(**(good | how)))
    return [f"wrong: {name}={value!r}"]
