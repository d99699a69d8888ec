"""What an engine is: explicit state, a question, an answer; nothing happens inside it but arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TypeVar

from deploycompress.evaluation import Evaluation
from deploycompress.plan import Plan
from deploycompress.search.reward import RewardSettings

Scores = Mapping[str, tuple[float, ...]]


class Kind(StrEnum):
    """What is asked of the environment."""

    SAMPLE = "sample"
    ADVANCE = "advance"


class StopReason(StrEnum):
    """Why a search ended; `sentence` is for people."""

    FINISHED = "finished"
    EXHAUSTED = "exhausted"
    STOPPED = "stopped"
    EVALUATIONS = "evaluations"

    @property
    def sentence(self) -> str:
        """Say it in a sentence."""
        return _SENTENCES[self]


_SENTENCES: Mapping[StopReason, str] = {
    StopReason.FINISHED: "The search took its pruning steps and its last student meets the constraints.",
    StopReason.EXHAUSTED: "The search ended because no channel group can shrink any further.",
    StopReason.STOPPED: "The search was stopped before its end, by its time budget or by request.",
    StopReason.EVALUATIONS: "The search used up the evaluations it was allowed.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A plan to evaluate.

    Attributes:
        kind: whether it is only looked at, or becomes the current student.
        plan: over the teacher's channels.
        progress: share of the planned steps that is over, in [0, 1]; constraints are annealed by it.
        step: pruning step, from 0.
    """

    kind: Kind
    plan: Plan
    progress: float
    step: int


class SearchState(Protocol):
    """What the loop needs to know of an engine's state; the state itself never changes."""

    @property
    def stop(self) -> StopReason | None:
        """Why there is nothing to ask any more, none while there is."""
        ...

    @property
    def reward_settings(self) -> RewardSettings:
        """The reward that students are compared by."""
        ...

    def to_json(self) -> str:
        """Write the state, its random generator included."""
        ...


State = TypeVar("State", bound=SearchState)


class Engine(Protocol[State]):
    """A way of searching."""

    def ask(self, state: State) -> Proposal:
        """Propose the next plan; the same state proposes the same."""
        ...

    def tell(self, state: State, proposal: Proposal, evaluation: Evaluation, scores: Scores | None = None) -> State:
        """Learn from an evaluation; after an advance the new student's scores are due."""
        ...
