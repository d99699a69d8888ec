"""What may be set about the joint engine."""

from __future__ import annotations

import math
from dataclasses import dataclass

from deploycompress.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the joint engine searches.

    Attributes:
        singles_share: most of the evaluations that may go to trying every choice alone, before anything is believed.
            Where the choices are too many for that, several are tried at once.
        singles_weight: how much of the first belief these sensitivities are; the rest is what the choices save.
        survey_share: share of the evaluations spent on several choices at once, each about equally often.
        probe_depth: how far these go from the teacher to the limit, in (0, 1]. Near the teacher losses add up and show
            after recalibration alone; at the limit candidates can win.
        sensitivity_weight: how much the measured sensitivities count in the policy; 0 leaves it to the gradients.
        boldness: spread of the sensitivities that a rollout believes in, in standard errors, after the survey.
        last_boldness: the same at the end of the search.
        temperature: of the policy's choices; towards 0 the best step is always taken.
        rollouts: students for one policy update, m.
        learning_rate: Adam's; the paper's for removal.
        epochs: gradient steps for one update.
        clip: how far the ratio of an action's probabilities may go from 1 before it teaches no more.
        trust: most that an update may change the policy, in nats of divergence per decision.
        baseline_decay: of the moving average of rewards.
        exchanges: rounds of exchanges that bring a rollout to what the sensitivities it believes in call best.
        local_share: share of the students after the survey that start from one of the best instead of the teacher.
        elite: how many count as the best.
        policies: a trained removal policy to start from, as `policy_file` writes it in a text; empty for a new one.
    """

    singles_share: float = 0.6
    singles_weight: float = 0.8
    survey_share: float = 0.25
    probe_depth: float = 0.4
    sensitivity_weight: float = 1.0
    boldness: float = 0.4
    last_boldness: float = 0.1
    temperature: float = 0.25
    rollouts: int = 5
    learning_rate: float = 0.003
    epochs: int = 4
    clip: float = 0.3
    trust: float = 0.05
    baseline_decay: float = 0.8
    exchanges: int = 3
    local_share: float = 0.5
    elite: int = 3
    policies: str = ""

    def __post_init__(self) -> None:
        for name, low in (("rollouts", 1), ("epochs", 1), ("exchanges", 0), ("elite", 1)):
            if getattr(self, name) < low:
                raise UsageError(f"Joint setting {name!r} is {getattr(self, name)}; it must be at least {low}.")
        if not 0 < self.probe_depth <= 1:
            raise UsageError(f"Joint setting 'probe_depth' is {self.probe_depth}; it must be in (0, 1].")
        for name in ("singles_share", "singles_weight", "survey_share", "baseline_decay", "local_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise UsageError(f"Joint setting {name!r} is {getattr(self, name)}; it must be in [0, 1].")
        for name in ("sensitivity_weight", "boldness", "last_boldness", "trust"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise UsageError(f"Joint setting {name!r} is {getattr(self, name)}; it must be at least 0.")
        for name in ("temperature", "learning_rate", "clip"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise UsageError(f"Joint setting {name!r} is {getattr(self, name)}; it must be above 0.")
