"""How a time budget is shared: what the search may try, how long students are distilled, what is kept back."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from deploycompress.search.rl_pruner import RlPrunerSettings, merge_steps, scale_to
from deploycompress.search.space import Space
from deploycompress.train.distil_settings import DistilSettings

DEFAULT_BUDGET_S = 900.0

# Shares of the time that is left once the teacher is measured; the winner's training gets the rest.
SEARCH_SHARE = 0.35
ADVANCE_SHARE = 0.3  # of the search: distillation between pruning steps
ADVANCE_CHECKS = 2
RESERVE_SHARE = 0.04
LEAST_RESERVE_S = 8.0
MOST_RESERVE = 0.5
STEP_S = 120.0  # a pruning step shorter than this learns little and distils less
MOST_STEPS = 75  # RL-Pruner's own number
ROOM_FOR_ERROR = 0.85  # evaluations later in a search are not always as cheap as the first


class Stopwatch:
    """Says how much of a budget is left, by a clock that never jumps."""

    def __init__(self, budget_s: float | None) -> None:
        self._started = time.monotonic()
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
        engine: the engine's settings, scaled.
        advance: distillation after each pruning step.
        seconds: when the search stops whatever it has; none for no limit.
    """

    engine: RlPrunerSettings
    advance: DistilSettings
    seconds: float | None


def plan_search(
    left_s: float | None,
    *,
    space: Space,
    evaluation_s: float,
    sparsity: float,
    evaluations: int | None,
    epochs: int | None,
    settings: RlPrunerSettings,
    training: DistilSettings,
) -> SearchBudget:
    """Scale RL-Pruner so that search and the winner's training fit the time that is left.

    Args:
        left_s: seconds for both; none for no limit.
        space: what may be cut.
        evaluation_s: seconds that one evaluation took.
        sparsity: share of channels the whole search is to remove.
        evaluations: most evaluations; none for no limit.
        epochs: rounds of the winner's training; without a time limit, students in between get a share of that.
        settings: the engine as it would run with all the time in the world.
        training: how students are distilled, apart from how long.
    """
    if left_s is None:
        steps = min(settings.steps, max(1, (evaluations or settings.evaluations) // 20))
        engine = _scaled(settings, space, steps, sparsity, evaluations)
        between = replace(training, epochs=ADVANCE_SHARE * (epochs or 1) / engine.steps, checks=ADVANCE_CHECKS)
        return SearchBudget(engine=engine, advance=between, seconds=None)
    seconds = SEARCH_SHARE * left_s
    steps = max(1, min(settings.steps, round(seconds / STEP_S)))
    affordable = int(ROOM_FOR_ERROR * (1 - ADVANCE_SHARE) * seconds / evaluation_s) + 1
    most = min(affordable, evaluations) if evaluations else affordable
    engine = _scaled(settings, space, steps, sparsity, max(most, 2))
    between = replace(training, seconds=ADVANCE_SHARE * seconds / engine.steps, checks=ADVANCE_CHECKS)
    return SearchBudget(engine=engine, advance=between, seconds=seconds)


def _scaled(
    settings: RlPrunerSettings, space: Space, steps: int, sparsity: float, evaluations: int | None
) -> RlPrunerSettings:
    whole = replace(settings, steps=steps, step_sparsity=min(max(sparsity / steps, 1e-3), 1.0))
    merged = merge_steps(whole, space)
    return merged if evaluations is None else scale_to(merged, evaluations)
