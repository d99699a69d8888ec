"""Figures of the search benchmark: learning curves, and one small figure for each choice inside N2N."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from statistics import fmean
from typing import TYPE_CHECKING

from deploycompress.report.plot_style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    TEXT_SIZE,
    VERMILLION,
    new_figure,
    tidy,
)
from tools.search_benchmark_records import Record, Update
from tools.search_benchmark_suites import ALL, SUITES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Records = Mapping[str, Record]
Points = list[tuple[float, float]]
Curve = Callable[[Record], Points]

COLOURS = {
    "random": GREY,
    "uniform": BLACK,
    "greedy": ORANGE,
    "evolution": GREEN,
    "rl-pruner": PURPLE,
    "n2n": BLUE,
    "joint": VERMILLION,
}
LEARNED = ("rl-pruner", "n2n", "joint")
VARIANT_SEEDS = (0, 1)
LOOK_BACK = 1.5  # how far below the ends the axis reaches, in units of their range
BEST_SO_FAR = "best validation reward so far"


def curves_figure(records: Records) -> Figure | None:
    """Draw the best reward so far against evaluations, a panel for each teacher; dots are where each seed ends."""
    suites = [name for name in ("resnet20", "resnet56") if any(job.name in records for job in SUITES[name])]
    if not suites:
        return None
    figure = new_figure(3.8)
    panels = [figure.add_subplot(1, len(suites), place + 1) for place in range(len(suites))]
    for axes, suite in zip(panels, suites, strict=True):
        for engine in ALL:
            jobs = [job for job in SUITES[suite] if job.engine == engine and job.name in records]
            _curve(axes, engine, [records[job.name] for job in jobs], SUITES[suite][0].evaluations)
        tidy(axes, x="evaluation", y=BEST_SO_FAR)
        _zoom(axes, [run.best[-1] for job in SUITES[suite] if (run := records.get(job.name)) and run.best])
        axes.set_title(suite.replace("resnet", "ResNet-"), fontsize=TEXT_SIZE)
    _legend(figure, panels)
    return figure


def actor_critic_figure(records: Records) -> Figure | None:
    """Draw how well students are, and the best of them, with both ways of learning."""
    named = {"REINFORCE": _seeds(records, "resnet20-n2n"), "actor-critic": _seeds(records, "variant-actor-critic")}
    return _two_panels(
        named,
        (("mean accuracy in an update", by_update(lambda one: one.accuracy)), (BEST_SO_FAR, best_so_far)),
    )


def constraints_figure(records: Records) -> Figure | None:
    """Draw how many students meet the limit, and the best of them, with annealed and with hard constraints."""
    named = {"hard": _seeds(records, "variant-hard"), "annealed": _seeds(records, "variant-annealed")}
    share = by_update(lambda one: one.feasible / one.evaluations)
    return _two_panels(named, (("share that meets the limit", share), (BEST_SO_FAR, best_so_far)))


def compression_figure(records: Records) -> Figure | None:
    """Draw accuracy and compression under the two ways of rewarding compression."""
    named = {"C(2-C) A": _seeds(records, "variant-c2c"), "C A": _seeds(records, "variant-naive")}
    saved = by_update(lambda one: None if one.ratio is None else 1 - one.ratio)
    accuracy = by_update(lambda one: one.accuracy)
    return _two_panels(named, (("mean accuracy in an update", accuracy), ("mean latency saved, C", saved)))


def by_update(value: Callable[[Update], float | None]) -> Curve:
    """Make a curve of the updates' values, each at the number of evaluations after it."""

    def points(record: Record) -> Points:
        ends = accumulate(one.evaluations for one in record.updates)
        return [
            (end, height) for end, one in zip(ends, record.updates, strict=True) if (height := value(one)) is not None
        ]

    return points


def best_so_far(record: Record) -> Points:
    """Make a curve of the best reward."""
    return [(count, height) for count, height in enumerate(record.best, start=1) if height is not None]


def averaged(curves: Sequence[Points], places: Sequence[float]) -> list[tuple[float, float, float, float]]:
    """Give mean, least and most of several stepped curves at the places where all have begun."""
    found = []
    for place in places:
        heights = [_at(curve, place) for curve in curves]
        known = [height for height in heights if height is not None]
        if known and len(known) == len(curves):
            found.append((place, fmean(known), min(known), max(known)))
    return found


def _at(curve: Points, place: float) -> float | None:
    before = [height for end, height in curve if end <= place]
    return before[-1] if before else None


def _seeds(records: Records, stem: str) -> list[Record]:
    return [records[name] for seed in VARIANT_SEEDS if (name := f"{stem}-{seed}") in records]


def _curve(axes: Axes, engine: str, runs: Sequence[Record], evaluations: int) -> None:
    if not runs:
        return
    curves = [best_so_far(run) for run in runs]
    mean = averaged(curves, range(1, evaluations + 1))
    style, width = ("-", 1.8) if engine in LEARNED else ("--", 1.2)
    axes.step(
        [point[0] for point in mean], [point[1] for point in mean],
        where="post", color=COLOURS[engine], linestyle=style, linewidth=width, label=engine,
    )  # fmt: skip
    ends = [curve[-1][1] for curve in curves if curve]
    place = evaluations * (1.02 + 0.012 * ALL.index(engine))
    axes.plot([place] * len(ends), ends, marker="o", markersize=3.5, linestyle="none", color=COLOURS[engine])


def _zoom(axes: Axes, found: Sequence[float | None]) -> None:
    """Cut off the beginnings of the curves where they would press the ends together."""
    ends = [one for one in found if one is not None]
    if len(set(ends)) > 1:
        lowest = min(ends) - LOOK_BACK * (max(ends) - min(ends))
        axes.set_ylim(bottom=max(lowest, axes.get_ylim()[0]))


def _two_panels(named: Mapping[str, Sequence[Record]], panels: Sequence[tuple[str, Curve]]) -> Figure | None:
    if not any(named.values()):
        return None
    figure = new_figure(2.9)
    drawn = [figure.add_subplot(1, len(panels), place + 1) for place in range(len(panels))]
    for axes, (title, curve) in zip(drawn, panels, strict=True):
        for (label, runs), colour in zip(named.items(), (BLUE, VERMILLION), strict=True):
            curves = [curve(run) for run in runs]
            places = sorted({place for one in curves for place, _ in one})
            points = averaged(curves, places)
            if points:
                x, mean, least, most = zip(*points, strict=True)
                axes.plot(x, mean, color=colour, linewidth=1.6, label=label)
                axes.fill_between(x, least, most, color=colour, alpha=0.18, linewidth=0)
        tidy(axes, x="evaluation", y=title)
    _legend(figure, drawn)
    return figure


def _legend(figure: Figure, panels: Sequence[Axes]) -> None:
    found = {
        str(label): handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        list(found.values()),
        list(found),
        loc="outside upper center",
        ncols=len(found),
        fontsize=TEXT_SIZE,
        frameon=False,
    )
