"""What a long run tells its user: stages, messages and warnings.

The pipeline speaks to the `Progress` protocol; who listens is decided elsewhere. Nobody does by default.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from deploycompress.report.search_table import SearchRow

logger = logging.getLogger("deploycompress")


class Task(Protocol):
    """One stage under way."""

    def advance(self, amount: float = 1.0) -> None:
        """Say that an amount of the stage's total is done."""

    def note(self, text: str) -> None:
        """Replace the short text shown beside the stage."""

    def row(self, row: SearchRow) -> None:
        """Show an evaluation of a search."""


class Progress(Protocol):
    """The listener of a run."""

    def stage(self, name: str, total: float | None = None) -> AbstractContextManager[Task]:
        """Open a stage; `total` is the amount that its `advance` calls add up to, None when unknown."""

    def message(self, text: str) -> None:
        """Say something worth a line of its own."""

    def warning(self, text: str) -> None:
        """Say something that the user should act upon."""


class SilentProgress:
    """Nobody listens: the default of a program's call. Warnings go to the logger `deploycompress`."""

    def stage(self, name: str, total: float | None = None) -> AbstractContextManager[Task]:  # noqa: ARG002  protocol
        """Open a stage that is not shown."""
        return unshown_stage()

    def message(self, text: str) -> None:
        """Log the text at level INFO."""
        logger.info("%s", text)

    def warning(self, text: str) -> None:
        """Log the text at level WARNING."""
        logger.warning("%s", text)


@contextmanager
def unshown_stage() -> Iterator[Task]:
    """Open a stage that nobody sees."""
    yield _UnshownTask()


class _UnshownTask:
    def __init__(self) -> None:
        self.text = ""

    def advance(self, amount: float = 1.0) -> None:
        pass

    def note(self, text: str) -> None:
        self.text = text

    def row(self, row: SearchRow) -> None:
        pass
