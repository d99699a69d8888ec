"""Can the constraints be met at all, and how much must go? Answered with cheap metrics only, before any training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from deploycompress.constraint import Constraint
from deploycompress.errors import ConstraintError
from deploycompress.plan import Plan
from deploycompress.search.reward import meets
from deploycompress.search.space import Space, plan_for, snap

Metrics = Mapping[str, float]
Scores = Mapping[str, Sequence[float]]


def uniform_plan(space: Space, scores: Scores, sparsity: float) -> Plan:
    """Cut the same share of every free group, as near as its allowed widths come.

    Args:
        space: the groups and their allowed widths.
        scores: importance by group.
        sparsity: share of channels to cut, in [0, 1]; 1 gives the smallest student there is.
    """
    widths = {dimension.group: snap(dimension.width * (1 - sparsity), dimension.widths) for dimension in space.free}
    return plan_for(space, widths, scores)


def needed_sparsity(
    space: Space,
    scores: Scores,
    constraints: Sequence[Constraint],
    cheap_metrics: Callable[[Plan], Metrics],
    *,
    limits: Sequence[Constraint] | None = None,
    probes: int = 6,
) -> float:
    """Find the smallest uniform sparsity that meets every row whose metrics need no training.

    Latency is a staircase that may fall and rise again, so this is a starting point for a search, not a bound.

    Args:
        space: the groups and their allowed widths.
        scores: importance by group.
        constraints: rows of A x <= b; rows that read the accuracy are left out.
        cheap_metrics: measures a plan without training it.
        limits: the rows as they were asked for, where `constraints` are stricter: only these can be out of reach.
        probes: number of halvings of the interval.

    Returns:
        Share of channels to cut, in [0, 1]; 1 where the smallest student meets the limits but not the stricter rows.

    Raises:
        ConstraintError: even the smallest student breaks a row.
    """
    rows = [row for row in constraints if "accuracy" not in row.metrics]
    if meets(cheap_metrics(Plan()), rows):
        return 0.0
    asked = constraints if limits is None else limits
    _check_smallest(
        cheap_metrics(uniform_plan(space, scores, 1.0)), [row for row in asked if "accuracy" not in row.metrics]
    )
    low, high = 0.0, 1.0
    for _ in range(probes):
        middle = (low + high) / 2
        if meets(cheap_metrics(uniform_plan(space, scores, middle)), rows):
            high = middle
        else:
            low = middle
    return high


def _check_smallest(metrics: Metrics, rows: Sequence[Constraint]) -> None:
    for row in rows:
        if not meets(metrics, [row]):
            raise ConstraintError(
                f"Constraint {row.expression!r} cannot be met: the smallest student there is has "
                f"{row.shown_value(metrics):.4g}, the limit is {row.shown_bound:.4g}. "
                "Loosen the limit, or start from a smaller model."
            )
