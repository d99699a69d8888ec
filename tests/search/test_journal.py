"""What is remembered: each candidate once, and how far forecasts can be trusted."""

from __future__ import annotations

import pytest

from deploycompress.constraint import parse_constraint
from deploycompress.errors import UsageError
from deploycompress.evaluation import Evaluation
from deploycompress.search.journal import MARGIN_STEP, MOST_BROKEN, MOST_MARGIN, Journal, is_met, noted
from deploycompress.search.reward import RewardSettings
from deploycompress.search.space import Candidate
from tests.search.toy import make_space

ROWS = tuple(map(parse_constraint, ("latency_ratio <= 0.6", "accuracy >= 0.9", "latency_ms <= 3")))
JOURNAL = Journal(space=make_space(), reward_settings=RewardSettings(constraints=ROWS[:2]), evaluations=3, seed=0)
FITTING = JOURNAL.space.candidate(remove=["b0", "b1", "b2"])


def measured(latency: float, failure: str = "") -> Evaluation:
    return Evaluation(metrics={"latency_ratio": latency}, teacher_accuracy=0.9, failure=failure)


def test_an_answer_is_counted_once_per_candidate() -> None:
    journal = noted(noted(JOURNAL, FITTING, measured(0.5)), FITTING, measured(0.5))
    assert (len(journal.seen), journal.is_over) == (1, False)
    assert journal.has_seen(FITTING)
    assert not journal.has_seen(Candidate())


def test_the_budget_is_over_after_as_many_candidates() -> None:
    journal = JOURNAL
    for block in range(3):
        assert not journal.is_over
        journal = noted(journal, journal.space.candidate(remove=[f"b{block}"]), measured(0.86))
    assert journal.is_over


def test_limits_are_the_rows_that_need_no_accuracy() -> None:
    assert JOURNAL.limits == ROWS[:1]
    assert is_met(JOURNAL, measured(0.6))
    assert not is_met(JOURNAL, measured(0.61))
    assert not is_met(JOURNAL, measured(0.5, failure="hung"))


def test_a_broken_limit_that_was_foreseen_to_hold_widens_the_margin_and_a_met_one_narrows_it() -> None:
    broken = noted(JOURNAL, FITTING, measured(0.61))
    assert broken.margin == pytest.approx(MARGIN_STEP * (1 - MOST_BROKEN))
    assert broken.rows[0].bound == pytest.approx(0.6 * (1 - broken.margin))
    smaller = JOURNAL.space.candidate(remove=["b0", "b1", "b2", "b3"])
    assert noted(broken, smaller, measured(0.4)).margin == pytest.approx(MARGIN_STEP * (1 - 2 * MOST_BROKEN))
    assert noted(JOURNAL, FITTING, measured(0.5)).margin == 0


def test_the_margin_is_bounded() -> None:
    journal = JOURNAL
    for _ in range(200):
        journal = noted(journal, JOURNAL.space.candidate(remove=[f"b{n}" for n in range(5)]), measured(0.61))
    assert journal.margin <= MOST_MARGIN


def test_what_was_never_foreseen_to_fit_and_failures_leave_the_margin() -> None:
    assert noted(JOURNAL, Candidate(), measured(1.0)).margin == 0
    failed = noted(JOURNAL, FITTING, measured(0.9, failure="hung"))
    assert (failed.margin, failed.correction) == (0, {})


def test_the_correction_is_learnt() -> None:
    assert noted(JOURNAL, FITTING, measured(1 - 0.42 * 0.9)).correction == pytest.approx({"latency_ratio": 0.9})


def test_no_evaluations_are_refused() -> None:
    with pytest.raises(UsageError, match="at least 1 evaluation; got 0"):
        Journal(space=make_space(), reward_settings=RewardSettings(), evaluations=0, seed=0)
