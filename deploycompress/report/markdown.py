"""The document of `check` as Markdown: a file of its own, or a part of a GitHub job's summary."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deploycompress.errors import OutputError
from deploycompress.report.check_table import check_table, headline, notes
from deploycompress.report.own_file import check_place, write_own
from deploycompress.report.text_table import escape, markdown

Document = Mapping[str, Any]  # Any: parsed JSON

MARK = "<!-- deploycompress check -->"
LARGEST_SUMMARY = 2**20  # bytes a step may leave; GitHub drops all of a larger summary


def check_markdown(document: Document) -> str:
    """Lay out a document of `check`."""
    machine = document["machine"]
    where = (
        f"{machine['cpu'] or machine['arch']}, ONNX Runtime {machine['onnxruntime']}, evidence {document['evidence']}, "
        f"{document['student']['latency_ms']['n']} samples, intervals at {100 * document['confidence']:g} %"
    )
    lines = [MARK, f"### {escape(headline(document))}", "", markdown(check_table(document)), "", escape(where)]
    lines += ["", *(f"* {escape(note)}" for note in notes(document))] if notes(document) else []
    return "\n".join(lines) + "\n"


def check_markdown_place(path: Path) -> None:
    """Refuse a place that cannot take a report.

    Raises:
        OutputError: another program's file is there, or the folder cannot be written to.
    """
    check_place(path, MARK)


def write_markdown(path: Path, document: Document) -> None:
    """Write a page of its own.

    Raises:
        OutputError: another program's file is there, or it cannot be written.
    """
    write_own(path, check_markdown(document).encode(), MARK)


def append_summary(path: Path, document: Document) -> bool:
    """Put a page to a job's summary, in one write, where GitHub's limit leaves room.

    Args:
        path: what `$GITHUB_STEP_SUMMARY` names.
        document: what `check` made.

    Returns:
        Whether it was put there; with it the summary would have been too large, else.

    Raises:
        OutputError: the file cannot be written to.
    """
    page = check_markdown(document).encode()
    try:
        taken = path.stat().st_size if path.exists() else 0
        if taken + len(page) > LARGEST_SUMMARY:
            return False
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, page)
        finally:
            os.close(handle)
    except OSError as error:
        raise OutputError(f"The job summary {str(path)!r} cannot be written: {error.strerror}.") from error
    return True
