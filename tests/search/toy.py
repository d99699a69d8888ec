"""A small world with known truth: accuracy is a formula of the widths, and so is the best way to share the pruning."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from deploycompress.evaluation import Evaluation
from deploycompress.plan import Plan
from deploycompress.search.environment import WorthTraining
from deploycompress.search.space import Dimension, Space, allowed_widths

TEACHER_ACCURACY = 0.95


def ignore(*_: object) -> None:
    """Listen to nothing."""


def always(*_: object) -> bool:
    """Find every student worth training."""
    return True


def never() -> bool:
    """Never stop."""
    return False


def make_space(widths: Sequence[int], quantum: int = 1) -> Space:
    return Space(tuple(Dimension(f"g{i}", w, allowed_widths(w, quantum)) for i, w in enumerate(widths)))


@dataclass
class ToyEnvironment:
    """Accuracy falls with the square of each group's removed share, weighted by the group's sensitivity.

    Distillation gives back half of what was lost. Latency is proportional to the channels that stay.
    """

    space: Space
    sensitivities: Sequence[float]
    calls: list[tuple[str, str]] = field(default_factory=list)
    trained: int = 0
    kept: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def removed_shares(self, plan: Plan) -> list[float]:
        return [1 - plan.widths().get(d.group, d.width) / d.width for d in self.space.dimensions]

    def raw_accuracy(self, plan: Plan) -> float:
        shares = self.removed_shares(plan)
        return TEACHER_ACCURACY - sum(s * x * x for s, x in zip(self.sensitivities, shares, strict=True))

    def channel_ratio(self, plan: Plan) -> float:
        total = sum(d.width for d in self.space.dimensions)
        return sum(plan.widths().get(d.group, d.width) for d in self.space.dimensions) / total

    def evaluate(self, plan: Plan, worth_training: WorthTraining) -> Evaluation:
        self.require_subset(plan)
        self.calls.append(("sample", plan.to_json()))
        metrics = self.metrics(plan)
        if worth_training(metrics):
            self.trained += 1
            metrics["accuracy"] = self.raw_accuracy(plan)
        return Evaluation(metrics=metrics, teacher_accuracy=TEACHER_ACCURACY)

    def advance(self, plan: Plan, worth_training: WorthTraining) -> Evaluation:
        self.require_subset(plan)
        self.calls.append(("advance", plan.to_json()))
        self.kept = dict(plan.keep)
        raw, metrics = self.raw_accuracy(plan), self.metrics(plan)
        metrics["accuracy"] = (TEACHER_ACCURACY + raw) / 2 if worth_training(metrics) else raw
        return Evaluation(metrics=metrics, teacher_accuracy=TEACHER_ACCURACY)

    def scores(self) -> Mapping[str, tuple[float, ...]]:
        found = {}
        for number, dimension in enumerate(self.space.dimensions):
            kept = set(self.kept.get(dimension.group, range(dimension.width)))
            found[dimension.group] = tuple(
                math.sin(7.3 * channel + number) if channel in kept else -math.inf for channel in range(dimension.width)
            )
        return found

    def metrics(self, plan: Plan) -> dict[str, float]:
        ratio = self.channel_ratio(plan)
        return {"params_ratio": ratio, "macs_ratio": ratio**2, "latency_ratio": ratio, "latency_ms": 10 * ratio}

    def require_subset(self, plan: Plan) -> None:
        for group, kept in self.kept.items():
            assert set(plan.keep[group]) <= set(kept)
