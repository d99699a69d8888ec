"""Accuracy against latency: every student, the front of the best trained ones, the limit, and the chosen one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from deploycompress.report.plot_style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    TEXT_SIZE,
    VERMILLION,
    new_figure,
    point_size,
    say_nothing_is_there,
    tidy,
)
from deploycompress.search.engine import Kind
from deploycompress.search.outcome import TraceEntry, is_feasible
from deploycompress.search.reward import RewardSettings

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Point = tuple[float, float]

COSTS = {
    "latency_ratio": "latency over the teacher's",
    "latency_ms": "latency (ms)",
    "macs_ratio": "MACs over the teacher's",
    "params_ratio": "parameters over the teacher's",
}
RUNGS = ((SKY, "o"), (BLUE, "s"), (GREEN, "^"), (PURPLE, "v"))
ADVANCED = (ORANGE, "D")
HEIGHT_IN = 5.0


def front_figure(
    trace: Sequence[TraceEntry], settings: RewardSettings, chosen: TraceEntry | None, score: str = "accuracy"
) -> Figure:
    """Draw every student whose accuracy was taken; hollow marks break a constraint.

    Args:
        trace: the evaluations in order, at least one.
        settings: hold the constraints.
        chosen: the student that is recommended, if any.
        score: what counts as accuracy.
    """
    figure = new_figure(HEIGHT_IN)
    axes = figure.add_subplot()
    cost = next((name for name in COSTS if any(_is_known(entry, name) for entry in trace)), "latency_ratio")
    known = [entry for entry in trace if _is_known(entry, cost)]
    tidy(axes, x=COSTS[cost], y=f"validation {score} (%)")
    if not known:
        say_nothing_is_there(axes, f"no student's {score} and latency are both known")
        return figure
    for training in sorted({_training(entry) for entry in known}):
        students = [entry for entry in known if _training(entry) == training]
        _draw_students(axes, students, settings, cost, size=point_size(len(known)))
    front = pareto_front([_point(entry, cost) for entry in _best_trained(known, settings)])
    axes.step(*zip(*front, strict=True), where="post", color=BLACK, linewidth=1.2, label="front of the best trained")
    _draw_teacher(axes, 100 * known[-1].evaluation.teacher_accuracy, cost)
    _draw_limits(axes, settings, cost)
    if chosen is not None and _is_known(chosen, cost):
        _draw_chosen(axes, chosen, settings, cost)
    if not all(is_feasible(entry.evaluation, settings) for entry in known):
        axes.scatter([], [], s=26, facecolors="none", edgecolors=GREY, label="hollow: breaks a constraint")
    figure.legend(loc="outside right upper", fontsize=TEXT_SIZE - 1, frameon=False)
    return figure


def pareto_front(points: Sequence[Point]) -> list[Point]:
    """Give the points that no other beats, cheapest first: none is as cheap and at least as accurate."""
    front: list[Point] = []
    for x, y in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or y > front[-1][1]:
            front.append((x, y))
    return front


def _is_known(entry: TraceEntry, cost: str) -> bool:
    evaluation = entry.evaluation
    return not evaluation.is_degenerate and evaluation.accuracy is not None and cost in evaluation.metrics


def _point(entry: TraceEntry, cost: str) -> Point:
    return entry.evaluation.metrics[cost], 100 * entry.evaluation.metrics["accuracy"]


def _training(entry: TraceEntry) -> tuple[bool, int]:
    return entry.proposal.kind is Kind.ADVANCE, len(entry.evaluation.climb)


def _best_trained(known: Sequence[TraceEntry], settings: RewardSettings) -> list[TraceEntry]:
    """Give the students that were trained as long as the best trained feasible one: only those compare."""
    feasible = [entry for entry in known if is_feasible(entry.evaluation, settings)]
    highest = max(_training(entry) for entry in feasible or known)
    return [entry for entry in known if _training(entry) == highest]


def _draw_students(
    axes: Axes, students: Sequence[TraceEntry], settings: RewardSettings, cost: str, *, size: float
) -> None:
    is_advanced, rung = _training(students[0])
    colour, marker = ADVANCED if is_advanced else RUNGS[min(max(rung, 1), len(RUNGS)) - 1]
    label = "advanced to" if is_advanced else f"trained to rung {max(rung, 1)}"
    x, y = zip(*(_point(entry, cost) for entry in students), strict=True)
    faces = [colour if is_feasible(entry.evaluation, settings) else "none" for entry in students]
    axes.scatter(x, y, s=size, marker=marker, facecolors=faces, edgecolors=colour, linewidths=1.1, zorder=3)
    axes.scatter([], [], s=size, marker=marker, facecolors=colour, edgecolors=colour, label=label)


def _draw_chosen(axes: Axes, chosen: TraceEntry, settings: RewardSettings, cost: str) -> None:
    x, y = _point(chosen, cost)
    what = "chosen" if is_feasible(chosen.evaluation, settings) else "nearest to the limits"
    label = f"{what}: {y:.2f} % at {x:.4g}"
    axes.scatter([x], [y], s=170, facecolors="none", edgecolors=VERMILLION, linewidths=2, label=label, zorder=6)


def _draw_teacher(axes: Axes, accuracy: float, cost: str) -> None:
    axes.axhline(accuracy, color=GREY, linestyle=":", linewidth=1.2, zorder=1)
    x = [1.0] if cost.endswith("_ratio") else []
    axes.plot(x, [accuracy] * len(x), marker="*", markersize=13, color=BLACK, linestyle=":", label="teacher", zorder=5)


def _draw_limits(axes: Axes, settings: RewardSettings, cost: str) -> None:
    for row in settings.constraints:
        factor = row.value(dict.fromkeys(row.metrics, 1.0))
        if row.metrics == {cost} and factor > 0:
            limit = row.bound / factor
            axes.axvline(limit, color=VERMILLION, linestyle="-.", linewidth=1.2, label=row.expression, zorder=2)
            left, right = axes.get_xlim()
            axes.axvspan(limit, max(right, limit), color=VERMILLION, alpha=0.06, linewidth=0, zorder=0)
            axes.set_xlim(min(left, limit - 0.05 * (right - limit)), right)
        elif row.metrics == {"accuracy"} and factor < 0:
            height = 100 * row.bound / factor
            axes.axhline(height, color=VERMILLION, linestyle="--", linewidth=1.2, label=row.expression, zorder=2)
