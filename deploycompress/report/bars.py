"""Progress as moving bars on a terminal, drawn by rich."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Display
from rich.text import Text

from deploycompress.report.progress import Task

SHORTEST_SHOWN_S = 1.0  # a stage that was over before anybody could read its bar leaves no line


class BarProgress:
    """One bar for each open stage; a finished stage leaves a line with its seconds."""

    def __init__(self, display: Display) -> None:
        self._display = display

    @contextmanager
    def stage(self, name: str, total: float | None = None) -> Iterator[Task]:
        """Show a bar until the stage is left; it pulses when the total is unknown."""
        task = _BarTask(self._display, self._display.add_task(name, total=total, note=""))
        started_s, mark = time.perf_counter(), Text("stopped ", "yellow")
        try:
            yield task
            mark = Text("done ", "green")
        finally:
            self._display.remove_task(task.bar)
            self._display.refresh()
            seconds = time.perf_counter() - started_s
            if seconds >= SHORTEST_SHOWN_S:
                note = f"  {task.text}" if task.text else ""
                self._print(mark.append(f"{name}  {seconds:.1f} s{note}", "default"))

    def message(self, text: str) -> None:
        """Print the text above the bars."""
        self._print(Text(text))

    def warning(self, text: str) -> None:
        """Print the text above the bars, so that it is seen."""
        self._print(Text("warning: ", "bold yellow").append(text, "yellow"))

    def _print(self, text: Text) -> None:
        self._display.console.print(text, soft_wrap=True)


class _BarTask:
    def __init__(self, display: Display, bar: TaskID) -> None:
        self.bar = bar
        self.text = ""
        self._display = display

    def advance(self, amount: float = 1.0) -> None:
        self._display.advance(self.bar, amount)

    def note(self, text: str) -> None:
        self.text = text
        self._display.update(self.bar, note=text)


@contextmanager
def open_bars(stream: TextIO) -> Iterator[BarProgress]:
    """Draw on a terminal until left; rich itself honours `NO_COLOR`."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    # Redirecting standard output would put results among the bars: only progress is drawn here.
    with Display(*columns, console=Console(file=stream), redirect_stdout=False, transient=True) as display:
        yield BarProgress(display)
