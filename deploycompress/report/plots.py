"""The plots of a search as PNG files; matplotlib draws them and is imported only here and when it is needed."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from deploycompress.errors import OutputError, UsageError
from deploycompress.report.plot_front import front_figure
from deploycompress.report.plot_history import history_figure
from deploycompress.report.plot_sparsity import sparsity_figure
from deploycompress.search.outcome import TraceEntry, best_of
from deploycompress.search.reward import RewardSettings
from deploycompress.search.space import Space

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_plots(
    folder: Path,
    trace: Sequence[TraceEntry],
    reward_settings: RewardSettings,
    *,
    space: Space | None = None,
    chosen: TraceEntry | None = None,
    score: str = "accuracy",
) -> tuple[Path, ...]:
    """Write `reward.png`, `front.png` and, where the space is known and offers a choice, `sparsity.png`.

    Args:
        folder: where to write; made when it is missing.
        trace: the evaluations in order.
        reward_settings: hold the constraints.
        space: of the teacher.
        chosen: the student that is recommended; by default what the search itself recommends.
        score: what counts as accuracy.

    Returns:
        The files, none for an empty trace.

    Raises:
        UsageError: matplotlib is not installed.
        OutputError: a file cannot be written.
    """
    require_matplotlib()
    if not trace:
        return ()
    recommended = best_of(trace, reward_settings) if chosen is None else chosen
    figures = {
        "reward.png": history_figure(trace, reward_settings, score),
        "sparsity.png": None if space is None else sparsity_figure(trace, reward_settings, space),
        "front.png": front_figure(trace, reward_settings, recommended, score),
    }
    return tuple(_saved(folder / name, figure) for name, figure in figures.items() if figure is not None)


def require_matplotlib() -> None:
    """Make sure that plots can be drawn, before hours of work end without them.

    Raises:
        UsageError: matplotlib is not installed.
    """
    try:
        import_module("matplotlib.figure")
    except ModuleNotFoundError as error:
        raise UsageError(
            "Plots need matplotlib, which is not installed; pip install 'deploycompress[report]'."
        ) from error


def _saved(path: Path, figure: Figure) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="png", facecolor="white")
    except OSError as error:
        raise OutputError(f"The plot {path} could not be written: {error.strerror or error}.") from error
    return path
