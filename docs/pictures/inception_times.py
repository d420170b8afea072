"""Measured times of the 5x5 branches of all inception modules, with and without the 1x1 layer."""

import json

import matplotlib.pyplot as plt
import numpy as np
from drawing import BLUE, ORANGE, ROOT, WIDTH

found = json.loads((ROOT / "bench/results/inception.json").read_text(encoding="utf-8"))
modules = [r["module"] for r in found["results"]]


def milliseconds(call):
    return np.array([1e3 * min(times[call] for times in r["seconds"].values()) for r in found["results"]])


alone, both, first = milliseconds("5x5"), milliseconds("1x1 then 5x5"), milliseconds("1x1")
figure, axes = plt.subplots(figsize=(WIDTH, 3.2), layout="constrained")
place = np.arange(len(modules))
axes.bar(place - 0.2, alone, 0.38, color=ORANGE, label="5x5 alone")
axes.bar(place + 0.2, both, 0.38, color="#f6cfa9", label="5x5 after the 1x1 layer")
axes.bar(place + 0.2, first, 0.38, color=BLUE, label="1x1 layer by pointwise")
for i in place:
    axes.text(i, max(alone[i], both[i]) * 1.02, f"{alone[i] / both[i]:.1f}x", ha="center", fontsize=8)
axes.set(xticks=place, xticklabels=modules, xlabel="inception module", ylabel="milliseconds")
axes.margins(y=0.12)
axes.legend(frameon=False, fontsize=8, loc="upper right")
