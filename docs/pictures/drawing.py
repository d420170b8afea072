"""Shapes and colours that the pictures share."""

import pathlib

import matplotlib.pyplot as plt
from matplotlib.patches import FancyArrowPatch, Polygon, Rectangle

ROOT = pathlib.Path(__file__).resolve().parents[2]
INK, PALE, LINE = "#22303f", "#eef2f6", "#8596a8"
BLUE, ORANGE, GREEN, RED = "#3b7dd8", "#e8893c", "#3f9b63", "#c6463d"
WIDTH = 5.6  # inches; text of 9 points stays readable on a phone


def canvas(width, height, inches=WIDTH):
    """Return axes without ticks, in which x and y have the same unit."""
    figure, axes = plt.subplots(figsize=(inches, inches * height / width))
    figure.subplots_adjust(0, 0, 1, 1)
    axes.set(xlim=(0, width), ylim=(0, height), aspect="equal")
    axes.axis("off")
    return axes


def box(axes, x, y, width, height, text="", colour=PALE, edge=LINE, **words):
    """Draw a rectangle with a text in its centre."""
    axes.add_patch(Rectangle((x, y), width, height, facecolor=colour, edgecolor=edge, linewidth=1))
    axes.text(x + width / 2, y + height / 2, text, ha="center", va="center", **words)


def arrow(axes, start, end, colour=INK, **style):
    """Draw an arrow."""
    shape = {"arrowstyle": "-|>", "mutation_scale": 10, "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0} | style
    axes.add_patch(FancyArrowPatch(start, end, color=colour, zorder=5, **shape))


def cuboid(axes, x, y, size, depth, cells=10, column=None, colour=PALE, strip=BLUE):
    """Draw an image of `cells` x `cells` pixels, whose channels go into the depth.

    `column` is a cell of the top row. The pixel of this cell is drawn in the colour `strip`, in all channels.
    """
    step, dx, dy = size / cells, 0.6 * depth, 0.35 * depth
    face = {"edgecolor": LINE, "linewidth": 0.8}
    axes.add_patch(Rectangle((x, y), size, size, facecolor=colour, **face))
    axes.add_patch(
        Polygon([(x, y + size), (x + dx, y + size + dy), (x + size + dx, y + size + dy), (x + size, y + size)],
                facecolor="#dfe6ee", **face)
    )  # fmt: skip
    axes.add_patch(
        Polygon([(x + size, y), (x + size + dx, y + dy), (x + size + dx, y + size + dy), (x + size, y + size)],
                facecolor="#cfd9e4", **face)
    )  # fmt: skip
    for i in range(1, cells):
        axes.plot([x + i * step] * 2, [y, y + size], color=LINE, linewidth=0.3)
        axes.plot([x, x + size], [y + i * step] * 2, color=LINE, linewidth=0.3)
    if column is not None:
        left, top = x + column * step, y + size
        axes.add_patch(Rectangle((left, top - step), step, step, facecolor=strip, edgecolor=INK, linewidth=0.6))
        axes.add_patch(
            Polygon([(left, top), (left + dx, top + dy), (left + step + dx, top + dy), (left + step, top)],
                    facecolor=strip, edgecolor=INK, linewidth=0.6)
        )  # fmt: skip


def bars(axes, names, values, colours, form):
    """Draw horizontal bars with their values as text. The first name is on top."""
    places = range(len(names) - 1, -1, -1)
    axes.barh(list(places), values, color=colours, height=0.62)
    for place, value in zip(places, values, strict=True):
        axes.text(value + max(values) * 0.015, place, form(value), va="center")
    axes.set(yticks=list(places), yticklabels=names, xticks=[], xlim=(0, max(values) * 1.4))
    axes.spines["bottom"].set_visible(False)
    axes.tick_params(axis="y", length=0)
