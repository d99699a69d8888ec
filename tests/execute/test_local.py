"""The search's environment on a network really trained: what it measures, what it keeps, what it refuses to spend."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest

from deploycompress.capturing.capture import capture
from deploycompress.channels.trace import trace_channels
from deploycompress.execute.local import LocalEnvironment, LocalSettings
from deploycompress.graph import Graph
from deploycompress.measuring.meter import Meter
from deploycompress.measuring.static import params
from deploycompress.pipeline.job import read_data
from deploycompress.plan import Plan
from deploycompress.profile import load_profile
from deploycompress.surgery.slim import slim
from deploycompress.train.distil_settings import DistilSettings
from tests.digits import trained_digits_net

pytest.importorskip("sklearn", reason="scikit-learn has the digits (pip install deploycompress[demo])")


@pytest.fixture(scope="module")
def teacher() -> Graph:
    return capture(trained_digits_net(), input_shape=(1, 1, 8, 8))


@pytest.fixture
def environment(teacher: Graph) -> Iterator[LocalEnvironment]:
    task, _ = read_data(teacher, "digits#train", None, normalize=None, seed=0)
    with Meter(load_profile("x86")) as meter:
        made = LocalEnvironment(
            teacher,
            trace_channels(teacher),
            task=task,
            meter=meter,
            settings=LocalSettings(recalibration_images=256, measure_seconds=0.0),
        )
        made.advance_settings = DistilSettings(steps=30, checks=1)
        yield made


def test_scores_rank_all_channels_of_all_groups(environment: LocalEnvironment, teacher: Graph) -> None:
    scores = environment.scores()
    assert {name: len(row) for name, row in scores.items()} == {
        group.name: group.width for group in trace_channels(teacher).groups
    }
    assert all(score >= 0 and math.isfinite(score) for row in scores.values() for score in row)


def test_evaluation_leaves_the_current_student_alone(environment: LocalEnvironment) -> None:
    before = environment.scores()
    plan = Plan(keep={"conv2": tuple(range(16))})
    first = environment.evaluate(plan, lambda _: True)
    second = environment.evaluate(plan, lambda _: True)
    assert environment.scores() == before
    assert first.accuracy == second.accuracy
    assert first.accuracy is not None
    assert first.metrics["params_ratio"] < 1


def test_accuracy_is_not_taken_unless_worth_it(environment: LocalEnvironment) -> None:
    seen: list[float] = []

    def refuse(metrics: object) -> bool:
        seen.append(dict(metrics)["latency_ratio"])  # type: ignore[call-overload]  # a mapping, as the protocol has it
        return False

    evaluation = environment.evaluate(Plan(keep={"conv2": (0, 1, 2)}), refuse)
    assert evaluation.accuracy is None
    assert seen == [evaluation.metrics["latency_ratio"]]
    assert "recover" not in evaluation.seconds


def test_advance_distils_and_cuts_for_good(environment: LocalEnvironment, teacher: Graph) -> None:
    kept = tuple(range(0, 32, 2))
    plan = Plan(keep={"conv2": kept})
    sampled = environment.evaluate(plan, lambda _: True)
    advanced = environment.advance(plan, lambda _: True)
    assert advanced.accuracy is not None
    assert sampled.accuracy is not None
    assert advanced.accuracy >= sampled.accuracy - 0.02
    scores = environment.scores()["conv2"]
    assert {index for index, score in enumerate(scores) if score != -math.inf} == set(kept)
    student = environment.student(plan)
    untrained = slim(teacher, plan)
    assert params(student) == params(untrained)
    assert any(not np.array_equal(student.weights[name], untrained.weights[name]) for name in student.weights)


def test_student_has_the_weights_it_was_evaluated_with(environment: LocalEnvironment, teacher: Graph) -> None:
    uniform, deeper = Plan(keep={"conv2": tuple(range(16))}), Plan(keep={"conv2": tuple(range(16, 32))})
    environment.evaluate(uniform, lambda _: True)
    environment.advance(deeper, lambda _: True)
    # The current student has been trained since, but the uniform plan was judged with the teacher's weights.
    expected = slim(teacher, uniform)
    student = environment.student(uniform)
    assert all(np.array_equal(student.weights[name], expected.weights[name]) for name in expected.weights)
    assert environment.was_distilled(deeper)
    assert not environment.was_distilled(uniform)


def test_plan_that_breaks_a_hard_constraint_is_cut_but_not_trained(environment: LocalEnvironment) -> None:
    plan = Plan(keep={"conv2": tuple(range(16))})
    evaluation = environment.advance(plan, lambda _: False)
    assert "distil" not in evaluation.seconds
    assert not environment.was_distilled(plan)
    assert evaluation.accuracy is not None
    assert sum(score > -math.inf for score in environment.scores()["conv2"]) == 16


def test_latency_is_measured_once_per_widths(environment: LocalEnvironment) -> None:
    environment.evaluate(Plan(keep={"conv2": tuple(range(16))}), lambda _: False)
    environment.evaluate(Plan(keep={"conv2": tuple(range(16, 32))}), lambda _: False)
    assert environment.measurements == 1
