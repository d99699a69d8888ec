"""Tables for a terminal, a log or a page of Markdown, made of cells that are text already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TextIO

Row = Sequence[str]

MISSING = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class TextTable:
    """A table.

    Attributes:
        head: names of the columns.
        rows: cells, as many in each row as there are columns.
        right: columns of numbers.
    """

    head: Row
    rows: Sequence[Row]
    right: tuple[int, ...] = ()


def print_table(table: TextTable, stream: TextIO) -> None:
    """Write a table: with lines on a terminal, plain elsewhere."""
    if stream.isatty():
        _print_rich(table, stream)
    else:
        stream.write(plain(table) + "\n")


def plain(table: TextTable) -> str:
    """Align a table by spaces."""
    cells = [table.head, *table.rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = (
        "  ".join(
            cell.rjust(width) if index in table.right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    )
    return "\n".join(lines)


def markdown(table: TextTable) -> str:
    """Write a table as GitHub's Markdown has it; cells cannot break out of it."""
    rules = ["---:" if index in table.right else "---" for index in range(len(table.head))]
    return "\n".join(
        f"| {' | '.join(cells)} |"
        for cells in ([*map(escape, table.head)], rules, *([*map(escape, row)] for row in table.rows))
    )


def escape(text: str) -> str:
    """Make text safe inside a cell or a line of Markdown."""
    flat = " ".join(text.split()).replace("\\", "\\\\").replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for mark in "|`*_[]":
        flat = flat.replace(mark, f"\\{mark}")
    return flat


def number(value: float | None, *, digits: int = 4, unit: str = "") -> str:
    """Show a number to some digits, or a dash where there is none."""
    if value is None:
        return MISSING
    text = f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.{digits}g}"
    return f"{text} {unit}".rstrip()


def interval(bounds: Sequence[float | None] | None, *, digits: int = 4) -> str:
    """Show an interval, open where nothing bounds it."""
    if bounds is None:
        return MISSING
    low, high = bounds
    if low is not None and low == high:
        return "exact"
    return " to ".join("?" if end is None else number(end, digits=digits) for end in (low, high))


def _print_rich(table: TextTable, stream: TextIO) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table()
    for index, name in enumerate(table.head):
        drawn.add_column(Text(name), justify="right" if index in table.right else "left", overflow="fold")
    for row in table.rows:
        drawn.add_row(*map(Text, row))
    Console(file=stream, highlight=False).print(drawn)
