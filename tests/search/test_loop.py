"""When a search ends, what it recommends, and what it does not pay for twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from deploycompress.constraint import parse_constraint
from deploycompress.evaluation import Evaluation
from deploycompress.plan import Plan
from deploycompress.search import rl_pruner
from deploycompress.search.engine import Kind, Proposal, StopReason
from deploycompress.search.loop import run
from deploycompress.search.outcome import SearchOutcome, TraceEntry, best_of
from deploycompress.search.reward import RewardSettings
from deploycompress.search.rl_pruner import RlPrunerSettings, State
from deploycompress.search.schedules import Annealing
from tests.search.toy import TEACHER_ACCURACY, ToyEnvironment, ignore, make_space, never

SHORT = RlPrunerSettings(steps=4, step_sparsity=0.1, stages=3, samples=3)


def limited(expression: str, annealing: Annealing = Annealing.LINEAR) -> RewardSettings:
    return RewardSettings(constraints=(parse_constraint(expression),), annealing=annealing)


def search(
    rewards: RewardSettings,
    chosen: RlPrunerSettings = SHORT,
    *,
    quantum: int = 1,
    should_stop: Callable[[], bool] = never,
    limit: int | None = None,
) -> tuple[SearchOutcome[State], ToyEnvironment]:
    environment = ToyEnvironment(make_space([16, 32, 32], quantum), [0.5, 0.1, 0.02])
    state = rl_pruner.init(environment.space, chosen, rewards, 0, environment.scores())
    outcome = run(
        rl_pruner,
        state,
        environment,
        should_stop=should_stop,
        on_evaluation=ignore,
        max_evaluations=limit,
    )
    return outcome, environment


def entry(kind: Kind, accuracy: float | None, latency: float, keep: int, *, failure: str = "") -> TraceEntry:
    metrics = {"latency_ratio": latency} | ({} if accuracy is None else {"accuracy": accuracy})
    return TraceEntry(
        proposal=Proposal(kind=kind, plan=Plan(keep={"g": tuple(range(keep))}), progress=1.0, step=0),
        evaluation=Evaluation(metrics=metrics, teacher_accuracy=TEACHER_ACCURACY, failure=failure),
        reward=0.0,
    )


def test_steps_follow_until_the_constraint_is_met() -> None:
    outcome, environment = search(limited("latency_ratio <= 0.35"))
    assert outcome.reason is StopReason.FINISHED
    assert outcome.is_feasible
    assert outcome.trace[-1].proposal.step == 6  # 4 planned steps leave 0.6 of the channels, three more are needed
    assert outcome.plan is not None
    assert environment.channel_ratio(outcome.plan) <= 0.35


def test_a_constraint_nobody_can_meet_ends_with_the_nearest_student_marked_infeasible() -> None:
    outcome, environment = search(limited("latency_ratio <= 0.001"))
    assert outcome.reason is StopReason.EXHAUSTED
    assert not outcome.is_feasible
    assert outcome.plan is not None
    assert set(outcome.plan.widths().values()) == {1}
    assert environment.channel_ratio(outcome.plan) == min(
        environment.channel_ratio(entry.proposal.plan) for entry in outcome.trace
    )


def test_a_search_may_end_with_the_first_distilled_student_that_meets_everything() -> None:
    outcome, _ = search(limited("latency_ratio <= 0.85"), replace(SHORT, stop_when_met=True))
    assert outcome.trace[-1].proposal.step == 1
    assert outcome.is_feasible


def test_plans_that_break_a_hard_constraint_are_not_trained() -> None:
    outcome, environment = search(limited("latency_ratio <= 0.55", Annealing.HARD))
    samples = [entry for entry in outcome.trace if entry.proposal.kind is Kind.SAMPLE]
    good = [entry for entry in samples if entry.evaluation.metrics["latency_ratio"] <= 0.55]
    assert 0 < len(good) < len(samples)
    assert environment.trained == len(good)
    assert all((entry.evaluation.accuracy is not None) == (entry in good) for entry in samples)


def test_the_evaluation_limit_holds_and_the_best_so_far_is_given() -> None:
    outcome, environment = search(RewardSettings(), limit=5)
    assert outcome.reason is StopReason.EVALUATIONS
    assert outcome.evaluations == len(environment.calls) == 5
    assert outcome.evaluation is not None
    assert outcome.evaluation.accuracy == max(entry.evaluation.accuracy or 0 for entry in outcome.trace)


def test_a_request_to_stop_gives_the_best_distilled_student_so_far() -> None:
    answers = iter([False] * 14 + [True])
    outcome, environment = search(RewardSettings(), should_stop=lambda: next(answers))
    advanced = [plan for kind, plan in environment.calls if kind == "advance"]
    assert outcome.reason is StopReason.STOPPED
    assert outcome.plan is not None
    assert [outcome.plan.to_json()] == advanced


def test_stopping_before_anything_was_evaluated_recommends_nothing() -> None:
    outcome, environment = search(RewardSettings(), should_stop=lambda: True)
    assert (outcome.plan, outcome.evaluation, outcome.is_feasible, environment.calls) == (None, None, False, [])


def test_samples_that_round_to_the_same_plan_are_evaluated_once_per_student() -> None:
    outcome, environment = search(RewardSettings(), quantum=8)
    assert outcome.reason is StopReason.FINISHED
    per_student: list[list[str]] = [[]]
    for kind, plan in environment.calls:
        per_student.append([]) if kind == "advance" else per_student[-1].append(plan)
    assert all(len(set(plans)) == len(plans) for plans in per_student)
    assert outcome.evaluations < SHORT.evaluations


@pytest.mark.parametrize("reason", StopReason)
def test_every_reason_has_a_sentence(reason: StopReason) -> None:
    assert reason.sentence.startswith("The search ")
    assert reason.sentence.endswith(".")


def test_a_distilled_student_wins_over_any_sample() -> None:
    trace = [entry(Kind.SAMPLE, 0.95, 0.4, 3), entry(Kind.ADVANCE, 0.80, 0.4, 2), entry(Kind.ADVANCE, 0.85, 0.6, 1)]
    assert best_of(trace, limited("latency_ratio <= 0.5")) is trace[1]


def test_the_distilled_student_with_the_highest_reward_wins_and_of_equals_the_later() -> None:
    trace = [entry(Kind.ADVANCE, accuracy, 0.4, 9 - n) for n, accuracy in enumerate((0.8, 0.9, 0.9, 0.7))]
    assert best_of(trace, limited("latency_ratio <= 0.5")) is trace[2]


def test_without_a_feasible_distilled_student_the_best_feasible_sample_wins() -> None:
    trace = [entry(Kind.SAMPLE, 0.7, 0.5, 3), entry(Kind.SAMPLE, 0.8, 0.5, 2), entry(Kind.ADVANCE, 0.9, 0.6, 4)]
    assert best_of(trace, limited("latency_ratio <= 0.5")) is trace[1]


def test_without_a_feasible_student_the_smallest_excess_wins_and_failures_never() -> None:
    trace = [
        entry(Kind.SAMPLE, 0.9, 0.9, 3),
        entry(Kind.ADVANCE, None, 0.6, 2),
        entry(Kind.SAMPLE, 0.9, 0.1, 1, failure="hung"),
    ]
    assert best_of(trace, limited("latency_ratio <= 0.5")) is trace[1]
    assert best_of(trace[2:], limited("latency_ratio <= 0.5")) is None


def test_a_student_of_unknown_accuracy_is_not_feasible() -> None:
    trace = [entry(Kind.SAMPLE, None, 0.1, 1), entry(Kind.SAMPLE, 0.2, 0.5, 2)]
    assert best_of(trace, limited("latency_ratio <= 0.5")) is trace[1]
