"""Sixteen filters: 10x10x32 becomes 10x10x16, with 512 parameters."""

import matplotlib.patches as patches
import pointwise as pw
from drawing import BLUE, INK, ORANGE, arrow, canvas, cuboid

cost = pw.cost((1, 32, 10, 10), 16)
assert (cost.params, cost.output_shape) == (512, (1, 16, 10, 10))

axes = canvas(100, 52)
cuboid(axes, 3, 13, 22, 22, column=6)
axes.text(14, 9, "x: 10 x 10 x 32", ha="center")
for i in range(16):
    x, y = 46 + 0.5 * i, 11 + 1.55 * i
    axes.add_patch(patches.Rectangle((x, y), 13, 1.1, facecolor=ORANGE, edgecolor=INK, linewidth=0.5))
axes.text(56, 39, "16 filters of 1 x 1 x 32", ha="center", color=ORANGE)
arrow(axes, (40.5, 25), (45.5, 25))
arrow(axes, (68, 25), (72.5, 25))
cuboid(axes, 74, 13, 18, 11, column=5, strip=BLUE)
axes.text(83, 9, "y: 10 x 10 x 16", ha="center")
axes.text(50, 3, f"16 x 1 x 1 x 32 = {cost.params} parameters, {cost.macs:,} multiply-adds", ha="center")
