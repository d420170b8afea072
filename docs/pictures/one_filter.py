"""One filter of a 1x1 layer: a weighted sum of the channels of one pixel."""

from drawing import BLUE, ORANGE, arrow, canvas, cuboid
from matplotlib.patches import Rectangle

axes = canvas(100, 46)
cuboid(axes, 4, 8, 22, 22, column=6)
axes.text(15, 4, "x: 10 x 10 pixels,\n32 channels", ha="center", va="center")

# The channels of one pixel, and the filter, as rows of numbers.
for y, colour, height, name in (
    (27, BLUE, 31.5, "32 channels of the pixel"),
    (15, ORANGE, 11, "32 weights of a filter"),
):
    for i in range(8):
        axes.add_patch(Rectangle((45 + 2.6 * i, y), 2.6, 2.6, facecolor=colour, edgecolor="white"))
    axes.text(55.4, height, name, ha="center", color=colour)
axes.text(55.4, 22.4, "multiply, then add", ha="center", va="center")
arrow(axes, (31, 38.5), (44, 29), BLUE, connectionstyle="arc3,rad=-0.2")
arrow(axes, (68, 22.4), (83.5, 28.9), ORANGE, connectionstyle="arc3,rad=-0.25")

cuboid(axes, 72, 8, 22, 2, column=6, strip=ORANGE)
axes.text(83, 4, "y: 10 x 10 pixels,\n1 channel", ha="center", va="center")
