"""The document of `inspect` as a page for a terminal: what may be cut, removed or shrunk, and what it costs.

It only reads the document. What is not known is null there and shown as a dash.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

Document = Mapping[str, Any]  # Any: parsed JSON
Row = Sequence[str]

MISSING = "-"
ROWS_SHOWN = 40
NAMES_SHOWN = 3
UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """One list of the page.

    Attributes:
        title: what it lists.
        head: column names.
        rows: cells as text, the long lists cut short.
        right: columns of numbers.
        left_out: number of rows that are not shown.
    """

    title: str
    head: Row
    rows: Sequence[Row]
    right: tuple[int, ...]
    left_out: int


def print_inspection(document: Document, name: str, stream: TextIO) -> None:
    """Write a document as tables: by rich on a terminal, plain elsewhere.

    Args:
        document: what `inspect` made.
        name: what the model is called.
        stream: where to write.
    """
    tables = [] if document["why_no_groups"] else _tables(document)
    if stream.isatty():
        _print_rich(_head(document, name), tables, stream)
    else:
        stream.write("\n\n".join([_head(document, name), *(_plain(table) for table in tables)]) + "\n")


def _head(document: Document, name: str) -> str:
    inputs = ", ".join(f"{port['name']} {port['shape']}".replace("'", "") for port in document["inputs"])
    operators = sum(document["operators"].values())
    kinds = ", ".join(f"{count} {op}" for op, count in _most(document["operators"]))
    lines = [
        f"{name}: {document['params']:,} parameters, {_large(document['macs'])} MACs a sample (analytic); "
        f"inputs {inputs}; {operators} operators ({kinds})"
    ]
    if document["why_no_macs"]:
        lines.append(f"MACs: {document['why_no_macs']}")
    if document["why_no_groups"]:
        lines.append(document["why_no_groups"])
    latency = document["latency"]
    if latency is None:
        lines.append(f"Latency: {document['why_no_latency'] or 'not measured'}")
    else:
        lines.append(
            f"Share of latency ({document['evidence']['share']}, profile {document['profile']}): medians of "
            f"{latency['runs']} profiled runs, {latency['kernels_ms']:.4g} ms in {latency['kernels']} kernels; "
            f"other, which no operator of the model can be given: {_share(latency['other'])}."
        )
    return "\n".join(lines)


def _most(operators: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(operators.items(), key=lambda entry: (-entry[1], entry[0]))[: 2 * NAMES_SHOWN]


def _tables(document: Document) -> list[Table]:
    share = f"share ({document['evidence']['share'] or 'not measured'})"
    costs = ("parameters (analytic)", "MACs (analytic)", share)
    groups = [
        (
            row["name"],
            str(row["width"]),
            _some([f"{tensor}[{axis}]" for tensor, axis in row["members"]]),
            *_costs(row),
            row["why"] or ("yes" if row["frozen"] else ""),
        )
        for row in document["groups"]
    ]
    blocks = [(row["name"], row["kind"], str(len(row["nodes"])), *_costs(row)) for row in document["blocks"]]
    kernels = [
        (row["layer"], "x".join(map(str, row["kernel"])), ", ".join(map(str, row["sizes"])), _large(row["macs"]))
        for row in document["kernels"]
    ]
    return [
        _table("Channel groups", ("name", "width", "members", *costs, "frozen"), groups, right=(1, 3, 4, 5)),
        _table("Blocks", ("name", "kind", "nodes", *costs), blocks, right=(2, 3, 4, 5)),
        _table("Kernels", ("layer", "size", "sizes on offer", "MACs (analytic)"), kernels, right=(3,)),
    ]


def _table(title: str, head: Row, rows: Sequence[Row], *, right: tuple[int, ...]) -> Table:
    shown = rows[:ROWS_SHOWN]
    return Table(title=f"{title}: {len(rows)}", head=head, rows=shown, right=right, left_out=len(rows) - len(shown))


def _costs(row: Document) -> tuple[str, str, str]:
    return f"{row['params']:,}", _large(row["macs"]), _share(row["share"])


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(names[:NAMES_SHOWN]) + more


def _large(value: float | None) -> str:
    if value is None:
        return MISSING
    for size, unit in UNITS:
        if value >= size:
            return f"{value / size:.4g} {unit}"
    return f"{value:g}"


def _share(value: float | None) -> str:
    return MISSING if value is None else f"{100 * value:.1f} %"


def _left_out(table: Table) -> str:
    return f"... and {table.left_out:,} more; --json has them all"


def _plain(table: Table) -> str:
    if not table.rows:
        return table.title
    cells = [table.head, *table.rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if index in table.right else cell.ljust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
    return "\n".join([table.title, *lines, *([_left_out(table)] if table.left_out else [])])


def _print_rich(head: str, tables: Sequence[Table], stream: TextIO) -> None:
    from rich.console import Console
    from rich.table import Table as RichTable
    from rich.text import Text

    console = Console(file=stream, highlight=False)
    console.print(Text(head))
    for table in tables:
        drawn = RichTable(title=table.title, title_justify="left", caption=_left_out(table) if table.left_out else None)
        for index, name in enumerate(table.head):
            drawn.add_column(name, justify="right" if index in table.right else "left", overflow="fold")
        for row in table.rows:
            drawn.add_row(*map(Text, row))
        console.print(drawn)
