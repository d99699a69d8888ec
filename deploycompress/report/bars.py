"""Progress as moving bars on a terminal, and the table of a search above them, drawn by rich."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, SpinnerColumn, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Display
from rich.text import Text

from deploycompress.report.progress import Task
from deploycompress.report.search_table import SearchRow, ShownRows, best_sentence, draw

SHORTEST_SHOWN_S = 1.0  # a stage that was over before anybody could read its bar leaves no line
FRAMES_PER_S = 8


class BarProgress:
    """One bar for each open stage, its rows above; a finished stage leaves a line with its seconds."""

    def __init__(self, display: Display) -> None:
        self._display = display
        self._open: tuple[_BarTask, ...] = ()
        self.live = Live(
            get_renderable=self.picture,
            console=display.console,
            refresh_per_second=FRAMES_PER_S,
            redirect_stdout=False,  # it would put results among the bars: only progress is drawn here
            transient=True,
        )

    def picture(self) -> RenderableType:
        """Draw what is open at the moment."""
        width = self._display.console.width
        tables = [draw(task.rows, width) for task in self._open if task.rows.newest]
        return Group(*tables, *([Text()] if tables else []), self._display.get_renderable())

    @contextmanager
    def stage(self, name: str, total: float | None = None) -> Iterator[Task]:
        """Show a bar until the stage is left; it pulses when the total is unknown."""
        task = _BarTask(self._display, self._display.add_task(name, total=total, note=""))
        self._open = (*self._open, task)
        self.live.refresh()
        started_s, mark = time.perf_counter(), Text("stopped ", "yellow")
        try:
            yield task
            mark = Text("done ", "green")
        finally:
            self._open = tuple(other for other in self._open if other is not task)
            self._display.remove_task(task.bar)
            self.live.refresh()
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
        self.rows = ShownRows()
        self._note = ""
        self._display = display

    @property
    def text(self) -> str:
        """What to say beside the stage: its note, or else how good the best student of its rows is."""
        return self._note or best_sentence(self.rows)

    def advance(self, amount: float = 1.0) -> None:
        self._display.advance(self.bar, amount)

    def note(self, text: str) -> None:
        self._note = text
        self._display.update(self.bar, note=text)

    def row(self, row: SearchRow) -> None:
        self.rows = self.rows.with_row(row)


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
    bars = BarProgress(Display(*columns, console=Console(file=stream)))
    with bars.live:
        yield bars
