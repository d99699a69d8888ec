"""Where a search with N2N stands: nothing but plain data, and all of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from deploycompress.search import record
from deploycompress.search.engine import StopReason
from deploycompress.search.n2n.settings import Settings
from deploycompress.search.reward import RewardSettings
from deploycompress.search.space import Candidate, Space

ENGINE = "n2n"


class Stage(StrEnum):
    """The two stages."""

    REMOVAL = "removal"
    SHRINKAGE = "shrinkage"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """One sampled student.

    Attributes:
        actions: index of the action of every decision, shape [D].
        behaviour: their log-probabilities when they were taken, shape [D].
        candidate: what they led to.
        reward: what it was worth; none before it was evaluated.
    """

    actions: tuple[int, ...]
    behaviour: tuple[float, ...]
    candidate: Candidate
    reward: float | None = None

    @property
    def name(self) -> str:
        """Tell candidates apart."""
        return hashlib.sha256(self.candidate.to_json().encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Everything.

    Attributes:
        space: what may go.
        reward_settings: that students are compared by.
        settings: of the engine; its policies have become `removal` and `shrinkage`.
        evaluations: how many there will be at most.
        seed: of all generators.
        draws: generators used so far; the next one is made of the seed and this.
        stage: which policy is learning.
        told: students that were new.
        stage_told: those of this stage.
        stage_budget: most that this stage may have.
        updates: of this stage.
        all_updates: of both stages.
        idle: updates in a row that brought no new student.
        barren: stages in a row that brought none.
        pending: rollouts of the coming update; the first without a reward is asked for.
        learnt: rollouts of the latest updates of this stage.
        baseline: moving average of the rewards of this stage; none before its first update.
        removal: the removal policy's tensors, as text.
        shrinkage: the shrinkage policy's tensors, as text; empty until it is needed, unless it was given.
        moments: Adam's memory for the policy that is learning, as text; empty before the first update.
        adam_steps: its number of steps.
        best: of the first stage; its blocks are the second's base.
        best_reward: its.
        correction: of the table of savings, by metric.
        reserve: share of the foreseen savings not counted on, so that few rollouts break the limit.
        seen: names of all candidates that were evaluated.
        entropy: mean of the learning policy's decisions, nats.
        stop: why there is nothing to ask any more.
    """

    space: Space
    reward_settings: RewardSettings
    settings: Settings
    evaluations: int
    seed: int
    draws: int = 0
    stage: Stage = Stage.REMOVAL
    told: int = 0
    stage_told: int = 0
    stage_budget: int = 1
    updates: int = 0
    all_updates: int = 0
    idle: int = 0
    barren: int = 0
    pending: tuple[Rollout, ...] = ()
    learnt: tuple[Rollout, ...] = ()
    baseline: float | None = None
    removal: str = ""
    shrinkage: str = ""
    moments: str = ""
    adam_steps: int = 0
    best: Candidate = field(default_factory=Candidate)
    best_reward: float | None = None
    correction: Mapping[str, float] = field(default_factory=dict)
    reserve: float = 0.0
    seen: tuple[str, ...] = ()
    entropy: float | None = None
    stop: StopReason | None = None

    @property
    def answered(self) -> int:
        """Rollouts of the coming update whose rewards are known."""
        return sum(rollout.reward is not None for rollout in self.pending)

    def to_json(self) -> str:
        """Write the state."""
        return record.to_json(self, ENGINE)


def restore(text: str) -> State:
    """Read a state that `to_json` wrote.

    Raises:
        UsageError: the text is no such state, or of another version.
    """
    return record.from_json(State, text, ENGINE)
