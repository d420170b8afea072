"""The 5x5 branch of GoogLeNet's inception module 3a, with and without its 1x1 layer."""

from drawing import BLUE, ORANGE, arrow, box, canvas

axes = canvas(100, 76)
axes.text(50, 73.5, "inception module 3a: 28 x 28 pixels", ha="center", va="center")
box(axes, 25, 61, 50, 8, "192 channels")
columns = {
    2: [("1x1", "64", BLUE)],
    27: [("1x1", "96", BLUE), ("3x3", "128", "#9fb3c8")],
    52: [("1x1", "16", BLUE), ("5x5", "32", ORANGE)],
    77: [("pool", "192", "#9fb3c8"), ("1x1", "32", BLUE)],
}
for x, steps in columns.items():
    arrow(axes, (36 + (x - 2) / 2.7, 61), (x + 10.5, 52.3))
    y = 44 if len(steps) == 2 else 31
    for name, channels, colour in steps:
        box(axes, x, y, 21, 8, name, colour, color="white", fontsize=11)
        axes.text(x + 11.5, y - 2.6, channels, va="center", fontsize=8)
        arrow(axes, (x + 10.5, y), (x + 10.5, y - 5), BLUE if name == "1x1" else "#5b6b7c")
        y -= 13
    if len(steps) == 1:
        axes.plot([x + 10.5] * 2, [52.3, 39], color="#22303f", linewidth=1.2)
    arrow(axes, (x + 10.5, 26), (36 + (x - 2) / 2.7, 18.4))
box(axes, 25, 10, 50, 8, "64 + 128 + 32 + 32 = 256 channels")
axes.text(50, 4, "Each blue layer is a 1x1 layer.", ha="center", va="center")
