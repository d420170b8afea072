"""Panels: the weights of 16 output channels, for one input channel after another."""

from drawing import BLUE, GREEN, INK, LINE, ORANGE, arrow, canvas
from matplotlib.patches import Rectangle

STEP = 3.0
COLOURS = (BLUE, ORANGE, GREEN)

axes = canvas(100, 70)
axes.text(20, 66, "weights: 40 output channels", ha="center")
for panel, colour in enumerate(COLOURS):
    rows = 4 if panel < 2 else 2
    for row in range(rows):
        for k in range(6):
            place = (10 + STEP * k, 58 - STEP * (4 * panel + row))
            axes.add_patch(Rectangle(place, STEP, STEP, facecolor=colour, edgecolor="white", alpha=0.45 + 0.09 * k))
    axes.text(8.5, 59.5 - STEP * (4 * panel + rows / 2 - 0.5), f"{8 if panel == 2 else 16}", ha="right", va="center")
axes.text(19, 25.5, "input channels k", ha="center")
arrow(axes, (31, 46), (40, 46))
axes.text(35.5, 48, "pack", ha="center")

axes.text(71, 66, "panels: one block of memory each", ha="center")
for panel, colour in enumerate(COLOURS):
    y = 56 - 17 * panel
    axes.text(42, y + 5, f"panel {panel}", va="bottom", color=colour)
    for k in range(3):
        for lane in range(4):
            unused = panel == 2 and lane > 1
            place = (42 + 18 * k + 4 * lane, y)
            face = "white" if unused else colour
            axes.add_patch(Rectangle(place, 4, 4, facecolor=face, edgecolor=LINE, alpha=0.45 + 0.09 * k))
            if unused:
                axes.text(place[0] + 2, y + 2, "0", ha="center", va="center", fontsize=7)
        axes.text(50 + 18 * k, y - 3.2, f"k = {k}", ha="center", fontsize=9.5)
    axes.text(97.5, y + 2, "...", ha="center", va="center")
axes.plot([42, 58], [17.6, 17.6], color=INK, linewidth=1)
axes.text(50, 14, "64 bytes: 16 float32\n(one square: 4)", ha="center", va="center", fontsize=9.5)
axes.text(50, 6, "A kernel reads a panel from its beginning to its end.", ha="center")
axes.text(50, 2, "The last panel is padded with zeros.", ha="center")
