"""Types of the extension module `_core`. The module is private."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar, final

from numpy.typing import ArrayLike, DTypeLike, NDArray
from typing_extensions import Self, disjoint_base

from ._arguments import Activation

_T = TypeVar("_T")

# x_shape, dtype of x, threads, kernel, pixel axes, packing, tail, serial: pointwise::Choice in pointwise.h
_Choice: TypeAlias = tuple[tuple[int, ...], str, int, str, int, str, int, bool]

isa: str
version: str
compiler: str
openmp: bool

# Memory of a result, which is recycled when no array uses it any more.
@final
class ResultMemory: ...

@disjoint_base
class Layer:
    def __new__(
        cls,
        weight: NDArray[Any],
        bias: ArrayLike | None,
        layout: str,
        stride: int | Sequence[int],
        padding: int | Sequence[int],
        groups: int,
        activation: Activation,
        dtype: str,
        flush_subnormals: bool,
        out_dtype: DTypeLike | None,
        weight_scales: NDArray[Any] | None,
        /,
    ) -> Self: ...
    def __call__(
        self,
        x: ArrayLike,
        residual: NDArray[Any] | None = None,
        out: NDArray[Any] | None = None,
        *,
        input_scale: ArrayLike | None = None,
    ) -> NDArray[Any]: ...
    def _parameters(self) -> tuple[NDArray[Any], NDArray[Any] | None]: ...
    def _weight_scales(self) -> NDArray[Any] | None: ...
    def _arguments(
        self,
    ) -> tuple[str, int | tuple[int, ...], int | tuple[int, ...], int, Activation, str, bool, str | None, int, int]: ...
    def _explain(self, x_shape: Sequence[int], dtype: str | None, /) -> str: ...
    def _tune(self, x_shape: Sequence[int], dtype: str | None, seconds: float, /) -> float: ...
    def _choices(self) -> list[_Choice]: ...
    def _adopt(self, choices: Sequence[_Choice], /) -> None: ...
    def _alternatives(
        self, x_shape: Sequence[int], /
    ) -> list[tuple[str, float, Callable[[NDArray[Any], NDArray[Any]], None]]]: ...
    def _expectations(self, x_shape: Sequence[int], /) -> list[tuple[str, float]]: ...

@disjoint_base
class QLayer:
    def __new__(
        cls,
        weight: NDArray[Any],
        bias: NDArray[Any] | None,
        layout: str,
        stride: int | Sequence[int],
        padding: int | Sequence[int],
        groups: int,
        activation: Activation,
        x_dtype: str,
        y_dtype: str,
        x_scale: float,
        x_zero_point: int,
        weight_scales: NDArray[Any],
        weight_zero_points: NDArray[Any],
        y_scale: float,
        y_zero_point: int,
        /,
    ) -> Self: ...
    def __call__(self, x: ArrayLike, out: NDArray[Any] | None = None) -> NDArray[Any]: ...
    def _arguments(self) -> tuple[str, int | tuple[int, ...], int | tuple[int, ...], int, Activation, int]: ...
    def _explain(self, x_shape: Sequence[int], /) -> str: ...

@disjoint_base
class Chain:
    _layers: tuple[Any, ...]
    def __new__(cls, layers: tuple[Any, ...], /) -> Self: ...
    def __call__(
        self, x: ArrayLike, residual: NDArray[Any] | None = None, out: NDArray[Any] | None = None
    ) -> NDArray[Any]: ...
    def _explain(self, x_shape: Sequence[int], /) -> str: ...

def conv(
    x: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None,
    layout: str,
    stride: int | Sequence[int],
    padding: int | Sequence[int],
    groups: int,
    activation: Activation,
    residual: NDArray[Any] | None,
    out: NDArray[Any] | None,
    input_scale: ArrayLike | None,
    out_dtype: DTypeLike | None,
    /,
) -> NDArray[Any]: ...
def mix(
    x: ArrayLike,
    matrix: ArrayLike,
    bias: ArrayLike | None,
    axis: int,
    activation: Activation,
    out: NDArray[Any] | None,
    out_dtype: DTypeLike | None,
    /,
) -> NDArray[Any]: ...
def conv_grad_input(
    grad: ArrayLike,
    weight: ArrayLike,
    x_shape: Sequence[int],
    layout: str,
    stride: int | Sequence[int],
    padding: int | Sequence[int],
    groups: int,
    out: NDArray[Any] | None,
    accumulate: bool,
    /,
) -> NDArray[Any]: ...
def conv_grad_weight(
    grad: ArrayLike,
    x: ArrayLike,
    layout: str,
    stride: int | Sequence[int],
    padding: int | Sequence[int],
    groups: int,
    out: NDArray[Any] | None,
    accumulate: bool,
    /,
) -> NDArray[Any]: ...
def conv_grad_bias(grad: ArrayLike, layout: str, out: NDArray[Any] | None, accumulate: bool, /) -> NDArray[Any]: ...
def gram(x: ArrayLike, y: ArrayLike | None, axis: int, /) -> NDArray[Any]: ...
def cost(
    x_shape: Sequence[int],
    c_out: int,
    layout: str,
    stride: int | Sequence[int],
    padding: int | Sequence[int],
    groups: int,
    bias: bool,
    dtype: str,
    /,
) -> tuple[int, int, int, tuple[int, ...]]: ...
def use_functions(functions: dict[str, Callable[..., Any]], /) -> None: ...
def inherit_vectorcall(cls: type, at_once: bool, /) -> None: ...
def supported_isas() -> list[str]: ...
def in_default_environment(function: Callable[[], _T], /) -> _T: ...
def release_idle_buffers() -> None: ...
def set_idle_limit(nbytes: int, /) -> None: ...
def threading() -> tuple[str, str]: ...
def omp_num_threads_is_valid() -> bool: ...
def thread_limit() -> int: ...
def set_thread_limit(threads: int, /) -> None: ...
def thread_count() -> int: ...
def set_thread_count(threads: int, /) -> None: ...
def set_calling_thread_count(threads: int, /) -> int: ...

# Submodule for tests and benchmarks.
class _testing:
    @staticmethod
    def fma_peak(threads: int, dtype: str, blocks: int, block: float, /) -> float: ...
    @staticmethod
    def streaming_copy(to: NDArray[Any], source: NDArray[Any], threads: int, /) -> None: ...
    @staticmethod
    def idle_bytes() -> int: ...
    @staticmethod
    def ignore_neighbours(ignored: bool, /) -> None: ...
    @staticmethod
    def machine() -> str: ...
    @staticmethod
    def half_width() -> bool: ...
    @staticmethod
    def machine_constants() -> dict[str, float]: ...
    @staticmethod
    def replace_machine_constants(values: dict[str, float], /) -> None: ...
    @staticmethod
    def assume_l3_cache_size(nbytes: int, /) -> None: ...
    # Makes later plans use all requested threads, even for little work.
    @staticmethod
    def force_teams(forced: bool, /) -> None: ...
