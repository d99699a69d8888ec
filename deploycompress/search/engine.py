"""What an engine is: explicit state, a question, an answer; nothing happens inside it but arithmetic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol, TypeVar

from deploycompress.evaluation import Evaluation
from deploycompress.search.reward import RewardSettings
from deploycompress.search.space import Candidate, Space


class Kind(StrEnum):
    """What is asked of the environment."""

    SAMPLE = "sample"
    ADVANCE = "advance"


class StopReason(StrEnum):
    """Why a search ended; `sentence` is for people."""

    FINISHED = "finished"
    EXHAUSTED = "exhausted"
    REPEATING = "repeating"
    STOPPED = "stopped"
    EVALUATIONS = "evaluations"

    @property
    def sentence(self) -> str:
        """Say it in a sentence."""
        return _SENTENCES[self]


_SENTENCES: Mapping[StopReason, str] = {
    StopReason.FINISHED: "The search took all its steps.",
    StopReason.EXHAUSTED: "The search ended because nothing can shrink any further.",
    StopReason.REPEATING: "The search ended because it proposed nothing new any more.",
    StopReason.STOPPED: "The search was stopped before its end, by its time budget or by request.",
    StopReason.EVALUATIONS: "The search used up the evaluations it was allowed.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A candidate to evaluate.

    Attributes:
        candidate: over the teacher's blocks and channels.
        kind: whether it is only looked at, or becomes the current student.
        progress: share of the planned search that is over, in [0, 1]; constraints are annealed by it.
        step: which step of the engine it belongs to, from 0: a pruning step, a policy update, a generation.
        needs_accuracy: take the accuracy even if the candidate breaks a constraint.
    """

    candidate: Candidate
    kind: Kind = Kind.SAMPLE
    progress: float = 1.0
    step: int = 0
    needs_accuracy: bool = False


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

    @property
    def entropy(self) -> float | None:
        """Mean entropy of the policy's decisions in nats, none for an engine without a policy."""
        ...

    def to_json(self) -> str:
        """Write the state, its random generator included."""
        ...


State = TypeVar("State", bound=SearchState)


class Engine(Protocol[State]):
    """A way of searching, such as the module `search.rl_pruner`."""

    def init(
        self,
        space: Space,
        reward_settings: RewardSettings,
        *,
        settings: Any,  # Any: each engine has its own record of settings
        evaluations: int,
        seed: int,
    ) -> State:
        """Start at the whole teacher.

        Args:
            space: what may go; not empty.
            reward_settings: formula and constraints.
            settings: of the engine.
            evaluations: how many there will be at most, to plan by.
            seed: the same seed and answers give the same questions.
        """
        ...

    def ask(self, state: State) -> Proposal:
        """Propose the next candidate; the same state proposes the same."""
        ...

    def tell(self, state: State, proposal: Proposal, evaluation: Evaluation, reward: float) -> State:
        """Learn from an evaluation.

        Args:
            state: the one that was asked.
            proposal: its answer.
            evaluation: of the proposal's candidate.
            reward: what the student is worth (`search.reward`), its accuracy foreseen for the top of the ladder.
        """
        ...

    def restore(self, text: str) -> State:
        """Read a state that `to_json` wrote.

        Raises:
            UsageError: the text is no such state, or of another version.
        """
        ...
