"""Print the error of the cost model on this machine, and fit its constants (see cpp/src/machine/machine.h).

    pointwise bench --explain --json times.json                       # measures: nothing else may run
    python cpp/tools/fit_cycle_model.py times.json                    # prints the error
    python cpp/tools/fit_cycle_model.py times.json --fit my_machine   # also fits: writes cpp/src/machine/my_machine.cpp

`pointwise bench --explain` lets the alternatives of a layer take turns. So their times can be compared with each other,
although the CPU frequency changes. The error is the deviation of log(time / cycles) from its mean over the alternatives
of a layer.

A fit reduces the mean square of these deviations. It changes one constant at a time, in smaller and smaller steps, and
keeps each change that reduces the error. A fit uses every second layer. The error of the other layers shows whether the
constants describe the machine, or only the fitted layers.

Two kinds of constants do not change. The first kind has no effect on one thread: the cost of pieces and the minimum
work of a thread. The second kind is the multiply-adds and loads per cycle, because all other constants are relative to
these two.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import pathlib
import statistics
import sys

import numpy as np
import pointwise as pw
from pointwise._core import _testing

MACHINES = pathlib.Path(__file__).parents[1] / "src" / "machine"
UNITS = ("fma_per_cycle", "loads_per_cycle")
STEPS = (0.3, 0.1, 0.03)


@dataclasses.dataclass(frozen=True)
class Layer:
    """A layer that was timed.

    Attributes
    ----------
    conv : pointwise.Conv
        The convolution, with weights of 0.
    shape : tuple of int
        The shape of x.
    seconds : dict of str to float
        The time of each alternative, by its description.
    """

    conv: pw.Conv
    shape: tuple[int, ...]
    seconds: dict[str, float]

    def cycles(self) -> dict[str, float]:
        """Return the cycles that the model predicts for each alternative that was timed."""
        return {words: cycles for words, cycles in self.conv._expectations(self.shape) if words in self.seconds}


@dataclasses.dataclass(frozen=True)
class Error:
    """The error of the model.

    Attributes
    ----------
    within : float
        Root mean square of the deviations within layers.
    overall : float
        Root mean square of the deviations from the mean of all layers. It includes changes of the CPU frequency.
    regret : float
        Geometric mean of a ratio over layers. The ratio is the time of the alternative with the fewest predicted
        cycles, divided by the time of the fastest alternative.
    """

    within: float
    overall: float
    regret: float

    def __str__(self) -> str:
        return (
            f"{100 * math.expm1(self.within):.1f}% between the ways of a layer, {100 * math.expm1(self.overall):.1f}% "
            f"over all layers; its choices take {self.regret:.3f} times as long as the best"
        )


def read(results: list[dict]) -> list[Layer]:
    """Return the layers of `pointwise bench --explain --json` that have more than one alternative."""
    layers = []
    for result in results:
        case, layout = result["case"], result["layout"]
        seconds = {way["words"]: way["seconds"] for way in result["alternatives"]}
        weight = np.zeros((case["cout"], case["cin"] // case["groups"]), np.float32)
        conv = pw.Conv(weight, layout=layout, stride=case["stride"], groups=case["groups"])
        sizes = {"N": case["n"], "C": case["cin"], "H": case["h"], "W": case["w"]}
        if len(seconds) > 1:
            layers.append(Layer(conv, tuple(sizes[axis] for axis in layout), seconds))
    return layers


def error_of(layers: list[Layer]) -> Error:
    """Return the error of the constants in use."""
    squares, means, regrets = [], [], []
    for layer in layers:
        cycles = layer.cycles()
        logs = [math.log(layer.seconds[words] / cycles[words]) for words in cycles]
        squares.append(statistics.pvariance(logs))
        means.append(statistics.fmean(logs))
        cheapest = min(cycles, key=lambda words: cycles[words])
        regrets.append(math.log(layer.seconds[cheapest] / min(layer.seconds[words] for words in cycles)))
    within = statistics.fmean(squares)
    overall = within + statistics.pvariance(means)
    return Error(math.sqrt(within), math.sqrt(overall), math.exp(statistics.fmean(regrets)))


def fit(layers: list[Layer], names: list[str]) -> dict[str, float]:
    """Fit the constants with these names to layers. The fitted constants stay in use. Return all constants."""
    constants = dict(_testing.machine_constants())
    least = error_of(layers).within
    for step in STEPS:
        improved = True
        while improved:
            improved = False
            for name in names:
                for factor in (1 + step, 1 / (1 + step)):
                    value = float(f"{constants[name] * factor:.3g}")
                    _testing.replace_machine_constants({name: value})
                    within = error_of(layers).within
                    if within < least * (1 - 1e-4):
                        constants[name], least, improved = value, within, True
                        print(f"{100 * math.expm1(least):.2f}%  {name} = {value:g}", flush=True)
                        break
                    _testing.replace_machine_constants({name: constants[name]})
    return constants


def source(name: str, head: list[str], half_width: bool, constants: dict[str, float]) -> str:
    """Return the C++ source file of a machine."""
    lines = [*(f"// {line}" for line in head), '#include "machine/machine.h"', "", "namespace pointwise {", ""]
    lines += [f"Machine {name}() {{", "  Machine m{};", f'  m.name = "{name}";']
    lines += [f"  m.half_width = {str(half_width).lower()};"]
    lines += [f"  m.{constant} = {value:.10g};" for constant, value in constants.items()]
    return "\n".join([*lines, "  return m;", "}", "", "}  // namespace pointwise", ""])


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("times", type=pathlib.Path, help="JSON file of pointwise bench --explain --json")
    parser.add_argument("--fit", metavar="NAME", help="fit the constants and write NAME.cpp")
    parser.add_argument("--constants", metavar="A,B", help="fit only these (default: all with an effect on one thread)")
    parser.add_argument("--folder", type=pathlib.Path, default=MACHINES, help="folder for NAME.cpp")
    options = parser.parse_args(arguments)
    document = json.loads(options.times.read_text())
    isa = document["machine"]["isa"]
    if isa != pw.isa():
        parser.error(f"{options.times} was measured with {isa}, this process has {pw.isa()}: set POINTWISE_ISA")
    layers = read(document["results"])
    print(f"{document['machine']['cpu']}, {isa}: {len(layers)} layers, constants of {_testing.machine()}")
    print(f"the model is off by {error_of(layers)}")
    if options.fit is None:
        return 0
    known = [name for name in _testing.machine_constants() if name not in UNITS]
    names = options.constants.split(",") if options.constants else known
    if unknown := sorted(set(names) - set(known)):
        parser.error(f"there are no such constants to fit: {', '.join(unknown)}")
    fitted, others = layers[::2], layers[1::2]
    before = error_of(others)
    constants = fit(fitted, names)
    after = error_of(others)
    print(f"fitted on every second layer; the others before: {before}\nand after: {after}")
    head = [
        f"{document['machine']['cpu']}, {isa}: fitted by cpp/tools/fit_cycle_model.py.",
        f"Off by {error_of(layers)}.",
    ]
    (options.folder / f"{options.fit}.cpp").write_text(source(options.fit, head, _testing.half_width(), constants))
    print(f"wrote {options.folder / options.fit}.cpp; declare it in machine.h and choose it in machine.cpp")
    return 0


if __name__ == "__main__":
    sys.exit(main())
