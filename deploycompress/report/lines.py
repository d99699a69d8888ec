"""Progress as lines of text, for logs and for those who want warnings only."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TextIO

from deploycompress.report.progress import Task, unshown_stage

LINE_EVERY_S = 30.0


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
        self.text = ""
        self._stream, self._name, self._total = stream, name, total
        self._done, self._written_s = 0.0, time.monotonic()

    def advance(self, amount: float = 1.0) -> None:
        self._done += amount
        if time.monotonic() - self._written_s >= LINE_EVERY_S:
            self._written_s = time.monotonic()
            share = "" if not self._total else f" {min(self._done / self._total, 1):.0%}"
            _write_line(self._stream, f"{self._name}:{share}{_in_brackets(self.text)}")

    def note(self, text: str) -> None:
        self.text = text


def _in_brackets(text: str) -> str:
    return f" ({text})" if text else ""


def _write_line(stream: TextIO, text: str) -> None:
    stream.write(f"{text}\n")
    stream.flush()
