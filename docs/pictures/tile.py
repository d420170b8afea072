"""Tiles: sums in registers, with output channels as rows, or with pixels as rows."""

from drawing import BLUE, GREEN, INK, LINE, ORANGE, arrow, canvas
from matplotlib.patches import Rectangle


def draw(axes, x, title, rows, lanes, left, top):
    """Draw the tile, the numbers that are broadcast to its rows, and the vectors that all rows share."""
    axes.text(x + 24, 66, title, ha="center", fontsize=10)
    for row in range(4):
        y = 38 - 7 * row
        axes.add_patch(Rectangle((x + 2, y + 1.2), 4, 4, facecolor=ORANGE, edgecolor=INK, linewidth=0.6))
        for vector in range(3):
            axes.add_patch(Rectangle((x + 10 + 12 * vector, y), 11, 6, facecolor="#d6ecdd", edgecolor=GREEN))
            for lane in range(1, 4):
                axes.plot([x + 10 + 12 * vector + 2.75 * lane] * 2, [y, y + 6], color=GREEN, linewidth=0.4)
    for vector in range(3):
        axes.add_patch(Rectangle((x + 10 + 12 * vector, 49), 11, 4, facecolor=BLUE, edgecolor=INK, linewidth=0.6))
    axes.text(x + 27.5, 55, top, ha="center", color=BLUE, fontsize=9.5)
    axes.text(x + 4, 45.5, left, ha="center", color=ORANGE, fontsize=9.5)
    axes.text(x + 27.5, 12.6, lanes, ha="center", fontsize=9.5)
    axes.text(x - 0.5, 30, rows, ha="center", va="center", rotation=90, fontsize=9.5)
    arrow(axes, (x + 27.5, 48.5), (x + 27.5, 45), LINE)


axes = canvas(104, 72)
draw(axes, 3, "channel rows", "rows: output channels", "lanes: pixels", "weight", "vectors of x")
draw(axes, 56, "pixel rows", "rows: pixels", "lanes: output channels", "x", "vectors of weights")
axes.text(52, 5.5, "Each green box is an accumulator: one vector register.", ha="center", fontsize=9.5)
axes.text(52, 2, "For each input channel, orange * blue is added to each green box.", ha="center", fontsize=9.5)
