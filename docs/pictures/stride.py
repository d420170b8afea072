"""A 1x1 layer with stride 2 reads every second pixel of each axis."""

import numpy as np
import pointwise as pw
from drawing import BLUE, LINE, arrow, canvas
from matplotlib.patches import Rectangle

# Ask the layer itself which pixels it reads: the gradient of the sum of its results.
read = pw.conv_grad_input(np.ones((1, 1, 4, 4), np.float32), [[1.0]], (1, 1, 8, 8), stride=2)[0, 0]

axes = canvas(100, 46)
for row in range(8):
    for column in range(8):
        colour = BLUE if read[row, column] else "white"
        axes.add_patch(Rectangle((8 + 4.4 * column, 38 - 4.4 * row), 4.4, 4.4, facecolor=colour, edgecolor=LINE))
for row in range(4):
    for column in range(4):
        axes.add_patch(Rectangle((68 + 4.4 * column, 29.2 - 4.4 * row), 4.4, 4.4, facecolor=BLUE, edgecolor=LINE))
arrow(axes, (46, 24.8), (65, 24.8))
axes.text(55.5, 28, "stride=2", ha="center", family="monospace")
axes.text(25.6, 3, "x: 8 x 8 pixels", ha="center")
axes.text(76.8, 3, "y: 4 x 4 pixels", ha="center")
