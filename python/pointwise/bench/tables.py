"""Tables of text that fit `WIDTH` columns."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from ..cli.parser import require

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .layers import Case

WIDTH = 100  # columns if standard output is not a terminal
DASH = "-"  # cell without a figure


class Grid:
    """Table with a title above it and a caption below it.

    Parameters
    ----------
    title, caption : str
        Texts above and below the table. They may be empty, and may be wider than the table.
    words, figures : sequence of str
        Headings of the left columns, which a narrow terminal folds, and of the right columns, which are not folded.
    """

    def __init__(self, title: str, words: Sequence[str], figures: Sequence[str], caption: str = "") -> None:
        rich_table, box = require("rich.table", "bench"), require("rich.box", "bench")
        self.title, self.caption = title, caption
        self.table = rich_table.Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
        for heading in words:
            self.table.add_column(heading, overflow="fold")
        for heading in figures:
            self.table.add_column(heading, justify="right", no_wrap=True)

    def add_row(self, *cells: str) -> None:
        """Add a row. Missing cells are empty."""
        self.table.add_row(*cells)


def rendered(grids: Iterable[Grid], width: int | None = WIDTH) -> str:
    """Return the text of tables, each with an empty line after it. Without `width`, use the width of the terminal."""
    console = require("rich.console", "bench").Console(markup=False, highlight=False, width=width)
    with console.capture() as captured:
        for grid in grids:
            for part in (grid.title, grid.table, grid.caption):
                if part != "":
                    console.print(part)
            console.line()
    text: str = captured.get()
    return text


def print_tables(grids: Iterable[Grid]) -> None:
    """Print tables. rich's own print would end the process if the reader of the pipe has ended."""
    print(rendered(grids, None if sys.stdout.isatty() else WIDTH), end="")


def shape_words(case: Case, layout: str) -> str:
    """Return the sizes of a layer, such as "1x64x56x56 -> 128 /2 g4" for stride 2 and 4 groups."""
    stride = f" /{case.stride}" if case.stride > 1 else ""
    groups = f" g{case.groups}" if case.groups > 1 else ""
    return f"{'x'.join(map(str, case.shape(layout)))} -> {case.cout}{stride}{groups}"


def ratio_words(value: float | None) -> str:
    """Return a ratio as text, or a dash for None."""
    return DASH if value is None else f"{value:.2f}"


def microseconds(seconds: float | None) -> str:
    """Return a time in microseconds with three or more digits, or a dash for None."""
    if seconds is None:
        return DASH
    value = 1e6 * seconds
    return f"{value:.{0 if value >= 99.95 else 1 if value >= 9.995 else 2}f}"
