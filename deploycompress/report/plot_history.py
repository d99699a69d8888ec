"""Reward, accuracy and compression over the evaluations of a search, one panel each (N2N, figures 3 and 4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from deploycompress.report.plot_style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    PURPLE,
    TEXT_SIZE,
    VERMILLION,
    new_figure,
    point_size,
    say_nothing_is_there,
    tidy,
)
from deploycompress.search.outcome import TraceEntry, is_feasible
from deploycompress.search.reward import DEGENERATE_REWARD, RATIO_METRICS, RewardKind, RewardSettings

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Value = Callable[[TraceEntry], float | None]

FEASIBLE, BROKEN, FAILED = "meets the constraints", "breaks a constraint", "failed"
MARKERS = {FEASIBLE: ("o", BLUE), BROKEN: ("x", VERMILLION), FAILED: ("v", GREY)}
BEST, TEACHER, LIMIT = "best reward so far", "teacher", "limit"

RATIO_NAMES = {
    "latency_ratio": "latency",
    "params_ratio": "parameters",
    "macs_ratio": "MACs",
    "activation_peak_ratio": "activation memory",
}

LEAST_GAP = 0.2  # between the lowest reward and the others, in units of reward, above which the axis is broken
HEIGHT_IN = 8.0


def history_figure(trace: Sequence[TraceEntry], settings: RewardSettings, score: str = "accuracy") -> Figure:
    """Draw what every evaluation brought.

    Args:
        trace: the evaluations in order, at least one.
        settings: hold the constraints, and say what is to be compressed.
        score: what counts as accuracy.
    """
    from matplotlib.ticker import MaxNLocator

    figure = new_figure(HEIGHT_IN)
    rewards = [entry.reward for entry in trace]
    usual = [value for value in rewards if value > DEGENERATE_REWARD]
    is_broken = len(usual) < len(rewards) and bool(usual) and min(usual) > DEGENERATE_REWARD + LEAST_GAP
    grid = figure.add_gridspec(4 if is_broken else 3, 1, height_ratios=[5, 0.7, 5, 5] if is_broken else None)
    axes = [figure.add_subplot(grid[row, 0]) for row in range(4 if is_broken else 3)]
    for other in axes[1:]:
        other.sharex(axes[0])
    metric = compressed_metric(trace, settings)
    for reward_axes in axes[:-2]:
        _draw(reward_axes, trace, settings, lambda entry: entry.reward)
    tidy(axes[0], y="reward")
    if is_broken:
        _break(axes[0], axes[1], usual)
    _draw(axes[-2], trace, settings, _accuracy, missing=f"no {score} was taken")
    tidy(axes[-2], y=f"validation {score} (%)")
    _level(axes[-2], 100 * trace[-1].evaluation.teacher_accuracy, TEACHER)
    _draw(axes[-1], trace, settings, lambda entry: _saved(entry, metric), missing=f"no {metric} was measured")
    tidy(axes[-1], x="evaluation", y=f"{RATIO_NAMES[metric]} saved (%)")
    for row in settings.constraints:
        if row.metrics == {metric} and (factor := row.value({metric: 1.0})) > 0:
            _level(axes[-1], 100 * (1 - row.bound / factor), LIMIT)
    for upper in axes[:-1]:
        upper.tick_params(labelbottom=False)
    axes[0].set_xlim(0.5 - 0.02 * len(trace), len(trace) + 0.5 + 0.02 * len(trace))
    axes[0].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    _legend(figure, axes)
    return figure


def compressed_metric(trace: Sequence[TraceEntry], settings: RewardSettings) -> str:
    """Name the ratio whose compression matters: that of the reward, else that of the first row, else a known one."""
    limited = [name for row in settings.constraints for name in sorted(row.metrics) if name in RATIO_NAMES]
    measured = [name for name in RATIO_NAMES if any(name in entry.evaluation.metrics for entry in trace)]
    rewarded = [RATIO_METRICS[settings.quantity]] if settings.kind is RewardKind.N2N else []
    return [*rewarded, *limited, *measured, "latency_ratio"][0]


def best_so_far(trace: Sequence[TraceEntry], settings: RewardSettings) -> list[TraceEntry | None]:
    """Give, for every evaluation, the feasible student of the highest reward until then, none before the first."""
    best: TraceEntry | None = None
    history = []
    for entry in trace:
        if is_feasible(entry.evaluation, settings) and (best is None or entry.reward > best.reward):
            best = entry
        history.append(best)
    return history


def _draw(
    axes: Axes, trace: Sequence[TraceEntry], settings: RewardSettings, value: Value, *, missing: str = ""
) -> None:
    points = [(number, value(entry), _fate(entry, settings)) for number, entry in enumerate(trace, start=1)]
    for fate, (marker, colour) in MARKERS.items():
        places = [(number, height) for number, height, its in points if its == fate and height is not None]
        if places:
            x, y = zip(*places, strict=True)
            size = point_size(len(trace))
            axes.scatter(x, y, s=size, marker=marker, c=colour, linewidths=1.2, label=fate, alpha=0.85, zorder=3)
    best = [(number, value(entry)) for number, entry in enumerate(best_so_far(trace, settings), start=1) if entry]
    steps = [(number, height) for number, height in best if height is not None]
    if steps:
        x, y = zip(*steps, strict=True)
        axes.step(x, y, where="post", color=BLACK, linewidth=1.4, label=BEST, zorder=4)
    if missing and all(height is None for _, height, _ in points):
        say_nothing_is_there(axes, missing)


def _fate(entry: TraceEntry, settings: RewardSettings) -> str:
    if entry.evaluation.is_degenerate:
        return FAILED
    return FEASIBLE if is_feasible(entry.evaluation, settings) else BROKEN


def _accuracy(entry: TraceEntry) -> float | None:
    accuracy = entry.evaluation.accuracy
    return None if accuracy is None else 100 * accuracy


def _saved(entry: TraceEntry, metric: str) -> float | None:
    ratio = entry.evaluation.metrics.get(metric)
    return None if ratio is None else 100 * (1 - ratio)


def _level(axes: Axes, height: float, label: str) -> None:
    colour, style = (GREEN, "--") if label == TEACHER else (PURPLE, "-.")
    axes.axhline(height, color=colour, linestyle=style, linewidth=1.2, label=label, zorder=2)


def _break(upper: Axes, lower: Axes, usual: Sequence[float]) -> None:
    """Show the usual rewards above and the lowest one below, with a mark where the axis is cut."""
    room = max(0.06 * (max(usual) - min(usual)), 0.01)
    upper.set_ylim(min(usual) - room, max(usual) + room)
    tidy(lower)
    lower.set_ylim(DEGENERATE_REWARD - 0.1, DEGENERATE_REWARD + 0.1)
    lower.set_yticks([DEGENERATE_REWARD], labels=[f"\u2212{abs(DEGENERATE_REWARD):g}"])
    upper.spines["bottom"].set_visible(False)
    upper.tick_params(bottom=False)
    for axes, height in ((upper, 0.0), (lower, 1.0)):
        axes.plot(
            [0],
            [height],
            transform=axes.transAxes,
            marker=[(-1, -0.6), (1, 0.6)],
            markersize=9,
            linestyle="none",
            color=BLACK,
            clip_on=False,
        )


def _legend(figure: Figure, axes: Sequence[Axes]) -> None:
    found: dict[str, Artist] = {}
    for one in axes:
        handles, labels = one.get_legend_handles_labels()
        found.update(zip(map(str, labels), handles, strict=True))
    order = [label for label in (*MARKERS, BEST, TEACHER, LIMIT) if label in found]
    figure.legend(
        [found[label] for label in order],
        order,
        loc="outside upper center",
        ncols=len(order),
        fontsize=TEXT_SIZE,
        frameon=False,
        columnspacing=1.2,
        handletextpad=0.4,
    )
