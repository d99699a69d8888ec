"""What a candidate will cost, foreseen from a table of single savings and corrected by what was measured since.

The table is additive: every choice saves what it saved alone. Choices interact, so the sum is off by a factor, which
is learnt from every measurement. A forecast proposes; whether a limit is met is only ever said by a measurement.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

from deploycompress.constraint import Constraint
from deploycompress.search.reward import meets, total_excess
from deploycompress.search.space import Candidate, Metrics, Space

Correction = Mapping[str, float]
"""By metric: saved as measured over saved as foreseen; 1 where nothing was learnt."""

NO_CORRECTION: Correction = MappingProxyType({})
LEARNING_RATE = 0.3
LEAST_SAVING = 0.02  # of the teacher's metric; below it a quotient says nothing
FACTOR_BOUNDS = (0.25, 4.0)


def forecast(space: Space, candidate: Candidate, correction: Correction = NO_CORRECTION) -> dict[str, float]:
    """Foresee a candidate's metrics, those of `space.teacher`."""
    return _foreseen(space, candidate, correction, space.teacher.keys())


def fits(
    space: Space, candidate: Candidate, rows: Sequence[Constraint], correction: Correction = NO_CORRECTION
) -> bool:
    """Foresee whether a candidate meets every row whose metrics are in the table; the others say nothing."""
    known = [row for row in rows if row.metrics <= space.teacher.keys()]
    return meets(_foreseen(space, candidate, correction, read_by(known)), known)


def excess(
    space: Space, candidate: Candidate, rows: Sequence[Constraint], correction: Correction = NO_CORRECTION
) -> float:
    """Foresee by how much a candidate breaks the rows that the table foresees, relative to their bounds."""
    known = tuple(row for row in rows if row.metrics <= space.teacher.keys())
    return total_excess(_foreseen(space, candidate, correction, read_by(known)), known)


def read_by(rows: Sequence[Constraint]) -> frozenset[str]:
    """Name the metrics that rows read."""
    return frozenset(name for row in rows for name in row.metrics)


def corrected(correction: Correction, space: Space, candidate: Candidate, measured: Metrics) -> Correction:
    """Learn from a measurement by how much the table is off.

    Args:
        correction: as learnt so far.
        space: holds the table.
        candidate: what was measured.
        measured: its metrics; those the table does not have, and what is not a number, are left out.
    """
    saved = _saved(space, candidate, space.teacher.keys())
    learnt = dict(correction)
    for name, whole in space.teacher.items():
        if not math.isfinite(measured.get(name, math.nan)) or not saved[name] > LEAST_SAVING * whole:
            continue
        low, high = FACTOR_BOUNDS
        factor = min(max((whole - measured[name]) / saved[name], low), high)
        learnt[name] = factor if name not in correction else learnt[name] + LEARNING_RATE * (factor - learnt[name])
    return learnt


def _foreseen(space: Space, candidate: Candidate, correction: Correction, names: Collection[str]) -> dict[str, float]:
    saved = _saved(space, candidate, names)
    return {name: space.teacher[name] - correction.get(name, 1.0) * saved[name] for name in names}


def _saved(space: Space, candidate: Candidate, names: Collection[str]) -> dict[str, float]:
    parts = [
        *(removal.savings for removal in space.removals if removal.block in candidate.remove),
        *(
            dimension.savings[dimension.widths.index(candidate.widths[dimension.group])]
            for dimension in space.free
            if dimension.group in candidate.widths and dimension.savings
        ),
        *(
            kernel.savings[kernel.sizes.index(candidate.kernels[kernel.layer])]
            for kernel in space.kernels
            if kernel.layer in candidate.kernels and kernel.savings
        ),
    ]
    return {name: sum(part.get(name, 0.0) for part in parts) for name in names}
