"""How dearly a student's accuracy is taken: a ladder from no training at all to some, climbed by the promising.

Successive halving as it comes (Li et al., "A System for Massively Parallel Hyperparameter Tuning", 2020, algorithm 2,
one student at a time): a student goes on to the next rung while it is among the best share of all that reached its
rung. Students at different rungs are compared by what they would have at the top, as far as the others tell.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deploycompress.errors import UsageError

Climb = tuple[float, ...]
"""A student's accuracies, one for each rung it reached."""

LEAST_PAIRS = 5  # students that climbed on, before a slope is fitted


@dataclass(frozen=True, slots=True, kw_only=True)
class Ladder:
    """The rungs.

    Attributes:
        steps: distillation steps before the accuracy is taken, ascending; 0 is after recalibration alone.
        share: share of the students of a rung that goes on to the next.
    """

    steps: tuple[int, ...] = (0, 20, 60)
    share: float = 1 / 3

    def __post_init__(self) -> None:
        if not self.steps or list(self.steps) != sorted(set(self.steps)) or self.steps[0] < 0:
            raise UsageError(f"The rungs are {self.steps}; expected ascending numbers of steps from 0.")
        if not 0 < self.share <= 1:
            raise UsageError(f"The share that goes on is {self.share}; expected more than 0 and at most 1.")

    @property
    def top(self) -> int:
        """Index of the last rung."""
        return len(self.steps) - 1


def goes_on(accuracy: float, rung: int, climbs: Sequence[Climb], ladder: Ladder) -> bool:
    """Say whether a student climbs on from a rung: it is not the top, and few enough before it were better there.

    Args:
        accuracy: the student's, at the rung.
        rung: where it stands, from 0.
        climbs: of the other students.
        ladder: the rungs.
    """
    if rung >= ladder.top:
        return False
    others = [climb[rung] for climb in climbs if len(climb) > rung]
    better = sum(other > accuracy for other in others)
    return better < math.ceil(ladder.share * (len(others) + 1))


def foreseen(climb: Climb, climbs: Sequence[Climb], ladder: Ladder) -> float:
    """Foresee a student's accuracy at the top rung from the highest it reached.

    From rung to rung, a line is fitted through the students that took that step, with a slope in [0, 1], for training
    brings students together; with fewer than `LEAST_PAIRS` of them the mean gain is added.

    Returns:
        An accuracy in [0, 1]; as measured for a student at the top.
    """
    value = climb[-1]
    for rung in range(len(climb) - 1, ladder.top):
        pairs = [(other[rung], other[rung + 1]) for other in climbs if len(other) > rung + 1]
        value = min(max(_carried(value, pairs), 0.0), 1.0)
    return value


def _carried(value: float, pairs: Sequence[tuple[float, float]]) -> float:
    if not pairs:
        return value
    low, high = np.asarray(pairs, dtype=np.float64).T
    spread = float(((low - low.mean()) ** 2).sum())
    slope = 1.0
    if len(pairs) >= LEAST_PAIRS and spread > 0:
        slope = float(np.clip(((low - low.mean()) * (high - high.mean())).sum() / spread, 0.0, 1.0))
    return float(high.mean() + slope * (value - low.mean()))
