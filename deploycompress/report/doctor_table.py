"""What `doctor` found, for reading: a table of each place and a sentence at the end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TextIO

from deploycompress.report.text_table import TextTable, print_table

Document = Mapping[str, Any]  # Any: JSON

_MARKS = {"ok": "ok", "note": "note", "problem": "PROBLEM"}


def print_diagnosis(document: Document, stream: TextIO) -> None:
    """Write the document of `doctor` as tables.

    Args:
        document: with `places` and `would_measure`.
        stream: where to write.
    """
    for place in document["places"]:
        name = "This program" if place["place"] == "host" else f"Target {place['place']}"
        stream.write(f"{name}\n")
        rows = [(_MARKS[finding["level"]], finding["topic"], finding["value"]) for finding in place["findings"]]
        print_table(TextTable(head=("", "looked at", "found"), rows=rows), stream)
        for finding in place["findings"]:
            if finding["advice"]:
                stream.write(f"{_MARKS[finding['level']]}: {finding['topic']}: {finding['advice']}\n")
        stream.write("\n")
    stream.write(f"{_verdict(document)}\n")


def _verdict(document: Document) -> str:
    if not document["would_measure"]:
        return "Measuring would not work."
    kinds = sorted({place["evidence"] for place in document["places"] if place["evidence"]})
    said = f"; numbers would be {' and '.join(kinds)}" if kinds else ""
    return f"Measuring would work{said}."
