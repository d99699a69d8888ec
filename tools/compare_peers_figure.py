"""Draws test accuracy against latency for everybody."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from deploycompress.report.plot_style import (
    BLUE,
    GREEN,
    ORANGE,
    TEXT_SIZE,
    VERMILLION,
    new_figure,
    tidy,
)
from tools.compare_peers_records import Latency
from tools.compare_peers_rows import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# colour and mark of each family
DRAWN: Mapping[str, tuple[str, str]] = {
    "torch-pruning": (BLUE, "o"),
    "uniform": (ORANGE, "s"),
    "sibling": (GREEN, "^"),
    "ours": (VERMILLION, "D"),
}
HEIGHT_IN = 5.0


def front_figure(rows: Sequence[Row]) -> Figure:
    """Draw every trained and measured student; bars are the intervals of the latency ratio.

    Args:
        rows: of the comparison.
    """
    figure = new_figure(HEIGHT_IN)
    axes = figure.add_subplot()
    for family, (colour, mark) in DRAWN.items():
        points = [
            (row, row.latency, row.trained.test)
            for row in rows
            if row.cut.family == family and row.latency is not None and row.trained is not None
        ]
        if not points:
            continue
        axes.errorbar(
            [latency.ratio for _, latency, _ in points],
            [100 * test for _, _, test in points],
            xerr=_reaches([latency for _, latency, _ in points]),
            fmt=mark,
            color=colour,
            label=family,
        )
        for row, latency, test in points:
            axes.annotate(
                row.label,
                (latency.ratio, 100 * test),
                textcoords="offset points",
                xytext=(4, -8),
                fontsize=TEXT_SIZE - 4,
                color=colour,
            )
    tidy(axes, x="latency over the teacher's", y="test accuracy (%)")
    axes.legend(fontsize=TEXT_SIZE)
    return figure


def _reaches(latencies: Sequence[Latency]) -> list[list[float]]:
    return [[one.ratio - one.low for one in latencies], [one.high - one.ratio for one in latencies]]
