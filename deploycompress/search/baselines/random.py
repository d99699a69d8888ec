"""Random search: independent candidates at the limit; nothing is learnt but how far off the table of savings is."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

from deploycompress.evaluation import Evaluation
from deploycompress.search import record
from deploycompress.search.baselines.standing import Standing
from deploycompress.search.engine import Proposal, StopReason
from deploycompress.search.journal import Journal, check_answered, noted
from deploycompress.search.near_limit import drawn, drawn_anew
from deploycompress.search.reward import RewardSettings
from deploycompress.search.space import Candidate, Space

NAME = "random"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """There is nothing to set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State(Standing):
    """Where a search stands.

    Attributes:
        pending: the candidate asked about.
    """

    engine: ClassVar[str] = NAME

    pending: Candidate


def init(
    space: Space, reward_settings: RewardSettings, *, settings: Settings, evaluations: int, seed: int
) -> State:  # `settings` is part of every engine's interface
    """Start at the teacher (see `search.engine.Engine`).

    Raises:
        UsageError: fewer than one evaluation.
    """
    del settings
    return _drawn(Journal(space=space, reward_settings=reward_settings, evaluations=evaluations, seed=seed))


def ask(state: State) -> Proposal:
    """Propose the candidate that was drawn.

    Raises:
        ValueError: the search is over.
    """
    state.require_open()
    return state.journal.asking(state.pending, step=len(state.journal.seen))


def tell(state: State, proposal: Proposal, evaluation: Evaluation, reward: float) -> State:  # noqa: ARG001 - random
    """Learn the costs, and draw the next.

    Raises:
        ValueError: the proposal is not what was asked.
    """
    check_answered(ask(state), proposal)
    journal = noted(state.journal, proposal.candidate, evaluation)
    if journal.is_over:
        return replace(state, journal=journal, stop=StopReason.FINISHED)
    return _drawn(journal)


def restore(text: str) -> State:
    """Read a state that `to_json` wrote.

    Raises:
        UsageError: the text is no such state, or of another version.
    """
    return record.from_json(State, text, NAME)


def _drawn(journal: Journal) -> State:
    pending = drawn_anew(journal, partial(drawn, journal))
    return State(journal=replace(journal, draws=journal.draws + 1), pending=pending)
