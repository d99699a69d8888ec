"""Scaling keeps the sparsity aimed at, respects the limits, and never goes below one sample and one cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from deploycompress.pipeline.budget import ADVANCE_SHARE, SEARCH_SHARE, Stopwatch, plan_search
from deploycompress.search.rl_pruner import RlPrunerSettings
from deploycompress.search.space import Dimension, Space
from deploycompress.train.distil_settings import DistilSettings

SETTINGS, TRAINING = RlPrunerSettings(), DistilSettings()
SPACE = Space(tuple(Dimension(name, 64, (16, 32, 48, 64)) for name in "abcdef"))


@given(
    left_s=st.floats(1, 1e5),
    evaluation_s=st.floats(0.05, 60),
    sparsity=st.floats(0.01, 1),
    evaluations=st.none() | st.integers(2, 5000),
)
def test_scaled_search_fits(left_s: float, evaluation_s: float, sparsity: float, evaluations: int | None) -> None:
    budget = plan_search(
        left_s,
        space=SPACE,
        evaluation_s=evaluation_s,
        sparsity=sparsity,
        evaluations=evaluations,
        epochs=None,
        settings=SETTINGS,
        training=TRAINING,
    )
    engine = budget.engine
    assert budget.seconds == SEARCH_SHARE * left_s
    samples = engine.evaluations - engine.steps
    assert engine.evaluations == 2 or samples * evaluation_s <= (1 - ADVANCE_SHARE) * budget.seconds
    assert evaluations is None or engine.evaluations <= evaluations
    assert engine.steps * engine.step_sparsity >= sparsity * 0.999 or engine.step_sparsity == 1.0
    assert budget.advance.seconds is not None
    assert engine.steps * budget.advance.seconds <= ADVANCE_SHARE * budget.seconds * 1.001


def test_more_time_means_more_evaluations() -> None:
    sizes = [
        plan_search(
            left,
            space=SPACE,
            evaluation_s=2.0,
            sparsity=0.4,
            evaluations=None,
            epochs=None,
            settings=SETTINGS,
            training=TRAINING,
        ).engine.evaluations
        for left in (60.0, 600.0, 6000.0)
    ]
    assert sizes[0] < sizes[1] < sizes[2]


def test_without_a_time_limit_the_evaluations_count() -> None:
    budget = plan_search(
        None,
        space=SPACE,
        evaluation_s=1.0,
        sparsity=0.4,
        evaluations=50,
        epochs=4,
        settings=SETTINGS,
        training=TRAINING,
    )
    assert budget.seconds is None
    assert budget.advance.seconds is None
    assert 2 <= budget.engine.evaluations <= 50


def test_reserve_comes_out_of_what_is_left() -> None:
    clock = Stopwatch(100.0)
    assert clock.left_s is not None
    assert clock.left_s <= 100.0 - clock.reserve_s
    assert Stopwatch(1.0).left_s == 0.0
    assert Stopwatch(None).left_s is None
