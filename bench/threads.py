"""Measure the speedup of several threads over one thread, for each layer.

    python bench/threads.py [--threads 2] [--above 20]

One process measures one thread and several threads alternately. The time of a layer is its fastest timing block. Layers
have bias and ReLU, and each call returns a new array. The layers come from the tables that `pointwise bench` measures
by default. Only layers with more than --above MFLOP are measured, in both layouts.
"""

import argparse
import math
import os
import time

# Only the check of results uses NumPy's BLAS. BLAS threads would spin for a while after the check and keep CPUs busy.
os.environ.update(OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")

import pointwise as pw
from pointwise.bench.layers import LAYOUTS, default_networks, read_network
from pointwise.bench.operands import operands
from pointwise.bench.verify import check

BLOCKS, BLOCK_SECONDS = 12, 4e-3


def seconds(call, repetitions):
    """Return the seconds per call of one timing block. Untimed calls before it warm up caches and threads."""
    for _ in range(1 + repetitions // 4):
        call()
    start = time.perf_counter()
    for _ in range(repetitions):
        call()
    return (time.perf_counter() - start) / repetitions


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--above", type=float, default=20, help="MFLOP")
    args = parser.parse_args()
    cases = [case for name in default_networks() for case in read_network(name) if case.cost().flops > args.above * 1e6]
    for layout in LAYOUTS:
        speedups = []
        for case in cases:
            arrays = operands(case, layout)
            x, weight, bias = arrays[:3]
            layer = pw.Conv(weight, bias, layout=layout, stride=case.stride, groups=case.groups, activation="relu")
            check(case, layout, arrays, {"pointwise": lambda layer=layer, x=x: layer(x)})
            best = dict.fromkeys((1, args.threads), math.inf)
            repetitions = 1
            for _ in range(BLOCKS):
                for threads in best:
                    with pw.num_threads(threads):
                        best[threads] = min(best[threads], seconds(lambda layer=layer, x=x: layer(x), repetitions))
                repetitions = max(1, int(BLOCK_SECONDS / best[1]))
            speedups.append((best[1] / best[args.threads], f"{case.network} {case.layer}"))
        mean = math.exp(math.fsum(math.log(speedup) for speedup, _ in speedups) / len(speedups))
        least, where = min(speedups)
        print(
            f"{layout}: {args.threads} threads are {mean:.2f} times as fast as one "
            f"(geometric mean of {len(cases)} layers above {args.above:g} MFLOP), at least {least:.2f} ({where})"
        )


if __name__ == "__main__":
    main()
