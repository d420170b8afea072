"""The bottleneck of ResNet: 1x1 layers reduce and restore the channels around a 3x3 layer."""

import matplotlib.pyplot as plt
import pointwise as pw
from drawing import BLUE, ORANGE, WIDTH, arrow, bars, box

SIZE = 56
down, up = pw.cost((1, 256, SIZE, SIZE), 64), pw.cost((1, 64, SIZE, SIZE), 256)
three = pw.cost((1, 64, SIZE, SIZE), 64)  # nine times this, for the nine pixels of a 3x3 kernel
alone = pw.cost((1, 256, SIZE, SIZE), 256)

figure = plt.figure(figsize=(WIDTH, 4.3))
top = figure.add_axes((0, 0.45, 1, 0.55))
top.set(xlim=(0, 100), ylim=(2, 46))
top.axis("off")
for x, channels in ((4, 256), (31, 64), (58, 64), (85, 256)):
    height = channels / 256 * 28
    box(top, x, 22 - height / 2, 9, height, f"{channels}", "#dbe7f7")
for x, text, colour in ((13, "1x1", BLUE), (40, "3x3", ORANGE), (67, "1x1", BLUE)):
    arrow(top, (x + 0.8, 22), (x + 17.2, 22), colour)
    top.text(x + 9, 25, text, ha="center", color=colour, fontsize=11)
top.text(50, 41, "channels of each pixel, 56x56 pixels", ha="center")
for place, (title, values) in enumerate(
    {
        "parameters": (9 * alone.params, down.params + 9 * three.params + up.params),
        "multiply-adds": (9 * alone.macs, down.macs + 9 * three.macs + up.macs),
    }.items()
):
    axes = figure.add_axes((0.33, 0.24 - 0.22 * place, 0.65, 0.17))
    names = ("3x3 on 256 channels", "bottleneck")
    bars(axes, names, values, (ORANGE, BLUE), lambda value: f"{value:,}")
    axes.set_title(title, fontsize=9, loc="left", pad=2)
