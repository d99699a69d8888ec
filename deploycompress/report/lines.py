"""Progress as lines of text, for logs and for those who want warnings only."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TextIO

from deploycompress.report.progress import Task, unshown_stage
from deploycompress.report.search_table import SearchRow, ShownRows, best_sentence, update_line

LINE_EVERY_S = 30.0
FEWEST_IN_A_LINE = 5  # evaluations; steps that are shorter share a line
MOST_IN_A_LINE = 20


class QuietProgress:
    """Only warnings are written, one line each."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def stage(self, name: str, total: float | None = None) -> AbstractContextManager[Task]:  # noqa: ARG002  protocol
        """Open a stage that is not shown."""
        return unshown_stage()

    def message(self, text: str) -> None:
        """Drop the text."""

    def warning(self, text: str) -> None:
        """Write the text."""
        _write_line(self._stream, f"warning: {text}")


class PlainProgress:
    """Lines for a log: one when a stage starts, one with its seconds when it ends."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._depth = 0

    @contextmanager
    def stage(self, name: str, total: float | None = None) -> Iterator[Task]:
        """Write the stage's first line, and its last one on leaving, also when it fails."""
        indent = "  " * self._depth
        amount = "" if total is None or total <= 1 else f" ({total:g})"
        _write_line(self._stream, f"{indent}{name}{amount} ...")
        task = _ReportedTask(self._stream, f"{indent}{name}", total)
        started_s, outcome = time.perf_counter(), "stopped after"
        self._depth += 1
        try:
            yield task
            outcome = "done in"
        finally:
            self._depth -= 1
            task.finish()
            seconds = time.perf_counter() - started_s
            _write_line(self._stream, f"{indent}{name}: {outcome} {seconds:.1f} s{_in_brackets(task.text)}")

    def message(self, text: str) -> None:
        """Write the text."""
        _write_line(self._stream, "  " * self._depth + text)

    def warning(self, text: str) -> None:
        """Write the text, marked as a warning."""
        _write_line(self._stream, f"warning: {text}")


class _ReportedTask:
    """Writes a line now and then, so that a log of a long stage does not look dead."""

    def __init__(self, stream: TextIO, name: str, total: float | None) -> None:
        self._stream, self._name, self._total = stream, name, total
        self._done, self._written_s = 0.0, time.monotonic()
        self._note = ""
        self._rows = ShownRows()
        self._untold: list[SearchRow] = []

    @property
    def text(self) -> str:
        """What to say beside the stage: its note, or else how good the best student of its rows is."""
        return self._note or best_sentence(self._rows)

    def advance(self, amount: float = 1.0) -> None:
        self._done += amount
        if self._is_silent_for_long() and not self._rows.newest:
            share = "" if not self._total else f" {min(self._done / self._total, 1):.0%}"
            self._write(f"{share}{_in_brackets(self.text)}")

    def note(self, text: str) -> None:
        self._note = text

    def row(self, row: SearchRow) -> None:
        if self._untold and row.step != self._untold[-1].step and len(self._untold) >= FEWEST_IN_A_LINE:
            self.finish()  # a step is over: its rows are told without this one
        self._untold.append(row)
        self._rows = self._rows.with_row(row)
        if len(self._untold) >= MOST_IN_A_LINE or self._is_silent_for_long():
            self.finish()

    def finish(self) -> None:
        """Tell of the rows that were not told of yet."""
        if self._untold:
            self._write(f" {update_line(self._untold, self._rows)}")
            self._untold = []

    def _is_silent_for_long(self) -> bool:
        return time.monotonic() - self._written_s >= LINE_EVERY_S

    def _write(self, text: str) -> None:
        self._written_s = time.monotonic()
        _write_line(self._stream, f"{self._name}:{text}")


def _in_brackets(text: str) -> str:
    return f" ({text})" if text else ""


def _write_line(stream: TextIO, text: str) -> None:
    stream.write(f"{text}\n")
    stream.flush()
