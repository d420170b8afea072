"""Compare two builds of pointwise, or two JSON files of `pointwise bench`, layer by layer.

    pip install --target /tmp/before . ; git switch feature ; pip install --target /tmp/after .
    python bench/compare.py /tmp/before /tmp/after --layout NHWC --threads 1
    python bench/compare.py before.json after.json

A build is a folder that contains the package. Each build runs in its own process, and the two processes take turns.
POINTWISE_ISA applies to both. A call computes a layer with bias and ReLU into a new array. Before a call is timed, its
result is checked, and the bits of the two builds are compared. A ratio above 1 means that the second build is faster.
If a ratio is below 0.97, the layer is measured again with four times as many rounds, and the first measurement is
discarded.
"""

import argparse
import csv
import json
import math
import os
import pathlib
import subprocess
import sys

LAYERS = pathlib.Path(__file__).parent / "layers"
BLOCK_SECONDS = 4e-3
SLOWER = 0.97
ON_REQUEST = ("images", "large")  # tables that are measured only if --layers names them
INTEGERS = ("n", "cin", "cout", "h", "w", "stride", "groups")


class Build:
    """A process that imports pointwise from a folder and answers questions, each in one line of JSON."""

    def __init__(self, folder):
        environment = os.environ | {"PYTHONPATH": folder, "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        command = [sys.executable, __file__, "--serve"]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment, text=True)

    def ask(self, **question):
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the process of a build has ended with exit status {self.process.wait()}")
        return json.loads(line)

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def serve():
    """Answer the questions of `Build`."""
    import hashlib
    import time

    import numpy as np
    import pointwise as pw

    call = None
    for line in sys.stdin:
        question = json.loads(line)
        if "where" in question:
            answer = [os.path.dirname(pw.__file__), pw.isa()]
        elif "case" in question:
            case, layout = question["case"], question["layout"]
            rng = np.random.default_rng(1)
            shape = [case["n"], case["cin"], case["h"], case["w"]]
            shape = shape if layout == "NCHW" else [shape[0], *shape[2:], shape[1]]
            x = rng.standard_normal(shape, np.float32)
            weight = rng.standard_normal((case["cout"], case["cin"] // case["groups"]), np.float32)
            bias = rng.standard_normal(case["cout"], np.float32)
            layer = pw.Conv(
                weight, bias, layout=layout, stride=case["stride"], groups=case["groups"], activation="relu"
            )
            pw.set_num_threads(question["threads"])
            y = layer(x)
            check(np, case, layout, x, weight, bias, y)
            call = lambda layer=layer, x=x: layer(x)  # noqa: E731
            answer = hashlib.sha256(y.tobytes()).hexdigest()
        else:
            repetitions = question["repetitions"]
            for _ in range(1 + repetitions // 8):
                call()
            start = time.perf_counter()
            for _ in range(repetitions):
                call()
            answer = (time.perf_counter() - start) / repetitions
        print(json.dumps(answer), flush=True)


def check(np, case, layout, x, weight, bias, y):
    """End the process if a result differs from the float64 product by more than the rounding of float32 sums."""
    stride, groups = case["stride"], case["groups"]
    x = x if layout == "NCHW" else np.moveaxis(x, 3, 1)
    x = x[:, :, ::stride, ::stride].astype(float)
    parts = zip(np.split(weight.astype(float), groups), np.split(x, groups, 1), strict=True)
    expected = np.concatenate([np.einsum("oi,nihw->nohw", w, part, optimize=True) for w, part in parts], 1)
    expected = np.maximum(expected + bias.reshape(-1, 1, 1), 0)
    y = y if layout == "NCHW" else np.moveaxis(y, 3, 1)
    if not np.allclose(y, expected, rtol=1e-4, atol=1e-6 * weight.shape[1] ** 0.5 * 10):
        raise SystemExit(f"wrong result: {case['network']} {case['layer']} {layout}")


def time_in_turn(builds, rounds):
    """Return the best seconds per call of each build."""
    best, repetitions = [math.inf] * len(builds), 1
    for i in range(rounds):
        for index in (0, 1) if i % 2 == 0 else (1, 0):
            best[index] = min(best[index], builds[index].ask(repetitions=repetitions))
        repetitions = max(1, int(BLOCK_SECONDS / min(best)))
    return best


def read_cases(names):
    paths = [pathlib.Path(name) if name.endswith(".csv") else LAYERS / f"{name}.csv" for name in names]
    for path in paths or sorted(file for file in LAYERS.glob("*.csv") if file.stem not in ON_REQUEST):
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                yield row | {name: int(row[name]) for name in INTEGERS}


def compare_builds(args):
    builds = [Build(folder) for folder in (args.first, args.second)]
    print(*("{} ({})".format(*build.ask(where=True)) for build in builds), sep=" -> ")
    rows = []
    for case in read_cases(args.layers):
        for layout in ("NCHW", "NHWC") if args.layout == "both" else (args.layout,):
            for rounds in (args.rounds, 4 * args.rounds):
                hashes = [build.ask(case=case, layout=layout, threads=args.threads) for build in builds]
                seconds = time_in_turn(builds, rounds)
                if seconds[0] / seconds[1] >= SLOWER:
                    break
            rows.append((f"{case['network']} {case['layer']}", layout, *seconds))
            if hashes[0] != hashes[1]:
                print(f"other bits: {case['network']} {case['layer']} {layout}")
    for build in builds:
        build.end()
    return rows


def read_results(path):
    """Return the seconds of pointwise by (layer, layout) from a JSON file of `pointwise bench`."""
    found = json.loads(pathlib.Path(path).read_text())
    return {(f"{r['network']} {r['layer']}", r["layout"]): r["seconds"]["pointwise"] for r in found["results"]}


def compare_files(args):
    first, second = read_results(args.first), read_results(args.second)
    for key in first.keys() ^ second.keys():
        print(f"only in one of the files: {' '.join(key)}")
    return [(*key, first[key], second[key]) for key in first if key in second]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("first", help="a folder with a build, or a JSON file")
    parser.add_argument("second")
    parser.add_argument(
        "--layers",
        nargs="*",
        default=[],
        help="tables: names in bench/layers, or CSV files (default: all but images and large)",
    )
    parser.add_argument("--layout", choices=("NCHW", "NHWC", "both"), default="both")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=12, help="blocks of about 4 ms each (default: 12)")
    args = parser.parse_args()
    files = [name.endswith(".json") for name in (args.first, args.second)]
    if any(files) and not all(files):
        parser.error("give two folders or two JSON files")
    rows = compare_files(args) if all(files) else compare_builds(args)
    if not rows:
        parser.error("the two files have no layer in common")
    for layout in dict.fromkeys(row[1] for row in rows):
        ratios = []
        print(f"\n{layout:42s} {'first us':>10s} {'second us':>10s} {'ratio':>6s}")
        for name, where, first, second in rows:
            if where == layout:
                print(f"{name:42s} {first * 1e6:10.2f} {second * 1e6:10.2f} {first / second:6.3f}")
                ratios.append((first / second, name))
        mean = math.exp(math.fsum(math.log(ratio) for ratio, _ in ratios) / len(ratios))
        slower = sum(ratio < SLOWER for ratio, _ in ratios)
        least, where = min(ratios)
        print(
            f"{layout}: the second is {mean:.3f} times as fast as the first (geometric mean of {len(ratios)} layers), "
            f"at least {least:.3f} ({where}); {slower} layers below {SLOWER}"
        )


if __name__ == "__main__":
    serve() if sys.argv[1:] == ["--serve"] else main()
