"""Checks and converts arguments, for the Python modules and for the extension.

The extension calls these functions only for arguments that it cannot convert itself.
"""

from __future__ import annotations

import numbers
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeVar

    from numpy.typing import ArrayLike, DTypeLike, NDArray

    # Types of the overloads of functions whose result has a known dtype.
    Float = TypeVar("Float", np.float32, np.float64)
    Integer = TypeVar("Integer", np.uint8, np.int8, np.uint16, np.int16)
    Result = TypeVar("Result", bound=np.generic)
    Out = TypeVar("Out", bound=NDArray[Any])

__all__ = [
    "ACTIVATION_NAMES",
    "ACTIVATION_PARAMETERS",
    "Activation",
    "as_dtype",
    "as_out_dtype",
    "as_parameter",
    "as_plain",
    "as_quantized",
    "as_source",
    "as_source_dtype",
    "as_weight",
    "bfloat16_number",
    "check_array",
    "check_overlap",
    "counted_dtype",
    "has_int8_weights",
    "parse_activation",
    "shown",
    "sum_dtype",
]

LONGEST = 200


def shown(obj: object) -> str:
    """Return the text of an object for an error message. Never fails.

    Parameters
    ----------
    obj : object
        Any object.

    Returns
    -------
    str
        ``repr(obj)``, shortened to `LONGEST` characters. If `repr` fails or gives text that cannot be printed, the text
        is the name of the type in angle brackets. `repr` fails for integers with too many digits, for tuples that are
        nested too deeply, and for objects whose `__repr__` raises.
    """
    try:
        text = repr(obj)
        text.encode()  # a lone surrogate cannot be printed
    except Exception:
        return f"<{type(obj).__name__}>"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."


Activation: TypeAlias = "str | tuple[str | float, ...] | tuple[str, ArrayLike] | None"

# Names, with the defaults of their parameters. None marks a parameter without a default. "prelu" has no line, because
# its parameter is an array.
ACTIVATION_PARAMETERS: dict[str, tuple[float | None, ...]] = {
    "relu": (),
    "relu6": (),
    "clip": (None, None),
    "leaky_relu": (0.01,),
    "elu": (1.0,),
    "sigmoid": (),
    "tanh": (),
    "silu": (),
    "hardsigmoid": (),
    "hardswish": (),
    "gelu": (),
    "gelu_tanh": (),
    "softplus": (),
    "mish": (),
}
_FIRST = ("relu", "relu6", "clip", "leaky_relu", "prelu")
ACTIVATION_NAMES = (*_FIRST, *(name for name in ACTIVATION_PARAMETERS if name not in _FIRST))
ACTIVATION_ALIASES = {"swish": "silu", "hard_swish": "hardswish", "hard_sigmoid": "hardsigmoid", "linear": "none"}
_PARAMETER_WORDS = {"clip": "bounds lo and hi", "leaky_relu": "a slope", "elu": "alpha"}


def parse_activation(activation: object) -> tuple[str, float, float, bytes]:
    """Check an activation that is not None.

    Parameters
    ----------
    activation : object
        A name, an alias of a name, or a tuple of a name and its parameters.

    Returns
    -------
    tuple
        The name, two parameters and the slopes of "prelu" as float64. A parameter that the activation does not have is
        0. The name of "linear", which applies no function, is "none".

    Raises
    ------
    TypeError
        If `activation` is neither a name nor a tuple, or a parameter is not a real number.
    ValueError
        If the name is unknown, the number of parameters is wrong, a parameter is beyond the range of float64, or slopes
        do not have one axis.
    """
    # Subclasses of tuple and str may override methods, so the methods of the base classes are called.
    given: tuple[object, ...] = tuple(tuple.__iter__(activation)) if isinstance(activation, tuple) else (activation,)
    name = given[0] if given else activation
    if not isinstance(name, str):
        raise TypeError(f"activation must be None, a name, or a tuple of name and parameters, got {shown(activation)}")
    name = str.__str__(name)  # a plain string, because a subclass may override __eq__ and __hash__
    name = ACTIVATION_ALIASES.get(name, name)
    if name == "none" and given == ("linear",):
        return name, 0.0, 0.0, b""
    if name == "prelu":
        return name, 0.0, 0.0, _slopes(activation, given[1:])
    if name not in ACTIVATION_PARAMETERS:
        raise ValueError(f"activation must be None or one of {', '.join(ACTIVATION_NAMES)}, got {shown(activation)}")
    defaults, values = ACTIVATION_PARAMETERS[name], given[1:]
    fewest = sum(default is None for default in defaults)
    if not fewest <= len(values) <= len(defaults):
        takes = f"takes {_PARAMETER_WORDS[name]}" if defaults else "takes no parameters"
        example = f", as in ({name!r}, 0, 6)" if name == "clip" else ""
        raise ValueError(f"activation {name!r} {takes}{example}, got {shown(activation)}")
    for value in values:
        if not isinstance(value, numbers.Real):
            raise TypeError(f"activation {name!r} takes real numbers as parameters, got {shown(activation)}")
    try:
        floats = [float(value) for value in values]  # type: ignore[arg-type]
    except OverflowError:
        got = shown(activation)
        raise ValueError(f"activation {name!r} takes numbers within the range of float64, got {got}") from None
    floats += [default for default in defaults[len(values) :] if default is not None]
    floats += [0.0] * (2 - len(floats))
    return name, floats[0], floats[1], b""


def _slopes(activation: object, values: tuple[object, ...]) -> bytes:
    """Return the slopes of "prelu" as float64. Their number is checked later, when the output channels are known."""
    if len(values) != 1:
        expected = "slopes of shape (C_out,), one for each output channel, as in ('prelu', slopes)"
        raise ValueError(f"activation 'prelu' takes {expected}, got {shown(activation)}")
    try:
        slopes = as_parameter(values[0], "float64", "slopes")
    except (TypeError, ValueError) as error:
        raise type(error)(f"activation 'prelu': {error}") from error
    if slopes.ndim != 1:
        raise ValueError(f"activation 'prelu': slopes must have shape (C_out,), got {slopes.shape}")
    return slopes.tobytes()


def _any_of(words: Sequence[str]) -> str:
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


HALVES = ("float16", "bfloat16")
FLOATS = ("float32", "float64", *HALVES)
INTEGERS = ("uint8", "int8", "uint16", "int16")  # for x only, with float32 weights
DTYPES = (*FLOATS, *INTEGERS)
ITEM_SIZES = {"float32": 4, "float64": 8, "float16": 2, "bfloat16": 2, "uint8": 1, "int8": 1, "uint16": 2, "int16": 2}
OF_SOURCE = f"{', '.join(FLOATS)} or an integer of 8 or 16 bits"


def _converted(obj: Any, name: str) -> NDArray[Any]:
    """Convert an object to an array by `numpy.asarray` or `numpy.from_dlpack`. Errors name the argument."""
    try:
        if hasattr(obj, "__dlpack__") and not hasattr(obj, "__array__"):
            return np.from_dlpack(obj)
        return np.asarray(obj)
    except (TypeError, BufferError, RuntimeError) as error:  # for example memory of a GPU
        raise TypeError(f"{name} must be an array on the CPU, got {type(obj).__name__}: {error}") from error
    except ValueError as error:  # rows of different lengths
        raise ValueError(f"{name} must be an array, got {type(obj).__name__}: {error}") from error


def as_plain(obj: Any, name: str) -> NDArray[Any]:
    """Convert an object to a base-class array in native byte order.

    The extension reads the result as a C structure, so the type must be right. This function reads `type(obj)`, because
    an object can fake `__class__`. Methods are called on ndarray, because a subclass can override methods.
    """
    kind: type = type(obj)
    if issubclass(kind, np.ma.MaskedArray):
        way = "out.data" if name == "out" else f"{name}.filled(value) or {name}.data"
        raise TypeError(f"{name} must be a plain array, got a MaskedArray: pass {way}")
    array: NDArray[Any]
    if kind is np.ndarray:
        array = obj
    elif issubclass(kind, np.ndarray):
        array = np.ndarray.view(obj, np.ndarray)
    else:
        array = _converted(obj, name)
    if not array.dtype.isnative:
        native = f"{name}.astype({name}.dtype.newbyteorder('='))"
        way = "an array in native byte order" if name == "out" else native  # astype would make a copy
        raise TypeError(f"{name} must have native byte order, got {array.dtype.str}: pass {way}")
    return array


def as_dtype(obj: DTypeLike, supported: Sequence[str] = FLOATS) -> np.dtype[Any]:
    """Return the argument `dtype` as one of the supported dtypes in native byte order."""
    expected = _any_of(supported)
    dtype = _native_dtype(obj, expected)
    if dtype.name not in supported:
        raise TypeError(f"dtype must be {expected}, got {dtype}")
    return dtype


def sum_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype of the sums and of the bias for x of a supported dtype."""
    return np.dtype(np.float64 if dtype.name == "float64" else np.float32)


def bfloat16_number() -> int:
    """Return NumPy's number of the dtype bfloat16. Imports ml_dtypes, which registers this dtype."""
    return int(_bfloat16("dtype").num)


def _bfloat16(name: str) -> np.dtype[Any]:
    try:
        import ml_dtypes
    except ImportError as error:
        raise TypeError(f"{name} bfloat16 needs ml_dtypes: run pip install ml_dtypes") from error
    dtype: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
    return dtype


def _dtype(obj: DTypeLike, name: str) -> np.dtype[Any]:
    """Return `numpy.dtype(obj)`. NumPy knows the name "bfloat16" only after the import of ml_dtypes."""
    if isinstance(obj, str) and str.__str__(obj) == "bfloat16":
        return _bfloat16(name)
    return np.dtype(obj)


def counted_dtype(obj: DTypeLike, argument: str = "dtype", names: Sequence[str] = DTYPES) -> str:
    """Return the name of a dtype that is an argument of `cost`, one of `names`.

    NumPy knows the name "bfloat16" only after the import of ml_dtypes. So this function accepts the name without NumPy.
    """
    if isinstance(obj, str) and str.__str__(obj) in HALVES and str.__str__(obj) in names:
        return str.__str__(obj)
    expected = f"one of {', '.join(names)}" if len(names) > 2 else " or ".join(names)
    dtype = _native_dtype(obj, expected, argument)
    if dtype.name not in names:
        raise TypeError(f"{argument} must be {expected}, got {dtype}")
    return str(dtype.name)


def _native_dtype(obj: DTypeLike, expected: str, argument: str = "dtype") -> np.dtype[Any]:
    try:
        dtype = _dtype(obj, argument)
    except (TypeError, ValueError, SyntaxError, OverflowError, RecursionError) as error:
        if isinstance(error.__cause__, ImportError):
            raise
        raise TypeError(f"{argument} must be {expected}, got {shown(obj)}") from error
    if not dtype.isnative and dtype.name in DTYPES:
        raise TypeError(f"{argument} must have native byte order, got {dtype.str}: pass {dtype.name!r}")
    return dtype


def _check_dtype(dtype: np.dtype[Any], name: str, expected: str = _any_of(FLOATS), obj: object = None) -> None:
    """Check the dtype of the argument `name`. Pass the argument as `obj` if it may be a list, for a better message."""
    if dtype.name not in FLOATS:
        way = f"numpy.asarray({name}, numpy.float32)" if isinstance(obj, list) else f"{name}.astype(numpy.float32)"
        remedy = f": pass {way}" if dtype.kind in "biu" else ""
        raise TypeError(f"{name} must be {expected}, got {dtype}{remedy}")


def as_source(obj: Any, name: str) -> NDArray[Any]:
    """Convert x to a plain array. The dtype must be one of `DTYPES`."""
    array = as_plain(obj, name)
    if array.dtype.name not in INTEGERS:
        _check_dtype(array.dtype, name, OF_SOURCE, obj)
    return array


def as_quantized(obj: Any, dtype: str | None, name: str) -> NDArray[Any]:
    """Convert x or weight of a quantized convolution to a plain array.

    Its dtype must be `dtype`. If `dtype` is None, its dtype must be uint8 or int8.
    """
    array = as_plain(obj, name)
    expected = "uint8 or int8" if dtype is None else dtype
    if array.dtype.name not in (("uint8", "int8") if dtype is None else (dtype,)):
        remedy = ""
        if isinstance(obj, list):
            remedy = f": pass numpy.asarray({name}, numpy.{dtype or 'uint8'})"
        elif array.dtype.kind == "f":
            remedy = ": quantize it, as QConv.quantize does for x and quantize_weight for weight"
        raise TypeError(f"{name} must have dtype {expected}, got {array.dtype}{remedy}")
    return array


def as_parameter(obj: Any, dtype: DTypeLike, name: str) -> NDArray[Any]:
    """Convert a weight, bias or input_scale to a plain array of `dtype`, by the casting rule "same_kind"."""
    array = as_plain(obj, name)
    dtype = _dtype(dtype, name)
    # ml_dtypes allows casts of complex numbers to bfloat16, so this check uses the rule for float32.
    if not np.can_cast(array.dtype, np.float32 if dtype.name == "bfloat16" else dtype, "same_kind"):
        raise TypeError(f"{name} must be castable to {dtype} (numpy.can_cast 'same_kind'), got {array.dtype}")
    with np.errstate(all="ignore"):  # overflow gives no error, whatever numpy.errstate the user has set
        return array.astype(dtype, copy=False)


def as_weight(obj: ArrayLike, dtype: DTypeLike | None) -> tuple[NDArray[Any], str]:
    """Return the weight of a layer before the cast, and the dtype of the layer.

    The dtype is `dtype`. If `dtype` is None, it is the dtype of the weight.
    """
    if dtype is None:
        array = as_plain(obj, "weight")
        _check_dtype(array.dtype, "weight", obj=obj)
        return array, array.dtype.name
    name = as_dtype(dtype).name
    return as_plain(obj, "weight"), name


def as_source_dtype(obj: DTypeLike | None, layer: str, out: str | None) -> str | None:
    """Return the name of the dtype of x that the argument `dtype` of a method of a layer gives.

    Parameters
    ----------
    obj : dtype_like or None
        The argument. None stands for the dtype that x of the layer usually has.
    layer : str
        Dtype of the layer.
    out : str or None
        The `out_dtype` of the layer.
    """
    if obj is None:
        return None
    names = INTEGERS if out in INTEGERS else (layer, *(INTEGERS if layer == "float32" else ()))
    expected = f"None or {_any_of(names)} for this layer"
    name = str(_native_dtype(obj, expected).name)
    if name not in names:
        raise TypeError(f"dtype must be {expected}, got {name}")
    return name


def as_out_dtype(obj: DTypeLike) -> str:
    """Return the name of the dtype that the argument `out_dtype` gives."""
    names = DTYPES
    try:
        dtype = _dtype(obj, "out_dtype")
    except (TypeError, ValueError, SyntaxError, OverflowError, RecursionError) as error:
        if isinstance(error.__cause__, ImportError):
            raise
        raise TypeError(f"out_dtype must be None or {_any_of(names)}, got {shown(obj)}") from error
    if dtype.name not in names:
        raise TypeError(f"out_dtype must be None or {_any_of(names)}, got {dtype}")
    if not dtype.isnative:
        raise TypeError(f"out_dtype must have native byte order, got {dtype.str}: pass {dtype.name!r}")
    return str(dtype.name)


def has_int8_weights(obj: DTypeLike | None, dtype: str) -> bool:
    """Return True if the argument `weight_dtype` asks for int8 weights. `dtype` is the dtype of the layer."""
    if obj is None:
        return False
    try:
        name = str(_dtype(obj, "weight_dtype").name)
    except (TypeError, ValueError, SyntaxError, OverflowError, RecursionError, ImportError):
        name = shown(obj)
    if name != "int8":
        raise TypeError(f"weight_dtype must be None or int8, got {name}")
    if dtype != "float32":
        raise TypeError(f'weight_dtype int8 must have dtype float32, got {dtype}: pass dtype="float32"')
    return True


def check_array(obj: Any, dtypes: str, name: str) -> None:
    """Check that residual or out is an array of one of the given dtypes, whose names are separated by spaces."""
    if not issubclass(type(obj), np.ndarray):
        raise TypeError(f"{name} must be a NumPy array, got {type(obj).__name__}")
    array = as_plain(obj, name)
    if array.dtype.name not in dtypes.split():
        raise TypeError(f"{name} must have dtype {_any_of(dtypes.split())}, got {array.dtype}")


def _same_place(a: NDArray[Any], b: NDArray[Any]) -> bool:
    same = a.shape == b.shape and a.__array_interface__["data"][0] == b.__array_interface__["data"][0]
    return same and all(s == t or n == 1 for s, t, n in zip(a.strides, b.strides, a.shape, strict=True))


def _overlaps_itself(a: NDArray[Any]) -> bool:
    """Return True if two indices refer to one element. Along each axis, the first slice is compared with all others."""
    return any(
        np.shares_memory(a[(slice(None),) * axis + (slice(0, 1),)], a[(slice(None),) * axis + (slice(1, None),)])
        for axis in range(a.ndim)
    )


def check_overlap(
    out: NDArray[Any],
    x: NDArray[Any] | None,
    residual: NDArray[Any] | None,
    weight: NDArray[Any] | None,
    bias: NDArray[Any] | None,
    input_scale: NDArray[Any] | None,
    weight_name: str,
) -> None:
    """Check that `out` shares no element with another argument, and that each index of `out` has its own element.

    `out` and `residual` may be the same array. `weight_name` is the name that the user knows for `weight`.
    """
    out = np.ndarray.view(out, np.ndarray)
    residual = None if residual is None else np.ndarray.view(residual, np.ndarray)
    if _overlaps_itself(out):
        got = f"strides {out.strides}, with which elements overlap"
        raise ValueError(
            f"out must have its own element for each index, got {got}: pass numpy.empty(out.shape, out.dtype)"
        )
    if residual is not None and not _same_place(out, residual) and np.shares_memory(out, residual):
        raise ValueError(
            "out must be residual itself or share no element with residual, got a partial overlap: pass residual.copy()"
        )
    for name, other in (("x", x), (weight_name, weight), ("bias", bias), ("input_scale", input_scale)):
        if other is not None and np.shares_memory(out, np.ndarray.view(other, np.ndarray)):
            raise ValueError(f"out must share no element with {name}, got overlapping arrays: pass {name}.copy()")
