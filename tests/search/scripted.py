"""An engine that asks what it was told to ask, for tests of the loop."""

from __future__ import annotations

from dataclasses import dataclass, replace

from deploycompress.evaluation import Evaluation
from deploycompress.search.engine import Proposal, StopReason
from deploycompress.search.reward import RewardSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What is still to be asked, and what was answered."""

    left: tuple[Proposal, ...]
    reward_settings: RewardSettings
    told: tuple[tuple[Evaluation, float], ...] = ()

    @property
    def stop(self) -> StopReason | None:
        return None if self.left else StopReason.FINISHED

    @property
    def entropy(self) -> float | None:
        return None

    def to_json(self) -> str:
        raise NotImplementedError


class Scripted:
    """The engine."""

    def init(self, *args: object, **how: object) -> State:
        raise NotImplementedError

    def ask(self, state: State) -> Proposal:
        return state.left[0]

    def tell(self, state: State, proposal: Proposal, evaluation: Evaluation, reward: float) -> State:
        assert proposal == state.left[0]
        return replace(state, left=state.left[1:], told=(*state.told, (evaluation, reward)))

    def restore(self, text: str) -> State:
        raise NotImplementedError
