"""The document of `compare` as a few lines of text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deploycompress.report.text_table import interval, number

Document = Mapping[str, Any]  # Any: parsed JSON


def render_comparison(document: Document) -> str:
    """Lay out a document of `compare` for reading, without a newline at the end."""
    repeated = f"{document['samples']} samples each in {document['starts']} start{'s' * (document['starts'] != 1)}"
    lines = [
        document["words"],
        f"ratio {document['ratio']:.4f}, {100 * document['confidence']:g} % interval {interval(document['interval'])}",
        f"medians {number(document['first_median_ms'])} ms and {number(document['second_median_ms'])} ms, {repeated}, "
        f"profile {document['profile']} ({document['evidence']})",
        *(f"note: {remark}" for remark in document["remarks"]),
    ]
    return "\n".join(lines)
