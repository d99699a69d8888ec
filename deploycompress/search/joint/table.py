"""The table of savings as measured students correct it: every choice by a factor of its own.

What choices save alone does not add up, and not by the same factor for all of them: a trunk's width saves less where
blocks are gone, a block always saves itself. One factor for all would follow whatever the last student was made of.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from deploycompress.search.costs import FACTOR_BOUNDS
from deploycompress.search.joint.choices import Vector
from deploycompress.search.space import Candidate, Metrics, Space

NOISE = 0.02  # of a student's measured saving, as a share of the teacher's metric
SPREAD = 0.5  # of the choices' factors around their common one


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One student's metrics, those of the table."""

    candidate: Candidate
    metrics: Metrics


def measured(space: Space, candidate: Candidate, metrics: Metrics) -> Measured:
    """Keep of a student's metrics those of the table that are numbers."""
    known = {name: metrics[name] for name in space.teacher if math.isfinite(metrics.get(name, math.nan))}
    return Measured(candidate=candidate, metrics=known)


def learnt(space: Space, students: Sequence[Measured]) -> Space:
    """Give the space with the savings that the students' measurements speak for.

    Args:
        space: with the table as it was measured choice by choice.
        students: measured since.
    """
    factors = {name: _factors(space, students, name) for name, whole in space.teacher.items() if whole > 0}
    parts = iter(range(len(space.removals) + len(space.free) + len(space.kernels)))

    def scaled(savings: Metrics, choice: int) -> dict[str, float]:
        return {
            name: saved * float(factors[name][choice]) if name in factors else saved for name, saved in savings.items()
        }

    removals = tuple(replace(one, savings=scaled(one.savings, next(parts))) for one in space.removals)
    narrowed = {one.group: next(parts) for one in space.free}
    dimensions = tuple(
        replace(one, savings=tuple(scaled(saved, narrowed[one.group]) for saved in one.savings)) if one.is_free else one
        for one in space.dimensions
    )
    shrunk = {one.layer: next(parts) for one in space.kernels}
    kernels = tuple(
        replace(one, savings=tuple(scaled(saved, shrunk[one.layer]) for saved in one.savings)) for one in space.kernels
    )
    return replace(space, removals=removals, dimensions=dimensions, kernels=kernels)


def _factors(space: Space, students: Sequence[Measured], name: str) -> Vector:
    """Fit the choices' factors: one for all by least squares, and their deviations from it by ridge regression."""
    known = [one for one in students if name in one.metrics]
    count = len(space.removals) + len(space.free) + len(space.kernels)
    whole = space.teacher[name]
    table = np.array([_savings(space, one.candidate, name) for one in known]).reshape(len(known), count) / whole
    saved = np.array([1 - one.metrics[name] / whole for one in known])
    together, weight = table.sum(axis=1), (NOISE / SPREAD) ** 2
    common = float((together @ saved + weight) / (together @ together + weight))
    ridge = table.T @ table + weight * np.eye(count)
    deviation = np.linalg.solve(ridge, table.T @ (saved - common * together))
    return np.asarray(np.clip(common + deviation, *FACTOR_BOUNDS))


def _savings(space: Space, candidate: Candidate, name: str) -> list[float]:
    """Give what the table says that each choice of a candidate saves alone, in the order of the numbers of choices."""
    gone = [one.savings.get(name, 0.0) if one.block in candidate.remove else 0.0 for one in space.removals]
    for sizes, savings, size in (
        *((one.widths, one.savings, candidate.widths.get(one.group)) for one in space.free),
        *((one.sizes, one.savings, candidate.kernels.get(one.layer)) for one in space.kernels),
    ):
        gone.append(savings[sizes.index(size)].get(name, 0.0) if size is not None and savings else 0.0)
    return gone
