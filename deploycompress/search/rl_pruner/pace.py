"""How much a pruning step removes: so much that the limits' share of the step is foreseen to be met.

The paper removes the same share of channels in every step. Limits are on latency or memory, of which channels of
different layers cost different amounts, so two actions that remove equally many channels are not equally far on the
way. Where the space's table foresees the limits, every action removes what it needs to come as far as the others:
samples are compared at equal cost, and those of the last step are students at the limit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from deploycompress.constraint import Constraint
from deploycompress.search.costs import fits
from deploycompress.search.rl_pruner.axes import Axis, candidate_at
from deploycompress.search.rounding import snap_all
from deploycompress.search.space import Space

PRECISION = 0.5  # channels


def foreseen_rows(space: Space, constraints: Sequence[Constraint]) -> tuple[Constraint, ...]:
    """Keep the rows that the table says something about."""
    has_table = any(removal.savings for removal in space.removals) or any(one.savings for one in space.dimensions)
    return tuple(row for row in constraints if has_table and row.metrics <= space.teacher.keys())


def relaxed(row: Constraint, space: Space, share: float) -> Constraint:
    """Move a limit to where it is met after a share of the way from the teacher.

    Args:
        row: the limit; its metrics are the teacher's.
        space: holds the teacher's metrics.
        share: 1 gives the limit itself.
    """
    gap = max(row.value(space.teacher) - row.bound, 0.0)
    return replace(row, bound=row.bound + (1 - min(share, 1.0)) * gap)


def smallest_amount(is_enough: Callable[[float], bool], *, least: float, most: float) -> float | None:
    """Find the smallest amount that is enough, none where even the most is not.

    Args:
        is_enough: taken to stay true once it is; an amount that was found was seen to be enough.
        least: channels to remove at least.
        most: channels there are to remove.
    """
    if least >= most or not is_enough(most):
        return None
    low, high = least, most
    if is_enough(low):
        return low
    while high - low > PRECISION:
        middle = (low + high) / 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high


def needed_sparsity(space: Space, axes: Sequence[Axis], constraints: Sequence[Constraint]) -> float | None:
    """Foresee which share of all channels must go when every axis gives the same share.

    Args:
        space: holds the table.
        axes: what may go.
        constraints: rows that the table says nothing about are left out.

    Returns:
        A share in [0, 1], 0 when the teacher meets the rows; none when the table cannot tell.
    """
    rows = foreseen_rows(space, constraints)
    if not rows:
        return None
    whole = [axis.width for axis in axes]

    def is_enough(amount: float) -> bool:
        kept = [width * (1 - amount / sum(whole)) for width in whole]
        rounded = snap_all(kept, [axis.widths for axis in axes], ceilings=whole)
        return fits(space, candidate_at(space, axes, rounded), rows)

    amount = smallest_amount(is_enough, least=0.0, most=sum(whole))
    return None if amount is None else amount / sum(whole)
