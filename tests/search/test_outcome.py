"""Which student is recommended."""

from __future__ import annotations

import pytest

from deploycompress.constraint import parse_constraint
from deploycompress.evaluation import Evaluation
from deploycompress.plan import Plan
from deploycompress.search.engine import Kind, Proposal, StopReason
from deploycompress.search.outcome import TraceEntry, best_few, best_of, is_feasible
from deploycompress.search.reward import RewardSettings
from deploycompress.search.space import Candidate

HALF = RewardSettings(constraints=(parse_constraint("latency_ratio <= 0.5"),))


def entry(
    kind: Kind, accuracy: float | None, latency: float, *, failure: str = "", climb: tuple[float, ...] = ()
) -> TraceEntry:
    metrics = {"latency_ratio": latency} | ({} if accuracy is None else {"accuracy": accuracy})
    return TraceEntry(
        key=f"{kind} {accuracy} {latency}",
        proposal=Proposal(candidate=Candidate(), kind=kind),
        plan=Plan(),
        evaluation=Evaluation(metrics=metrics, teacher_accuracy=0.95, failure=failure, climb=climb),
        reward=0.0,
    )


def test_an_advanced_student_wins_over_any_sample() -> None:
    trace = [entry(Kind.SAMPLE, 0.95, 0.4), entry(Kind.ADVANCE, 0.80, 0.4), entry(Kind.ADVANCE, 0.85, 0.6)]
    assert best_of(trace, HALF) is trace[1]


def test_the_advanced_student_with_the_highest_reward_wins_and_of_equals_the_later() -> None:
    trace = [entry(Kind.ADVANCE, accuracy, 0.4) for accuracy in (0.8, 0.9, 0.9, 0.7)]
    assert best_of(trace, HALF) is trace[2]


def test_of_samples_those_that_climbed_highest_are_compared() -> None:
    trace = [
        entry(Kind.SAMPLE, 0.95, 0.4, climb=(0.95,)),
        entry(Kind.SAMPLE, 0.70, 0.4, climb=(0.5, 0.70)),
        entry(Kind.SAMPLE, 0.75, 0.4, climb=(0.5, 0.75)),
        entry(Kind.SAMPLE, 0.99, 0.6, climb=(0.5, 0.8, 0.99)),
    ]
    assert best_of(trace, HALF) is trace[2]


def test_without_a_feasible_advanced_student_the_best_feasible_sample_wins() -> None:
    trace = [entry(Kind.SAMPLE, 0.7, 0.5), entry(Kind.SAMPLE, 0.8, 0.5), entry(Kind.ADVANCE, 0.9, 0.6)]
    assert best_of(trace, HALF) is trace[1]


def test_without_a_feasible_student_the_smallest_excess_wins_and_failures_never() -> None:
    trace = [
        entry(Kind.SAMPLE, 0.9, 0.9),
        entry(Kind.ADVANCE, None, 0.6),
        entry(Kind.SAMPLE, 0.9, 0.1, failure="hung"),
    ]
    assert best_of(trace, HALF) is trace[1]
    assert best_of(trace[2:], HALF) is None
    assert best_of([], HALF) is None


def test_a_student_of_unknown_accuracy_is_not_feasible() -> None:
    trace = [entry(Kind.SAMPLE, None, 0.1), entry(Kind.SAMPLE, 0.2, 0.5)]
    assert [is_feasible(one.evaluation, HALF) for one in trace] == [False, True]
    assert best_of(trace, HALF) is trace[1]


def test_tolerance_does_not_recommend() -> None:
    trace = [entry(Kind.SAMPLE, 0.2, 0.5), entry(Kind.SAMPLE, 0.9, 0.51)]
    assert best_of(trace, HALF) is trace[0]


@pytest.mark.parametrize("reason", StopReason)
def test_every_reason_has_a_sentence(reason: StopReason) -> None:
    assert reason.sentence.startswith("The search ")
    assert reason.sentence.endswith(".")


def test_the_best_few_are_feasible_different_and_in_order() -> None:
    trace = [entry(Kind.SAMPLE, accuracy, 0.4) for accuracy in (0.7, 0.9, 0.8, 0.9)]
    trace.append(entry(Kind.SAMPLE, 0.99, 0.6))
    found = best_few(trace, HALF, 3)
    assert [one.evaluation.accuracy for one in found] == [0.9, 0.8, 0.7]
    assert found[0] is best_of(trace, HALF) is trace[3]
    assert best_few(trace, HALF, 1) == found[:1]
    assert best_few(trace[-1:], HALF, 3) == ()


def test_the_best_few_were_all_trained_alike() -> None:
    trace = [
        entry(Kind.SAMPLE, 0.95, 0.4, climb=(0.95,)),
        entry(Kind.SAMPLE, 0.70, 0.4, climb=(0.5, 0.70)),
        entry(Kind.SAMPLE, 0.60, 0.3, climb=(0.5, 0.60)),
    ]
    assert best_few(trace, HALF, 3) == (trace[1], trace[2])
