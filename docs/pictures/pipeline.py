"""The pipeline: dst as boxes, pieces, blocks and tiles."""

from drawing import BLUE, GREEN, LINE, ORANGE, PALE, arrow, canvas
from matplotlib.patches import Rectangle


def grid(axes, x, y, width, height, columns, rows, colour, chosen):
    """Draw a rectangle that is cut into cells, one of which is chosen. Return the place of the chosen cell."""
    w, h = width / columns, height / rows
    for row in range(rows):
        for column in range(columns):
            face = colour if (column, row) == chosen else PALE
            axes.add_patch(
                Rectangle((x + w * column, y + h * row), w, h, facecolor=face, edgecolor=LINE, linewidth=0.8)
            )
    return x + w * chosen[0], y + h * chosen[1], w, h


def zoom(axes, cell, x, y, width, height):
    """Connect a cell with the larger picture of it."""
    left, bottom, w, _ = cell
    for start, end in (((left, bottom), (x, y + height)), ((left + w, bottom), (x + width, y + height))):
        axes.plot(*zip(start, end, strict=True), color=LINE, linewidth=0.8, linestyle=":")


axes = canvas(100, 118)
axes.text(50, 114, "the pixels of dst, with padding: boxes", ha="center")
axes.add_patch(Rectangle((12, 92), 76, 19, facecolor="#f7e3d2", edgecolor=LINE))
axes.text(50, 108.2, "k = 0: act(bias + residual)", ha="center", va="center", fontsize=9.5)
axes.add_patch(Rectangle((20, 94.5), 60, 11, facecolor=BLUE, edgecolor=LINE))
axes.text(50, 100, "inside the image: k = input channels", ha="center", va="center", fontsize=9.5, color="white")

levels = (
    (64, 4, 2, "a box: pixels x output channels, cut into pieces for threads", "n: pixels", ORANGE, (1, 1)),
    (36, 3, 2, "a piece is computed in blocks: one kernel call each", "n_block", GREEN, (1, 0)),
    (8, 6, 4, "a block is computed in tiles: sums in registers", "NR vectors", BLUE, (2, 2)),
)
cell = (20, 94.5, 60, 11)
for y, columns, rows, title, along, colour, chosen in levels:
    zoom(axes, cell, 20, y, 60, 18)
    cell = grid(axes, 20, y, 60, 18, columns, rows, colour, chosen)
    axes.text(50, y + 19.2, title, ha="center", fontsize=9.5,
              bbox={"facecolor": "white", "edgecolor": "none", "pad": 1})  # fmt: skip
    axes.text(82, y + 1, along, fontsize=9.5)
for y, name in ((64, "m: output\nchannels"), (36, "m_block"), (8, "MR rows")):
    axes.text(18, y + 9, name, ha="right", va="center", fontsize=9.5)
arrow(axes, (20, 5), (80, 5))
axes.text(50, 1.6, "tiles run along the pixels, or along the output channels", ha="center", fontsize=9.5)
