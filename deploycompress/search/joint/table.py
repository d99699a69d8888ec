"""The table of savings as measured students correct it: all choices by one factor, each by an amount of its own.

What choices save alone does not add up, and not by the same factor for all of them: a trunk's width saves less where
blocks are gone, a block always saves itself. Nor is what the table says of a choice always near the truth: it is the
difference of two short measurements, and while another program uses the machine a block may seem to cost time.
So the table is where a Bayesian regression begins (Bishop 2006, section 3.3), and how far it is to be believed is what
the students' measurements make likeliest (section 3.5).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
from numpy.typing import NDArray

from deploycompress.search.costs import FACTOR_BOUNDS
from deploycompress.search.joint.choices import Vector
from deploycompress.search.space import Candidate, Metrics, Space

# Standard deviations. All but the factor's are shares of the teacher's metric.
FACTOR = 1.0  # of the factor that all choices have in common, around 1
SPREAD = 0.5  # of what a choice saves beside others, as a share of what it saves alone
ERRORS = (0.003, 0.01, 0.03, 0.1)  # of what a choice is said to save alone
NOISES = (0.01, 0.03, 0.1)  # of a student's measured saving


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One student's metrics, those of the table."""

    candidate: Candidate
    metrics: Metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class _Correction:
    """What is wrong with the savings of a metric.

    Attributes:
        factor: of all savings.
        amounts: what each choice saves on top when all of it goes, in the order of the numbers of choices.
    """

    factor: float
    amounts: Vector


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
    found = {name: _correction(space, students, name) for name, whole in space.teacher.items() if whole > 0}
    parts = iter(range(len(space.removals) + len(space.free) + len(space.kernels)))

    def corrected(savings: Metrics, choice: int, share: float) -> dict[str, float]:
        return {
            name: saved * found[name].factor + share * float(found[name].amounts[choice]) if name in found else saved
            for name, saved in savings.items()
        }

    def graded(savings: Sequence[Metrics], sizes: Sequence[int], choice: int) -> tuple[Metrics, ...]:
        return tuple(corrected(saved, choice, _share(sizes, size)) for saved, size in zip(savings, sizes, strict=True))

    removals = tuple(replace(one, savings=corrected(one.savings, next(parts), 1.0)) for one in space.removals)
    narrowed = {one.group: next(parts) for one in space.free}
    dimensions = tuple(
        replace(one, savings=graded(one.savings, one.widths, narrowed[one.group]))
        if one.is_free and one.savings
        else one
        for one in space.dimensions
    )
    shrunk = {one.layer: next(parts) for one in space.kernels}
    kernels = tuple(
        replace(one, savings=graded(one.savings, one.sizes, shrunk[one.layer])) if one.savings else one
        for one in space.kernels
    )
    return replace(space, removals=removals, dimensions=dimensions, kernels=kernels)


def _correction(space: Space, students: Sequence[Measured], name: str) -> _Correction:
    known, whole = [one for one in students if name in one.metrics], space.teacher[name]
    pairs = [list(_parts(space, one.candidate, name)) for one in known]
    count = len(space.removals) + len(space.free) + len(space.kernels)
    alone, shares = np.moveaxis(np.array(pairs).reshape(len(known), count, 2), 2, 0)
    said = alone.sum(axis=1) / whole
    missed = np.array([1 - one.metrics[name] / whole for one in known]) - said
    spread = SPREAD * np.array(list(_whole_savings(space, name))) / whole
    features = np.column_stack([said, shares])
    few = (
        _posterior(features, missed, np.append(FACTOR, np.hypot(spread, error)), noise)
        for error, noise in product(ERRORS, NOISES)
    )
    _, weights = max(few, key=lambda one: one[0])
    return _Correction(factor=float(np.clip(1 + weights[0], *FACTOR_BOUNDS)), amounts=weights[1:] * whole)


def _posterior(
    features: NDArray[np.float64], targets: Vector, deviations: Vector, noise: float
) -> tuple[float, Vector]:
    """Fit weights that are normal around 0.

    Args:
        features: shape [N, W].
        targets: shape [N].
        deviations: of the weights before anything is known, shape [W].
        noise: standard deviation of a target.

    Returns:
        The logarithm of the evidence but for a constant, and the weights' mean, shape [W].
    """
    scaled = features * deviations / noise
    precision = np.eye(len(deviations)) + scaled.T @ scaled
    weights = np.linalg.solve(precision, scaled.T @ targets) / noise
    left = targets @ targets / noise**2 - targets @ scaled @ weights / noise
    evidence = -(len(targets) * math.log(noise) + (np.linalg.slogdet(precision)[1] + left) / 2)
    return float(evidence), weights * deviations


def _parts(space: Space, candidate: Candidate, name: str) -> Iterator[tuple[float, float]]:
    """Give what the table says that each choice of a candidate saves alone, and the share of it that goes."""
    for one in space.removals:
        yield (one.savings.get(name, 0.0), 1.0) if one.block in candidate.remove else (0.0, 0.0)
    for sizes, savings, size in (
        *((one.widths, one.savings, candidate.widths.get(one.group)) for one in space.free),
        *((one.sizes, one.savings, candidate.kernels.get(one.layer)) for one in space.kernels),
    ):
        if size is None or not savings:
            yield 0.0, 0.0
        else:
            yield savings[sizes.index(size)].get(name, 0.0), _share(sizes, size)


def _whole_savings(space: Space, name: str) -> Iterator[float]:
    """Give what the table says of each choice when all of it goes."""
    yield from (one.savings.get(name, 0.0) for one in space.removals)
    for savings in (*(one.savings for one in space.free), *(one.savings for one in space.kernels)):
        yield savings[0].get(name, 0.0) if savings else 0.0


def _share(sizes: Sequence[int], size: int) -> float:
    return (max(sizes) - size) / max(max(sizes) - min(sizes), 1)
