"""Pictures of a search, drawn from the files in its folder."""

from __future__ import annotations

from pathlib import Path

from deploycompress.pipeline.checkpoint import read_task
from deploycompress.report.plots import require_matplotlib, write_plots


def draw_search(folder: Path, out: Path) -> tuple[Path, ...]:
    """Draw the search in a folder, finished or not.

    Returns:
        The pictures; none when nothing was evaluated.

    Raises:
        UsageError: the folder holds no search, its files are damaged, or matplotlib is not installed.
        OutputError: a picture cannot be written.
    """
    require_matplotlib()
    trace, task = read_task(folder)
    return write_plots(out, trace, task.reward, space=task.space, score=task.score)
