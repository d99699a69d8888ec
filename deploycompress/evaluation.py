"""What is known of one student: a frozen record of numbers, each traceable to where it was taken."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum


class Evidence(StrEnum):
    """How a number came to be."""

    MEASURED = "measured"
    PROXY = "proxy"
    ANALYTIC = "analytic"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """One student as the search sees it; where no labels say what is right, the accuracy is another score in [0, 1].

    Attributes:
        metrics: values by metric name (see `constraint.METRICS`); `accuracy` is absent when it was not taken.
        teacher_accuracy: the teacher's accuracy on the same validation split.
        failure: why the student could not be evaluated; empty when it could. A failed student is degenerate.
        seconds: wall time spent, by stage.
        climb: the accuracies taken on the way, after more and more training; the last one is the accuracy.
    """

    metrics: Mapping[str, float]
    teacher_accuracy: float
    failure: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    climb: tuple[float, ...] = ()

    def with_climb(self, climb: tuple[float, ...]) -> Evaluation:
        """Give the evaluation with the accuracies taken so far."""
        return replace(self, climb=climb, metrics={**self.metrics, "accuracy": climb[-1]})

    @property
    def is_degenerate(self) -> bool:
        """Whether nothing useful is known of the student."""
        return bool(self.failure) or any(math.isnan(value) for value in self.metrics.values())

    @property
    def accuracy(self) -> float | None:
        """Accuracy on the validation split, when taken."""
        return self.metrics.get("accuracy")
