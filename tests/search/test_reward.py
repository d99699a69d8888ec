"""Rewards against the papers' formulas written out, and the cases that are worth -1 exactly."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycompress.constraint import parse_constraint
from deploycompress.errors import UsageError
from deploycompress.evaluation import Evaluation
from deploycompress.search.reward import (
    Quantity,
    RewardKind,
    RewardSettings,
    meets,
    reward,
    total_excess,
    worth_training,
)
from deploycompress.search.schedules import Annealing

UNIT = st.floats(0, 1)
SHARE = st.floats(0.01, 1)
HALF = (parse_constraint("latency_ratio <= 0.5"),)


def evaluation(**metrics: float) -> Evaluation:
    return Evaluation(metrics=metrics, teacher_accuracy=0.9)


@given(UNIT, SHARE, SHARE, st.floats(0, 2), st.floats(0, 2))
def test_rl_pruners_reward_is_equation_17(acc: float, macs: float, params: float, alpha: float, beta: float) -> None:
    student = evaluation(accuracy=acc, macs_ratio=macs, params_ratio=params)
    flops_saved, params_saved = 1 - macs, 1 - params
    expected = acc + alpha * flops_saved + beta * params_saved
    assert reward(student, RewardSettings(alpha=alpha, beta=beta)) == pytest.approx(expected)


@given(UNIT, SHARE, st.sampled_from(Quantity))
def test_n2ns_reward_is_c_times_two_minus_c_times_relative_accuracy(acc: float, ratio: float, of: Quantity) -> None:
    names = {
        "params": "params_ratio",
        "macs": "macs_ratio",
        "latency": "latency_ratio",
        "memory": "activation_peak_ratio",
    }
    student = evaluation(**{"accuracy": acc, names[of.value]: ratio})
    compression = 1 - ratio
    expected = (2 * compression - compression**2) * (acc / 0.9)
    assert reward(student, RewardSettings(kind=RewardKind.N2N, quantity=of)) == pytest.approx(expected)


@given(UNIT, UNIT, st.sampled_from([Annealing.LINEAR, Annealing.COSINE]))
def test_a_broken_constraint_scales_the_distance_to_minus_one(acc: float, progress: float, how: Annealing) -> None:
    student = evaluation(accuracy=acc, latency_ratio=0.7)
    epsilon = 1 - progress if how is Annealing.LINEAR else 0.5 + 0.5 * math.cos(math.pi * progress)
    settings = RewardSettings(constraints=HALF, annealing=how)
    assert reward(student, settings, progress) == pytest.approx(-1 + epsilon * (1 + acc))


@given(UNIT)
def test_a_met_constraint_leaves_the_reward_alone(progress: float) -> None:
    student = evaluation(accuracy=0.8, latency_ratio=0.5)
    assert reward(student, RewardSettings(constraints=HALF, annealing=Annealing.HARD), progress) == 0.8


@pytest.mark.parametrize(
    "student",
    [
        Evaluation(metrics={"accuracy": 0.9, "params_ratio": 0.5}, teacher_accuracy=0.9, failure="out of memory"),
        evaluation(),
        evaluation(params_ratio=0.5),
        evaluation(accuracy=math.nan, params_ratio=0.5),
        evaluation(accuracy=0.9, params_ratio=0.5, latency_ms=math.nan),
        evaluation(accuracy=0.9, params=0.0, params_ratio=0.0),
    ],
)
@pytest.mark.parametrize("kind", RewardKind)
def test_degenerate_students_are_worth_exactly_minus_one(student: Evaluation, kind: RewardKind) -> None:
    assert reward(student, RewardSettings(kind=kind), 0.0) == -1


def test_a_missing_accuracy_is_minus_one_even_while_constraints_are_tolerated() -> None:
    assert reward(evaluation(latency_ratio=0.7), RewardSettings(constraints=HALF), 0.0) == -1


def test_a_student_that_grew_is_never_worth_less_than_a_degenerate_one() -> None:
    settings = RewardSettings(kind=RewardKind.N2N, quantity=Quantity.LATENCY)
    assert reward(evaluation(accuracy=0.9, latency_ratio=3.0), settings) == -1


@given(SHARE, SHARE)
def test_a_better_student_never_gets_less(one: float, other: float) -> None:
    smaller, larger = sorted((one, other))
    settings = RewardSettings(kind=RewardKind.N2N)
    rewards = [reward(evaluation(accuracy=0.8, params_ratio=ratio), settings) for ratio in (smaller, larger)]
    assert rewards[0] >= rewards[1]


def test_a_metric_that_the_reward_needs_and_nobody_measures_is_named() -> None:
    with pytest.raises(UsageError, match="'latency_ratio'"):
        reward(evaluation(accuracy=0.9), RewardSettings(kind=RewardKind.N2N, quantity=Quantity.LATENCY))


def test_a_teacher_that_knows_nothing_is_refused() -> None:
    student = Evaluation(metrics={"accuracy": 0.5, "params_ratio": 0.5}, teacher_accuracy=0.0)
    with pytest.raises(UsageError, match="teacher's accuracy is 0"):
        reward(student, RewardSettings(kind=RewardKind.N2N))


@pytest.mark.parametrize("field", ["alpha", "beta"])
@pytest.mark.parametrize("value", [-0.1, math.nan, math.inf])
def test_reward_settings_are_checked_by_name(field: str, value: float) -> None:
    with pytest.raises(UsageError, match=field):
        RewardSettings(**{field: value})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("metrics", "annealing", "progress", "expected"),
    [
        ({"latency_ratio": 0.7}, Annealing.HARD, 0.0, False),
        ({"latency_ratio": 0.4}, Annealing.HARD, 0.0, True),
        ({"latency_ratio": 0.7}, Annealing.LINEAR, 0.5, True),
        ({"latency_ratio": 0.7}, Annealing.LINEAR, 1.0, False),
        ({"params_ratio": 0.7}, Annealing.HARD, 1.0, True),
        ({"latency_ratio": math.nan}, Annealing.LINEAR, 0.0, False),
    ],
)
def test_what_breaks_a_hard_constraint_is_not_trained(
    metrics: dict[str, float], annealing: Annealing, progress: float, expected: bool
) -> None:
    assert worth_training(metrics, RewardSettings(constraints=HALF, annealing=annealing), progress) is expected


def test_an_accuracy_floor_does_not_keep_a_student_from_being_trained() -> None:
    settings = RewardSettings(constraints=(parse_constraint("accuracy >= 0.8"),), annealing=Annealing.HARD)
    assert worth_training({"latency_ratio": 0.7}, settings, 1.0)


def test_a_missing_metric_is_never_taken_as_fulfilled() -> None:
    assert not meets({"accuracy": 1.0}, HALF)
    assert total_excess({"accuracy": 1.0}, HALF) == math.inf


def test_excess_adds_up_what_is_broken_and_nothing_else() -> None:
    rows = (*HALF, parse_constraint("latency_ms <= 10"), parse_constraint("params_ratio <= 0.5"))
    found = total_excess({"latency_ratio": 0.75, "latency_ms": 12, "params_ratio": 0.1}, rows)
    assert found == pytest.approx(0.5 + 0.2)
