"""Tables of text that fit `WIDTH` columns."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ..cli.parser import require

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .layers import Case

WIDTH = 100  # columns if standard output is not a terminal
DASH = "-"  # cell without a figure


def grid(title: str, words: Sequence[str], figures: Sequence[str], caption: str | None = None) -> Any:
    """Return a rich table without rows.

    Parameters
    ----------
    title, caption : str
        Text above and below the table.
    words, figures : sequence of str
        Headings of the left columns, which a narrow terminal folds, and of the right columns, which are not folded.
    """
    rich_table, box = require("rich.table", "bench"), require("rich.box", "bench")
    table = rich_table.Table(
        title=title,
        caption=caption,
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
    )
    for heading in words:
        table.add_column(heading, overflow="fold")
    for heading in figures:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def rendered(tables: Iterable[Any], width: int | None = WIDTH) -> str:
    """Return the text of rich tables, each with an empty line after it. If `width` is None, the terminal sets it."""
    console = require("rich.console", "bench").Console(markup=False, highlight=False, width=width)
    with console.capture() as captured:
        for table in tables:
            console.print(table)
            console.line()
    text: str = captured.get()
    return text


def print_tables(tables: Iterable[Any]) -> None:
    """Print rich tables. rich's own print would end the process if the reader of the pipe has ended."""
    print(rendered(tables, None if sys.stdout.isatty() else WIDTH), end="")


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
