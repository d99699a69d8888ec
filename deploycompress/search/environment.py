"""What a search is handed: somebody who slims, measures, trains and scores students for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from deploycompress.evaluation import Evaluation
from deploycompress.plan import Plan

WorthTraining = Callable[[Mapping[str, float]], bool]


class Environment(Protocol):
    """Holds the current student, at first the teacher; every plan is over the teacher's channels."""

    def evaluate(self, plan: Plan, worth_training: WorthTraining) -> Evaluation:
        """Slim the current student to a plan and measure it, leaving the current student as it is.

        Args:
            plan: a subset of what the current student keeps.
            worth_training: asked with the metrics known so far; accuracy is taken only if it agrees.
        """
        ...

    def advance(self, plan: Plan, worth_training: WorthTraining) -> Evaluation:
        """Slim the current student to a plan, make it the current one, and evaluate it.

        Args:
            plan: a subset of what the current student keeps.
            worth_training: asked with the metrics known so far; the student is distilled only if it agrees.
        """
        ...

    def scores(self) -> Mapping[str, tuple[float, ...]]:
        """Score the current student's channels: by group, one per channel of the teacher, -inf for cut ones."""
        ...
