"""Everything RL-Pruner knows between two questions: a frozen record that travels as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from deploycompress.search import record
from deploycompress.search.engine import Kind, StopReason
from deploycompress.search.reward import RewardSettings
from deploycompress.search.rl_pruner.axes import Axis
from deploycompress.search.rl_pruner.policy import Distribution, entropy_of
from deploycompress.search.rl_pruner.replay import Buffer
from deploycompress.search.rl_pruner.settings import RlPrunerSettings
from deploycompress.search.space import Candidate, Space

ENGINE = "rl-pruner"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A student of the current stage's tree: how it came to be, its real-valued widths and its reward."""

    action: Distribution
    widths: tuple[float, ...]
    reward: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked: an action, the real-valued widths it leads to, and the candidate these are rounded to."""

    kind: Kind
    action: Distribution
    widths: tuple[float, ...]
    candidate: Candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Where a search stands. Vectors are over the axes, shape [D].

    Attributes:
        settings: of the engine, laid out over the evaluations there are.
        reward_settings: formula and constraints.
        space: what may go.
        axes: what the distribution is over.
        policy: the pruning distribution.
        widths: real-valued widths the pruning has come to.
        student: widths of the current student: the real-valued ones as they were rounded for it.
        buffer: the replay buffer of this step.
        samples: students evaluated so far in this stage.
        seen: candidates sampled in this step, as digests.
        question: what is asked now; none once the search is over.
        correction: of the table's forecasts.
        margin: how much stricter than the limits, relative to them, forecasts must be for most students to meet them.
        step: pruning steps taken.
        stage: sampling stages completed in this step.
        is_met: whether the current student meets all constraints.
        stop: why the search is over, none while it is not.
        seed: of the random generator.
        draws: how often it was used.
    """

    settings: RlPrunerSettings
    reward_settings: RewardSettings
    space: Space
    axes: tuple[Axis, ...]
    policy: Distribution
    widths: tuple[float, ...]
    student: tuple[int, ...]
    buffer: Buffer = ()
    samples: tuple[Sample, ...] = ()
    seen: tuple[str, ...] = ()
    question: Question | None = None
    correction: Mapping[str, float]
    margin: float = 0.0
    step: int = 0
    stage: int = 0
    is_met: bool
    stop: StopReason | None = None
    seed: int
    draws: int = 0

    @property
    def progress(self) -> float:
        """Share of the planned steps that is over: 0 at the first, 1 at the last and after it."""
        last = self.settings.steps - 1
        return min(self.step / last, 1.0) if last else 1.0

    @property
    def is_last_step(self) -> bool:
        """Whether this step's students are to meet the limits."""
        return self.step >= self.settings.steps - 1

    @property
    def entropy(self) -> float:
        """Entropy of the pruning distribution in nats, not normalised: ln D where all D axes share alike."""
        return entropy_of(self.policy)

    def rng(self) -> np.random.Generator:
        """Make the generator for the next draw; whoever uses it counts the draw."""
        return np.random.default_rng((self.seed, self.draws))

    def to_json(self) -> str:
        """Write the state as JSON."""
        return record.to_json(self, ENGINE)


def restore(text: str) -> State:
    """Read a state that `to_json` wrote.

    Raises:
        UsageError: the text is no such state, or of another version.
    """
    return record.from_json(State, text, ENGINE)
