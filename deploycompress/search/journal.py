"""What an engine keeps between questions: the task, what it has learnt of the costs, and what it has proposed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from deploycompress.constraint import Constraint
from deploycompress.errors import UsageError
from deploycompress.evaluation import Evaluation
from deploycompress.search.costs import corrected, fits
from deploycompress.search.engine import Proposal
from deploycompress.search.reward import RewardSettings, meets
from deploycompress.search.space import Candidate, Space

MOST_BROKEN = 0.25
"""Share of candidates that may be measured to break a limit they were foreseen to meet."""

MARGIN_STEP = 0.01
MOST_MARGIN = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """The memory of an engine.

    Attributes:
        space: what may go.
        reward_settings: formula and constraints.
        evaluations: how many there may be.
        seed: of the generators.
        draws: generators used so far; each proposal takes one.
        seen: digests of the candidates that were answered.
        correction: of the table of savings.
        margin: share of a bound by which forecasts stay below it.
    """

    space: Space
    reward_settings: RewardSettings
    evaluations: int
    seed: int
    draws: int = 0
    seen: tuple[str, ...] = ()
    correction: Mapping[str, float] = field(default_factory=dict)
    margin: float = 0.0

    def __post_init__(self) -> None:
        if self.evaluations < 1:
            raise UsageError(f"A search needs at least 1 evaluation; got {self.evaluations}.")

    @property
    def limits(self) -> tuple[Constraint, ...]:
        """Rows that need no accuracy, as they were asked for."""
        return tuple(row for row in self.reward_settings.constraints if "accuracy" not in row.metrics)

    @property
    def rows(self) -> tuple[Constraint, ...]:
        """Rows to plan by: the limits, stricter by the margin."""
        return tuple(row.tightened(self.margin) for row in self.limits)

    @property
    def is_over(self) -> bool:
        """Whether the evaluations are used up."""
        return len(self.seen) >= self.evaluations

    def has_seen(self, candidate: Candidate) -> bool:
        """Say whether a candidate was answered before."""
        return digest(candidate) in self.seen

    def rng(self) -> np.random.Generator:
        """Make the generator of the next proposal."""
        return np.random.default_rng((self.seed, self.draws))

    def asking(self, candidate: Candidate, *, step: int, needs_accuracy: bool = False) -> Proposal:
        """Make a proposal of a candidate."""
        progress = min(len(self.seen) / self.evaluations, 1.0)
        return Proposal(candidate=candidate, progress=progress, step=step, needs_accuracy=needs_accuracy)


def digest(candidate: Candidate) -> str:
    """Name a candidate in few letters."""
    return hashlib.blake2b(candidate.to_json().encode(), digest_size=8).hexdigest()


def noted(journal: Journal, candidate: Candidate, evaluation: Evaluation) -> Journal:
    """Remember that a candidate was answered, and learn from what it costs."""
    if not journal.has_seen(candidate):
        journal = replace(journal, seen=(*journal.seen, digest(candidate)))
    if evaluation.is_degenerate:
        return journal
    correction = corrected(journal.correction, journal.space, candidate, evaluation.metrics)
    return replace(journal, correction=correction, margin=_margin(journal, candidate, evaluation))


def is_met(journal: Journal, evaluation: Evaluation) -> bool:
    """Say whether a student was measured to meet the limits that need no accuracy."""
    return not evaluation.is_degenerate and meets(evaluation.metrics, journal.limits)


def check_answered(asked: Proposal, answered: Proposal) -> None:
    """Refuse an answer to something else.

    Raises:
        ValueError: it is one.
    """
    if answered != asked:
        raise ValueError(f"The answer is about {answered}, but {asked} was asked.")


def _margin(journal: Journal, candidate: Candidate, evaluation: Evaluation) -> float:
    """Follow the quantile of the forecast's errors: up after a broken limit, down by less after a met one.

    Only candidates that were foreseen to meet the limits say how far that can be trusted.
    """
    if not fits(journal.space, candidate, journal.rows, journal.correction):
        return journal.margin
    foreseen = [row for row in journal.limits if row.metrics <= journal.space.teacher.keys()]
    up = MARGIN_STEP * (1 - MOST_BROKEN)
    step = -MARGIN_STEP * MOST_BROKEN if meets(evaluation.metrics, foreseen) else up
    return min(max(journal.margin + step, 0.0), MOST_MARGIN)
