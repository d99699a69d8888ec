"""What may be set about N2N; the defaults of the paper's own numbers are the paper's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from deploycompress.errors import UsageError


class Method(StrEnum):
    """What a rollout's reward is compared with: a moving average, or what a critic foresaw."""

    REINFORCE = "reinforce"
    ACTOR_CRITIC = "actor-critic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How N2N searches.

    The first six are the paper's algorithm. The paper spends thousands of students; with a hundred, each must teach
    more. Hence what follows, each of which can be turned off to get the paper's eq. 2 to the letter:
    `epochs=1, memory=1, trust=0, normalises=False, meets_limits=False`.

    Attributes:
        rollouts: students for one update, m.
        removal_learning_rate: Adam's, for the first stage.
        shrinkage_learning_rate: Adam's, for the second stage.
        baseline_decay: of the moving average of rewards; the paper does not tell its own.
        method: REINFORCE or actor-critic.
        entropy_weight: reward for undecidedness; 0 in the paper.
        removal_share: share of the evaluations that the first stage gets.
        removal_part: share of what must be saved that the removal policy takes away at first, the rest being left to
            widths; an untrained policy would remove half of the blocks, whatever the limit.
        keep_bias: added to the keep logits of a new removal policy where the table of savings foresees nothing.
        epochs: gradient steps for one update.
        memory: updates whose rollouts are learnt from; older ones by clipped importance ratios (as in PPO), which are
            1 for the first step on new rollouts.
        clip: how far a ratio may go from 1 before it teaches no more.
        trust: most that an update may change the policy, in nats of divergence per decision; longer steps are halved.
            At a learning rate of 0.1 one unbounded step saturates the LSTM, and all rollouts are the same from then
            on. 0 for no bound.
        normalises: divide advantages by the spread of rewards, with degenerate students brought near the others: the
            differences between good students are hundredths, and -1 would drown them.
        meets_limits: bring rollouts to the limit by the table of savings, in the policy's own order of preference.
        patience: updates in a row without a new student after which a stage ends.
        policies: trained policies to start from, as `policy_file` writes them in a text; empty for new ones.
    """

    rollouts: int = 5
    removal_learning_rate: float = 0.003
    shrinkage_learning_rate: float = 0.1
    baseline_decay: float = 0.8
    method: Method = Method.REINFORCE
    entropy_weight: float = 0.0
    removal_share: float = 0.5
    removal_part: float = 0.7
    keep_bias: float = 1.0
    epochs: int = 8
    memory: int = 10
    clip: float = 0.3
    trust: float = 0.05
    normalises: bool = True
    meets_limits: bool = True
    patience: int = 3
    policies: str = ""

    def __post_init__(self) -> None:
        for name in ("rollouts", "epochs", "memory", "patience"):
            if getattr(self, name) < 1:
                raise UsageError(f"N2N setting {name!r} is {getattr(self, name)}; it must be at least 1.")
        for name in ("removal_learning_rate", "shrinkage_learning_rate", "clip"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise UsageError(f"N2N setting {name!r} is {getattr(self, name)}; it must be above 0.")
        for name in ("entropy_weight", "trust"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise UsageError(f"N2N setting {name!r} is {getattr(self, name)}; it must be at least 0.")
        for name in ("baseline_decay", "removal_share", "removal_part"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"N2N setting {name!r} is {getattr(self, name)}; it must be in [0, 1].")
