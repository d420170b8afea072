"""``pointwise bench --company``: times pointwise in one process with another library that has threads.

With NumPy, it times a matrix product of NumPy and a convolution of pointwise: each alone, and both in turn. With
PyTorch, it times MobileNetV2 in two versions: PyTorch computes all layers, or pointwise computes the 1x1 convolutions.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import statistics
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from .._conv import Conv
from .._runtime import num_threads, show_config
from ..cli.parser import CommandError, require
from .tables import Grid, microseconds
from .verify import WrongResult

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator, Sequence

PRODUCT = 384  # m, n and k of the matrix product
CHANNELS, PIXELS = 64, 56  # the convolution has 64 -> 64 channels at 56x56
# Inverted residuals of MobileNetV2 (Sandler et al. 2018): expansion, output channels, number of blocks, stride of the
# first block.
BLOCKS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
IMAGES = ((1, 224), (4, 224), (1, 512))  # number of images, height and width of each


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Duration of the measurement.

    Attributes
    ----------
    rounds, calls : int
        Number of rounds, and number of calls of each contender in a round.
    images : sequence of (int, int)
        Inputs of the PyTorch network: number of images, then height and width of each image.
    """

    rounds: int
    calls: int
    images: Sequence[tuple[int, int]]


QUICK = Schedule(rounds=3, calls=10, images=IMAGES[:1])
FULL = Schedule(rounds=8, calls=10, images=IMAGES)


@dataclasses.dataclass(frozen=True)
class Company:
    """Result of pointwise together with one library.

    Attributes
    ----------
    library, work : str
        The library, and the computation.
    layout : str
        "NCHW" or "NHWC".
    without, together : float
        Median times in seconds. For NumPy, `without` adds the time of the product alone and the time of the convolution
        alone. `together` is the time of both in turn. For PyTorch, `without` is the time of the network computed by
        PyTorch alone. `together` is its time with layers of pointwise.
    threading : str
        Threads that pointwise used: "workers" or "openmp".
    """

    library: str
    work: str
    layout: str
    without: float
    together: float
    threading: str

    @property
    def ratio(self) -> float:
        """together / without (NumPy: the slowdown), or without / together (PyTorch: the speedup)."""
        return self.together / self.without if self.library == "numpy" else self.without / self.together


def check_arguments(args: argparse.Namespace) -> None:
    """Raise a `CommandError` for options that cannot be combined with ``--company``."""
    given = {
        "--network": args.network,
        "--layers": args.layers,
        "--layer": args.layer,
        "--batch": args.batch,
        "--vs": args.vs,
        "--activation": args.activation,
        "--residual": args.residual,
        "--no-bias": args.no_bias,
        "--neighbour": args.neighbour,
        "--explain": args.explain,
        "--plot": args.plot,
    }
    for option, value in given.items():
        if value:
            raise CommandError(f"{option} does not go with --company, which has its own layers and libraries")


def steps(layouts: Sequence[str], schedule: Schedule) -> int:
    """Return the number of results that `measure` yields."""
    return len(layouts) * (1 + (len(schedule.images) if _has_torch() else 0))


def measure(
    layouts: Sequence[str], threads: int, schedule: Schedule, advance: Callable[[str], None]
) -> Iterator[Company]:
    """Yield a result for NumPy in each layout, then for PyTorch if it is installed.

    PyTorch is imported after the measurement with NumPy, so that its threads cannot disturb that measurement.
    """
    with num_threads(threads):
        for layout in layouts:
            advance(f"NumPy, {layout}")
            yield _beside_numpy(layout, schedule)
        if _has_torch():
            for n, size in schedule.images:
                for layout in layouts:
                    advance(f"PyTorch, {n}x3x{size}x{size}, {layout}")
                    yield _beside_torch(n, size, layout, threads, schedule)


def _has_torch() -> bool:
    return importlib.util.find_spec("torch") is not None


def _threading() -> str:
    config = show_config("dicts")
    assert config is not None
    return str(config["threading"])


def _each(call: Callable[[], object], calls: int) -> list[float]:
    """Return the seconds of each of several calls. Two calls before them are not timed."""
    found = []
    for i in range(calls + 2):
        start = time.perf_counter()
        call()
        if i >= 2:
            found.append(time.perf_counter() - start)
    return found


def _medians(contenders: Sequence[Callable[[], object]], schedule: Schedule, calls: int) -> list[float]:
    """Return the median seconds per call of each contender. In its turn, a contender makes several calls."""
    seconds: list[list[float]] = [[] for _ in contenders]
    for _ in range(schedule.rounds):
        for found, contender in zip(seconds, contenders, strict=True):
            found += _each(contender, calls)
    return [statistics.median(found) for found in seconds]


def _beside_numpy(layout: str, schedule: Schedule) -> Company:
    rng = np.random.default_rng(0)
    a = rng.random((PRODUCT, PRODUCT), np.float32)
    weight = rng.random((CHANNELS, CHANNELS), np.float32)
    shape = (1, CHANNELS, PIXELS, PIXELS) if layout == "NCHW" else (1, PIXELS, PIXELS, CHANNELS)
    x = rng.random(shape, np.float32)
    layer = Conv(weight, layout=layout)
    axis = layout.index("C")
    expected = np.moveaxis(np.tensordot(weight, x, (1, axis)), 0, axis)
    if not np.allclose(layer(x), expected, rtol=1e-4):
        raise WrongResult(f"pointwise computes a different result than NumPy: {CHANNELS} -> {CHANNELS}, {layout}")
    product, convolution, both = _medians(
        (lambda: a @ a, lambda: layer(x), lambda: (a @ a, layer(x))), schedule, 10 * schedule.calls
    )
    work = f"{PRODUCT}x{PRODUCT} product, then {CHANNELS} -> {CHANNELS} at {PIXELS}x{PIXELS}"
    return Company("numpy", work, layout, product + convolution, both, _threading())


def _beside_torch(n: int, size: int, layout: str, threads: int, schedule: Schedule) -> Company:
    torch = require("torch", "--company")
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            memory_format = torch.contiguous_format if layout == "NCHW" else torch.channels_last
            network = _mobilenet_v2(torch).eval().to(memory_format=memory_format)
            ours = _with_pointwise(torch, network, layout)
            x = torch.rand(n, 3, size, size).contiguous(memory_format=memory_format)
            if not torch.allclose(ours(x), network(x), rtol=1e-3, atol=1e-4):
                raise WrongResult(f"the network computes a different result with pointwise: {tuple(x.shape)}, {layout}")
            own, together = _medians((lambda: network(x), lambda: ours(x)), schedule, schedule.calls)
    finally:
        torch.set_num_threads(before)
    return Company("torch", f"MobileNetV2, {n}x3x{size}x{size}", layout, own, together, _threading())


def _mobilenet_v2(torch: Any) -> Any:
    """Return MobileNetV2 up to its last convolution, with random weights and folded batch normalization."""
    nn = torch.nn
    torch.manual_seed(0)

    def unit(cin: int, cout: int, kernel: int, stride: int = 1, groups: int = 1, relu6: bool = True) -> Any:
        conv = nn.Conv2d(cin, cout, kernel, stride, kernel // 2, groups=groups)
        return nn.Sequential(conv, nn.ReLU6(inplace=True)) if relu6 else nn.Sequential(conv)

    class Block(nn.Module):  # type: ignore[misc,name-defined]
        """Inverted residual: 1x1 expansion, depthwise 3x3 convolution, 1x1 projection."""

        def __init__(self, cin: int, cout: int, expansion: int, stride: int) -> None:
            super().__init__()
            wide = cin * expansion
            self.expand = unit(cin, wide, 1) if expansion > 1 else nn.Identity()
            self.depthwise = unit(wide, wide, 3, stride, wide)
            self.project = unit(wide, cout, 1, relu6=False)
            self.residual = stride == 1 and cin == cout

        def forward(self, x: Any) -> Any:
            y = self.depthwise(self.expand(x))
            if not self.residual:
                return self.project(y)
            if hasattr(self.project, "add_to"):  # pointwise adds the residual in the same pass
                return self.project.add_to(y, x)
            return x + self.project(y)

    layers, cin = [unit(3, 32, 3, 2)], 32
    for expansion, cout, count, stride in BLOCKS:
        for i in range(count):
            layers.append(Block(cin, cout, expansion, stride if i == 0 else 1))
            cin = cout
    return nn.Sequential(*layers, unit(cin, 1280, 1))


def _with_pointwise(torch: Any, network: Any, layout: str) -> Any:
    """Return a copy of a network in which pointwise computes the 1x1 convolutions and the ReLU6 after them."""
    copy = importlib.import_module("copy").deepcopy(network)

    class Pointwise(torch.nn.Module):  # type: ignore[misc]
        def __init__(self, unit: Any) -> None:
            super().__init__()
            weight, bias = (array.detach().numpy() for array in (unit[0].weight, unit[0].bias))
            self.layer = Conv(weight, bias, layout=layout, activation="relu6" if len(unit) > 1 else None)

        def forward(self, x: Any) -> Any:
            return _tensor(torch, self.layer(_array(x, layout)), layout)

        def add_to(self, x: Any, residual: Any) -> Any:
            return _tensor(torch, self.layer(_array(x, layout), _array(residual, layout)), layout)

    def replace(module: Any) -> None:
        for name, child in module.named_children():
            first = child[0] if isinstance(child, torch.nn.Sequential) else None
            if first is not None and isinstance(first, torch.nn.Conv2d) and first.kernel_size == (1, 1):
                setattr(module, name, Pointwise(child))
            else:
                replace(child)

    replace(copy)
    return copy


def _array(tensor: Any, layout: str) -> Any:
    """Return an array in the given layout that shares the memory of a tensor with axes NCHW."""
    return (tensor if layout == "NCHW" else tensor.permute(0, 2, 3, 1)).numpy()


def _tensor(torch: Any, array: Any, layout: str) -> Any:
    tensor = torch.from_numpy(array)
    return tensor if layout == "NCHW" else tensor.permute(0, 3, 1, 2)


def company_document(results: Sequence[Company], machine: Any, settings: dict[str, Any]) -> dict[str, Any]:
    """Return all results as JSON objects, with times in seconds."""
    return {
        "machine": dataclasses.asdict(machine),
        "settings": {**settings, "company": True},
        "results": [{**dataclasses.asdict(result), "ratio": result.ratio} for result in results],
        "summary": {
            library: _summary([result for result in results if result.library == library])
            for library in dict.fromkeys(result.library for result in results)
        },
    }


def _summary(results: Sequence[Company]) -> dict[str, Any]:
    ratios = [result.ratio for result in results]
    return {"results": len(results), "least_ratio": min(ratios), "largest_ratio": max(ratios)}


def company_table(results: Sequence[Company], threads: int) -> Grid:
    """Return a table of all results."""
    title = f"pointwise and a library, {threads} threads each, float32; median times in us"
    caption = (
        "numpy: a product and a convolution, each alone and added, then in turn; ratio: slowdown. "
        "torch: the network of PyTorch, then with pointwise for its 1x1 layers; ratio: speedup"
    )
    words, figures = ("library", "work", "layout", "threads"), ("without", "with\npointwise", "ratio")
    table = Grid(title, words, figures, caption)
    for result in results:
        times = map(microseconds, (result.without, result.together))
        table.add_row(result.library, result.work, result.layout, result.threading, *times, f"{result.ratio:.2f}")
    return table
