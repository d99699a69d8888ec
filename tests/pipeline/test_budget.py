"""A budget is shared so that the search fits, and one that is too small for anything is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycompress.errors import UsageError
from deploycompress.pipeline.budget import ADVANCE_SHARE, SEARCH_SHARE, SearchBudget, Stopwatch, plan_search
from deploycompress.train.distil_settings import DistilSettings


def plan(left_s: float | None, evaluation_s: float, evaluations: int | None = None, epochs: int = 4) -> SearchBudget:
    return plan_search(
        left_s, evaluation_s=evaluation_s, evaluations=evaluations, epochs=epochs, training=DistilSettings()
    )


@given(
    left_s=st.floats(200, 1e5),
    evaluation_s=st.floats(0.05, 60),
    evaluations=st.none() | st.integers(1, 5000),
)
def test_planned_search_fits(left_s: float, evaluation_s: float, evaluations: int | None) -> None:
    budget = plan(left_s, evaluation_s, evaluations)
    assert budget.seconds == SEARCH_SHARE * left_s
    assert 1 <= budget.evaluations <= (evaluations or 1000)
    assert budget.evaluations * evaluation_s <= budget.seconds
    assert budget.advance.seconds is not None
    assert budget.advance.seconds <= ADVANCE_SHARE * budget.seconds


def test_more_time_means_more_evaluations() -> None:
    sizes = [plan(left, 2.0).evaluations for left in (60.0, 300.0, 1200.0)]
    assert sizes[0] < sizes[1] < sizes[2]


def test_time_for_not_even_one_evaluation_is_refused_with_what_it_takes() -> None:
    with pytest.raises(UsageError, match=r"leaves 10 s .* one evaluation of 5\.0 s; give at least 5 s more"):
        plan(10.0, 5.0)


def test_without_a_time_limit_the_evaluations_count() -> None:
    budget = plan(None, 1.0, evaluations=50)
    assert (budget.seconds, budget.evaluations, budget.advance.seconds) == (None, 50, None)
    assert budget.advance.epochs == pytest.approx(ADVANCE_SHARE * 4)


def test_reserve_comes_out_of_what_is_left() -> None:
    clock = Stopwatch(100.0)
    assert clock.left_s is not None
    assert clock.left_s <= 100.0 - clock.reserve_s
    assert Stopwatch(1.0).left_s == 0.0
    assert Stopwatch(None).left_s is None


def test_resumed_run_has_spent_what_it_spent() -> None:
    clock = Stopwatch(100.0, spent_s=60.0)
    assert clock.left_s is not None
    assert clock.left_s <= 40.0 - clock.reserve_s
    assert clock.elapsed_s >= 60.0
