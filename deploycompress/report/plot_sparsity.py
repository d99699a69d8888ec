"""How much of every channel group is gone, over the steps of a search (RL-Pruner, figure 3)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploycompress.report.plot_history import best_so_far
from deploycompress.report.plot_style import (
    BLACK,
    BLUE,
    GREEN,
    ORANGE,
    PURPLE,
    SKY,
    TEXT_SIZE,
    VERMILLION,
    new_figure,
    shown_name,
    tidy,
)
from deploycompress.search.engine import Kind
from deploycompress.search.outcome import TraceEntry
from deploycompress.search.reward import RewardSettings
from deploycompress.search.space import Candidate, Space

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINES = 7  # as many as there are colours; more are a heat map
LINE_STYLES = ((BLUE, "o"), (ORANGE, "s"), (GREEN, "^"), (VERMILLION, "D"), (PURPLE, "v"), (SKY, "P"), (BLACK, "X"))
MOST_LABELS = 60
ROW_IN, LEAST_HEIGHT_IN, MOST_HEIGHT_IN = 0.17, 3.6, 14.0
EDGES_IN = 1.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sparsity:
    """What is drawn.

    Attributes:
        names: of channel groups, and of blocks that hold none of these whole, in the order of the graph.
        numbers: of the evaluations, from 1, after a 0 for the teacher.
        shares: share removed, in [0, 1], a row for each name with an entry for each number.
        caption: which evaluations these are.
    """

    names: tuple[str, ...]
    numbers: tuple[int, ...]
    shares: tuple[tuple[float, ...], ...]
    caption: str


def sparsity_figure(trace: Sequence[TraceEntry], settings: RewardSettings, space: Space) -> Figure | None:
    """Draw the way of every channel group: lines for a few of them, a heat map for many.

    Args:
        trace: the evaluations in order, at least one.
        settings: hold the constraints.
        space: of the teacher.

    Returns:
        The figure, none when nothing in the space can shrink or go.
    """
    content = sparsity_of(trace, settings, space)
    if not content.names:
        return None
    if len(content.names) <= LINES:
        return _lines(content)
    return _heat_map(content)


def sparsity_of(trace: Sequence[TraceEntry], settings: RewardSettings, space: Space) -> Sparsity:
    """Gather the shares removed: by the students that a search advanced to, or else by those that were its best."""
    advanced = [number for number, entry in enumerate(trace, start=1) if entry.proposal.kind is Kind.ADVANCE]
    numbers = advanced or _improvements(trace, settings)
    candidates = [Candidate(), *(trace[number - 1].proposal.candidate for number in numbers)]
    rows = _rows(space)
    return Sparsity(
        names=tuple(name for name, _ in rows),
        numbers=(0, *numbers),
        shares=tuple(tuple(_share(space, name, layers, one) for one in candidates) for name, layers in rows),
        caption="students the search advanced to" if advanced else "students that were the best so far",
    )


def _improvements(trace: Sequence[TraceEntry], settings: RewardSettings) -> list[int]:
    best = best_so_far(trace, settings)
    if best[-1] is None:  # nothing is feasible: by reward alone
        highest = [max(entry.reward for entry in trace[: number + 1]) for number in range(len(trace))]
        return [number + 1 for number, value in enumerate(highest) if number == 0 or value > highest[number - 1]]
    return [number + 1 for number, entry in enumerate(trace) if best[number] is entry]


def _rows(space: Space) -> list[tuple[str, tuple[int, ...]]]:
    """List channel groups with a choice, and blocks that no such group belongs to whole, in the order of the graph."""
    groups = [(dimension.group, dimension.layers) for dimension in space.free]
    blocks = [
        (removal.block, removal.layers)
        for removal in space.removals
        if not any(layers and set(layers) <= set(removal.layers) for _, layers in groups)
    ]
    return sorted([*groups, *blocks], key=lambda row: min(row[1], default=len(space.layers)))


def _share(space: Space, name: str, layers: tuple[int, ...], candidate: Candidate) -> float:
    if name in candidate.remove or (layers and space.gone(candidate.remove).issuperset(layers)):
        return 1.0
    width = {dimension.group: dimension.width for dimension in space.free}.get(name)
    return 0.0 if width is None else 1 - candidate.widths.get(name, width) / width


def _lines(content: Sparsity) -> Figure:
    figure = new_figure(LEAST_HEIGHT_IN + 0.4)
    axes = figure.add_subplot()
    x = range(len(content.numbers))
    for row, (name, shares) in enumerate(zip(content.names, content.shares, strict=True)):
        colour, marker = LINE_STYLES[row]
        percent = [100 * share for share in shares]
        width = 1.5 + 0.7 * (len(content.names) - 1 - row)  # of lines in one place, each shows beside the next
        axes.plot(
            x, percent, color=colour, linewidth=width, marker=marker, markersize=width + 3, label=shown_name(name)
        )
    tidy(axes, y="removed (%), 100 = gone whole")
    axes.set_ylim(-4, 104)
    _number_steps(axes, content)
    figure.legend(loc="outside right upper", fontsize=TEXT_SIZE - 1, frameon=False, labelspacing=0.8)
    return figure


def _heat_map(content: Sparsity) -> Figure:
    rows = len(content.names)
    figure = new_figure(min(max(EDGES_IN + ROW_IN * rows, LEAST_HEIGHT_IN), MOST_HEIGHT_IN))
    axes = figure.add_subplot()
    percent = [[100 * share for share in shares] for shares in content.shares]
    image = axes.imshow(percent, cmap="Blues", vmin=0, vmax=100, aspect="auto", interpolation="nearest")
    tidy(axes)
    axes.grid(visible=False)
    each = -(-rows // MOST_LABELS)
    labels = [shown_name(name) for name in content.names[::each]]
    axes.set_yticks(range(0, rows, each), labels=labels, fontsize=TEXT_SIZE - 2)
    axes.set_yticks([row - 0.5 for row in range(1, rows)], minor=True)
    axes.grid(visible=True, which="minor", axis="y", color="white", linewidth=0.8)
    axes.tick_params(which="minor", length=0)
    _number_steps(axes, content)
    bar = figure.colorbar(image, ax=axes, fraction=0.04, pad=0.02)
    bar.set_label("removed (%), 100 = gone whole", fontsize=TEXT_SIZE)
    bar.ax.tick_params(labelsize=TEXT_SIZE - 1)
    return figure


def _number_steps(axes: Axes, content: Sparsity) -> None:
    each = -(-len(content.numbers) // 16)
    places = range(0, len(content.numbers), each)
    labels = ["teacher" if place == 0 else str(content.numbers[place]) for place in places]
    axes.set_xticks(places, labels=labels)
    axes.set_xlabel(f"evaluation ({content.caption})", fontsize=TEXT_SIZE)
