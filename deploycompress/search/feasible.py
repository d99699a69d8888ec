"""Can the limits be met at all? Answered by measuring a few of the smallest students, before any training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from deploycompress.constraint import Constraint
from deploycompress.errors import ConstraintError
from deploycompress.evaluation import Evaluation
from deploycompress.search.reward import meets
from deploycompress.search.space import Candidate, Metrics, Space

MOST_LEFT_OUT = 4
"""Blocks that are tried to stay where not all can go together."""

Measure = Callable[[Candidate], Evaluation]


def check_limits(space: Space, limits: Sequence[Constraint], measure: Measure) -> bool:
    """Make sure that some student meets the limits.

    Args:
        space: what may go.
        limits: rows of A x <= b; rows that read the accuracy are left out.
        measure: evaluates a candidate without training; one that cannot be is a failure, not an error.

    Returns:
        Whether anything must go at all: false when the teacher meets every row.

    Raises:
        ConstraintError: none of the smallest students meets every row; names the row and how close they came.
    """
    rows = [row for row in limits if "accuracy" not in row.metrics]
    seen: list[Metrics] = []
    for candidate in (Candidate(), *small_candidates(space)):
        evaluation = measure(candidate)
        if evaluation.is_degenerate:
            continue
        if meets(evaluation.metrics, rows):
            return not candidate.is_empty
        seen.append(evaluation.metrics)
    raise ConstraintError(_explanation(rows, seen))


def small_candidates(space: Space) -> tuple[Candidate, ...]:
    """List small candidates, none twice and none empty: small layers first, then blocks, then both.

    Blocks that cannot all go together are tried with some of them left in place: one, or every other.
    """
    widths = {dimension.group: dimension.widths[0] for dimension in space.free}
    kernels = {kernel.layer: kernel.sizes[0] for kernel in space.kernels}
    candidates = [space.candidate(widths=widths), space.candidate(kernels=kernels)]
    candidates += [space.candidate(widths=widths, kernels=kernels)]
    for blocks in _block_choices([removal.block for removal in space.removals]):
        candidates += [
            space.candidate(remove=blocks),
            space.candidate(remove=blocks, widths=widths, kernels=kernels),
        ]
    return tuple(dict.fromkeys(candidate for candidate in candidates if not candidate.is_empty))


def _block_choices(blocks: Sequence[str]) -> Iterator[Sequence[str]]:
    yield blocks
    spacing = max(1, -(-len(blocks) // MOST_LEFT_OUT))
    for left in blocks[::spacing]:
        yield [block for block in blocks if block != left]
    yield blocks[::2]
    yield blocks[1::2]


def _explanation(rows: Sequence[Constraint], seen: Sequence[Metrics]) -> str:
    advice = "Loosen the limit, or start from a smaller model."
    for row in rows:
        known = [metrics for metrics in seen if row.metrics <= metrics.keys()]
        if not known:
            return f"Constraint {row.expression!r} cannot be checked: no student could be measured for it. {advice}"
        best = min(known, key=row.value)
        if not meets(best, [row]):
            return (
                f"Constraint {row.expression!r} cannot be met: the best of {len(known)} students, the smallest among "
                f"them, has {row.shown_value(best):.4g}, the limit is {row.shown_bound:.4g}. {advice}"
            )
    best = min(seen, key=lambda metrics: max(row.excess(metrics) for row in rows))
    row = max(rows, key=lambda row: row.excess(best))
    return (
        f"Constraint {row.expression!r} cannot be met together with the others: the student that comes closest has "
        f"{row.shown_value(best):.4g}, the limit is {row.shown_bound:.4g}. {advice}"
    )
