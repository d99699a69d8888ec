"""Regularised evolution (Real et al., "Regularized Evolution for Image Classifier Architecture Search", 2019).

A population in which the oldest dies; the best of a few drawn from it has a child, changed a little and brought back
to the limit. The first ones are drawn as the engine `random` draws them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np

from deploycompress.errors import UsageError
from deploycompress.evaluation import Evaluation
from deploycompress.search import record
from deploycompress.search.baselines.standing import Standing
from deploycompress.search.engine import Proposal, StopReason
from deploycompress.search.journal import Journal, check_answered, noted
from deploycompress.search.moves import applied, moves, undone
from deploycompress.search.near_limit import brought, drawn, drawn_anew
from deploycompress.search.reward import RewardSettings
from deploycompress.search.space import Candidate, Space

NAME = "evolution"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How it evolves.

    Attributes:
        population_share: of the evaluations, how many live at a time.
        least_population: and at least so many.
        tournament: how many are drawn, of which the best has a child.
        most_changes: a child differs by up to so many steps before it is brought to the limit.
    """

    population_share: float = 0.2
    least_population: int = 5
    tournament: int = 4
    most_changes: int = 2

    def __post_init__(self) -> None:
        for name in ("least_population", "tournament", "most_changes"):
            if getattr(self, name) < 1:
                raise UsageError(f"Evolution setting {name!r} is {getattr(self, name)}; it must be at least 1.")
        if not 0 < self.population_share <= 1:
            raise UsageError(f"Evolution setting 'population_share' is {self.population_share}; it must be in (0, 1].")


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One of the population."""

    candidate: Candidate
    fitness: float


@dataclass(frozen=True, slots=True, kw_only=True)
class State(Standing):
    """Where a search stands.

    Attributes:
        settings: of the engine.
        population: the living, oldest first.
        pending: the candidate asked about.
    """

    engine: ClassVar[str] = NAME

    settings: Settings
    pending: Candidate
    population: tuple[Member, ...] = ()

    @property
    def size(self) -> int:
        """How many live at a time."""
        return max(self.settings.least_population, int(self.settings.population_share * self.journal.evaluations))


def init(space: Space, reward_settings: RewardSettings, *, settings: Settings, evaluations: int, seed: int) -> State:
    """Start with nobody (see `search.engine.Engine`).

    Raises:
        UsageError: fewer than one evaluation.
    """
    journal = Journal(space=space, reward_settings=reward_settings, evaluations=evaluations, seed=seed)
    return _with_next(State(settings=settings, journal=journal, pending=Candidate()))


def ask(state: State) -> Proposal:
    """Propose the latest child.

    Raises:
        ValueError: the search is over.
    """
    state.require_open()
    return state.journal.asking(state.pending, step=len(state.journal.seen) // state.size)


def tell(state: State, proposal: Proposal, evaluation: Evaluation, reward: float) -> State:
    """Take the child into the population, let the oldest go, and make the next child.

    Raises:
        ValueError: the proposal is not what was asked.
    """
    check_answered(ask(state), proposal)
    journal = noted(state.journal, proposal.candidate, evaluation)
    living = (*state.population, Member(candidate=proposal.candidate, fitness=reward))[-state.size :]
    state = replace(state, journal=journal, population=living)
    return replace(state, stop=StopReason.FINISHED) if journal.is_over else _with_next(state)


def restore(text: str) -> State:
    """Read a state that `to_json` wrote.

    Raises:
        UsageError: the text is no such state, or of another version.
    """
    return record.from_json(State, text, NAME)


def _with_next(state: State) -> State:
    is_full = len(state.population) >= state.size
    pending = drawn_anew(state.journal, partial(_child, state) if is_full else partial(drawn, state.journal))
    return replace(state, pending=pending, journal=replace(state.journal, draws=state.journal.draws + 1))


def _child(state: State, rng: np.random.Generator) -> Candidate:
    size = min(state.settings.tournament, len(state.population))
    drawn_ones = rng.choice(len(state.population), size=size, replace=False)
    parent = max((state.population[index] for index in drawn_ones), key=lambda member: member.fitness)
    candidate = parent.candidate
    for _ in range(rng.integers(1, state.settings.most_changes + 1)):
        candidate = _changed(state.journal.space, candidate, rng)
    return brought(state.journal, candidate, rng)


def _changed(space: Space, candidate: Candidate, rng: np.random.Generator) -> Candidate:
    """Take a random step, back or forth with equal chances where there are both."""
    back = undone(space, candidate)
    forth = moves(space, candidate)
    if back and (not forth or rng.random() < 0.5):
        return back[rng.integers(len(back))]
    return applied(space, candidate, forth[rng.integers(len(forth))]) if forth else candidate
