"""How a time budget is shared: what the search may try, how long students are distilled, what is kept back."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from deploycompress.errors import UsageError

if TYPE_CHECKING:  # torch: the default budget is shown by --dry-run
    from deploycompress.train.distil_settings import DistilSettings

DEFAULT_BUDGET_S = 900.0
DEFAULT_EVALUATIONS = 100

# Shares of the time that is left once the teacher is measured; the winner's training gets the rest.
SEARCH_SHARE = 0.4
ADVANCE_SHARE = 0.3  # of the search: distillation between pruning steps
ADVANCE_CHECKS = 2
EVALUATIONS_PER_ADVANCE = 300
RESERVE_SHARE = 0.04
LEAST_RESERVE_S = 8.0
MOST_RESERVE = 0.5
MOST_EVALUATIONS = 1000
ROOM_FOR_ERROR = 0.85  # evaluations later in a search are not always as cheap as the first


def seconds_of(budget: float | None, *, evaluations: int | None, epochs: int | None) -> float | None:
    """Give the seconds of a run; where none were named the default, unless students and epochs bound it anyway."""
    is_open_ended = evaluations is not None and epochs is not None
    return DEFAULT_BUDGET_S if budget is None and not is_open_ended else budget


class Stopwatch:
    """Says how much of a budget is left, by a clock that never jumps.

    Args:
        budget_s: none for no limit.
        spent_s: of the budget, before this process began.
    """

    def __init__(self, budget_s: float | None, *, spent_s: float = 0.0) -> None:
        self._started = time.monotonic() - spent_s
        self._kept_back_s = 0.0
        self.budget_s = budget_s

    @property
    def elapsed_s(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._started

    @property
    def reserve_s(self) -> float:
        """Seconds kept back for verification, final measurement and writing."""
        if self.budget_s is None:
            return 0.0
        return max(LEAST_RESERVE_S, RESERVE_SHARE * self.budget_s, min(self._kept_back_s, MOST_RESERVE * self.budget_s))

    def keep_back(self, seconds: float) -> None:
        """Reserve time for the end, once it is known what that will take."""
        self._kept_back_s = seconds

    @property
    def left_s(self) -> float | None:
        """Seconds left for search and training; none for no limit, never negative."""
        return None if self.budget_s is None else max(self.budget_s - self.reserve_s - self.elapsed_s, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchBudget:
    """What a search may cost.

    Attributes:
        evaluations: how many students are tried at most.
        advance: distillation after each pruning step, for engines that take such steps.
        seconds: when the search stops whatever it has; none for no limit.
    """

    evaluations: int
    advance: DistilSettings
    seconds: float | None


def plan_search(
    left_s: float | None,
    *,
    evaluation_s: float,
    evaluations: int | None,
    epochs: int | None,
    training: DistilSettings,
) -> SearchBudget:
    """Share out the time that is left between the search and the winner's training.

    Args:
        left_s: seconds for both; none for no limit.
        evaluation_s: seconds that one evaluation takes on average.
        evaluations: most evaluations; none for as many as the time allows.
        epochs: rounds of the winner's training; without a time limit, students in between get a share of that.
        training: how students are distilled, apart from how long.

    Raises:
        UsageError: the time does not suffice for one evaluation.
    """
    if left_s is None:
        most = evaluations or DEFAULT_EVALUATIONS
        between = replace(training, epochs=ADVANCE_SHARE * (epochs or 1) / _advances(most), checks=ADVANCE_CHECKS)
        return SearchBudget(evaluations=most, advance=between, seconds=None)
    seconds = SEARCH_SHARE * left_s
    affordable = int(ROOM_FOR_ERROR * seconds / evaluation_s)
    if affordable < 1:
        needed = evaluation_s / (SEARCH_SHARE * ROOM_FOR_ERROR)
        raise UsageError(
            f"The budget leaves {left_s:.0f} s for search and training, too little for one evaluation of "
            f"{evaluation_s:.1f} s; give at least {needed - left_s:.0f} s more, or a quicker ladder "
            "(--set ladder.steps=0)."
        )
    most = min(affordable, evaluations or MOST_EVALUATIONS)
    between = replace(training, seconds=ADVANCE_SHARE * seconds / _advances(most), checks=ADVANCE_CHECKS)
    return SearchBudget(evaluations=most, advance=between, seconds=seconds)


def _advances(evaluations: int) -> int:
    return max(1, round(evaluations / EVALUATIONS_PER_ADVANCE))
