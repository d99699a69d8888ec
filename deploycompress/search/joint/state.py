"""Where a joint search stands: nothing but plain data, and all of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from deploycompress.search import record
from deploycompress.search.engine import StopReason
from deploycompress.search.joint.settings import Settings
from deploycompress.search.joint.table import Measured, learnt
from deploycompress.search.journal import Journal
from deploycompress.search.reward import RewardSettings
from deploycompress.search.space import Candidate

ENGINE = "joint"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """One student asked about.

    Attributes:
        candidate: what the steps led to, after exchanges.
        offset: what was added to the policy's logits, shape [P].
        taken: choices in order.
        behaviour: their log-probabilities.
        is_probe: whether it only says something of the choices, and is not meant to meet the limit.
        single: the choice that it tries alone; none for all others.
        reward: none before it is known.
    """

    candidate: Candidate
    offset: tuple[float, ...] = ()
    taken: tuple[int, ...] = ()
    behaviour: tuple[float, ...] = ()
    is_probe: bool = False
    single: int | None = None
    reward: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Everything.

    Attributes:
        settings: of the engine; its policy has become `weights`.
        journal: the task, and what is known of the costs.
        weights: the policy's tensors, as text.
        moments: Adam's memory, as text; empty before the first update.
        adam_steps: its number of steps.
        baseline: moving average of the rewards; none before the first update.
        updates: of the policy.
        whole: the teacher's reward.
        seen: what went in each student whose reward says something of it, shape [n, P].
        rewards: of these; of probes what they would be worth without training and limits.
        probes: which of these did not meet the limit.
        measured: students that say what several choices save together.
        singles: what each choice cost that was tried alone, after recalibration, when all of it goes.
        rollouts: of the coming update; the last one is asked about.
        elite: the best students, best first.
        entropy: mean of the policy's choices in the last update, nats.
        stop: why there is nothing to ask any more.
    """

    settings: Settings
    journal: Journal
    weights: str
    moments: str = ""
    adam_steps: int = 0
    baseline: float | None = None
    updates: int = 0
    whole: float = 1.0
    seen: tuple[tuple[float, ...], ...] = ()
    rewards: tuple[float, ...] = ()
    probes: tuple[bool, ...] = ()
    measured: tuple[Measured, ...] = ()
    singles: Mapping[int, float] = field(default_factory=dict)
    rollouts: tuple[Rollout, ...] = ()
    elite: tuple[Rollout, ...] = ()
    entropy: float | None = None
    stop: StopReason | None = None

    @property
    def reward_settings(self) -> RewardSettings:
        """The reward that students are compared by."""
        return self.journal.reward_settings

    def informed(self) -> Journal:
        """Give the journal with the savings as the students correct them."""
        return replace(self.journal, space=learnt(self.journal.space, self.measured), correction={})

    def to_json(self) -> str:
        """Write the state."""
        return record.to_json(self, ENGINE)


def restore(text: str) -> State:
    """Read a state that `to_json` wrote.

    Raises:
        UsageError: the text is no such state, or of another version.
    """
    return record.from_json(State, text, ENGINE)
