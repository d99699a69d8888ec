"""The document of `check` as a page for a terminal, and its rows as sentences for reports of other kinds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TextIO

from deploycompress.report.text_table import TextTable, interval, number, print_table

Document = Mapping[str, Any]  # Any: parsed JSON

UNJUDGED = "not judged"
HEADLINES = {
    "pass": "All limits are met",
    "fail": "A limit is NOT met",
    "inconclusive": "Not every limit could be judged",
}


def print_check(document: Document, stream: TextIO) -> None:
    """Write a document as a headline, a table and notes.

    Args:
        document: what `check` made.
        stream: where to write.
    """
    stream.write(f"{headline(document)}\n")
    print_table(check_table(document), stream)
    for note in notes(document):
        stream.write(f"note: {note}\n")


def headline(document: Document) -> str:
    """Say in one sentence how it ended."""
    left_out = len(document["not_judged"])
    said = HEADLINES[document["verdict"]]
    if document["verdict"] == "pass" and left_out:
        were = "was" if left_out == 1 else "were"
        said = f"All limits that were judged are met; {left_out} of the profile's {were} not judged"
    return f"{said}: {document['model']} on profile {document['profile']}."


def check_table(document: Document) -> TextTable:
    """Lay out a limit a line."""
    return TextTable(
        head=("limit", "value", "interval", "verdict", "evidence"),
        rows=[
            (
                row["expression"],
                number(shown_value(row)),
                interval(_shown_interval(row)),
                row["verdict"] or UNJUDGED,
                row["evidence"],
            )
            for row in document["constraints"]
        ],
        right=(1, 2),
    )


def notes(document: Document) -> list[str]:
    """List why limits were not judged, and what disturbed the measurement."""
    reasons = [f"{row['expression']}: {row['reason']}" for row in document["constraints"] if row["reason"]]
    return [*reasons, *document["remarks"]]


def left_out_sentence(one: Document) -> str:
    """Say why one of the profile's limits was left out."""
    return f"the profile's limit {one['expression']} was not judged: {one['reason']}"


def row_sentence(row: Document) -> str:
    """Say what became of one limit."""
    if row["reason"]:
        return f"{row['expression']} was not judged: {row['reason']}"
    value, bounds = number(shown_value(row)), interval(_shown_interval(row))
    where = f"{value} ({bounds}, {row['evidence']})"
    said = {"pass": "holds", "fail": "does not hold", "inconclusive": "is neither shown to hold nor to be broken"}
    return f"{row['expression']} {said[row['verdict']]}: {where}"


def shown_value(row: Document) -> float | None:
    """Give the value as the limit's author wrote it: rows with `>=` are kept with their signs turned."""
    value: float | None = row["value"]
    return -value if value is not None and _is_turned(row) else value


def _shown_interval(row: Document) -> list[float | None]:
    low, high = row["interval"]
    if not _is_turned(row):
        return [low, high]
    return [None if end is None else -end for end in (high, low)]


def _is_turned(row: Document) -> bool:
    return ">=" in row["expression"]
