"""The search's environment on a network really trained: what it measures, what it remembers, what it cuts for good."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from deploycompress.capturing.capture import capture
from deploycompress.channels.trace import trace_channels
from deploycompress.evaluation import Evaluation
from deploycompress.execute.local import LocalEnvironment
from deploycompress.execute.local_settings import LocalSettings
from deploycompress.graph import Graph
from deploycompress.measuring.meter import Meter
from deploycompress.measuring.static import params
from deploycompress.network.module import from_torch, to_torch
from deploycompress.pipeline.task import read_data
from deploycompress.plan import Plan
from deploycompress.profile_files import load_profile
from deploycompress.search.space import Candidate
from deploycompress.store.memory import Memory
from deploycompress.surgery.blocks import blocks
from deploycompress.surgery.slim import slim
from deploycompress.train.distil_settings import DistilSettings, TaskData
from tests.digits import trained_digits_net

pytest.importorskip("sklearn", reason="scikit-learn has the digits (pip install deploycompress[demo])")

BLOCK = "conv2/residual"
HALF = Candidate(widths={"conv2": 16})
Make = Callable[..., LocalEnvironment]


@pytest.fixture(scope="module")
def teacher() -> Graph:
    return capture(trained_digits_net(), input_shape=(1, 1, 8, 8))


@pytest.fixture(scope="module")
def task(teacher: Graph) -> TaskData:
    return read_data(teacher, "digits#train", None, normalize=None, seed=0)[0]


@pytest.fixture(scope="module")
def meter() -> Iterator[Meter]:
    with Meter(load_profile("x86")) as one:
        yield one


@pytest.fixture
def make(teacher: Graph, task: TaskData, meter: Meter) -> Make:
    def made(memory: Memory | None = None) -> LocalEnvironment:
        channels = trace_channels(teacher)
        environment = LocalEnvironment(
            teacher,
            channels,
            blocks(teacher, channels=channels),
            task=task,
            meter=meter,
            settings=LocalSettings(recalibration_images=256, measure_seconds=0.0),
            memory=memory,
        )
        environment.advance_settings = DistilSettings(steps=30, checks=1)
        return environment

    return made


@pytest.fixture
def environment(make: Make) -> LocalEnvironment:
    return make()


def climbed(environment: LocalEnvironment, candidate: Candidate, *rungs: int) -> Evaluation:
    evaluation = environment.measure(candidate)
    for steps in rungs:
        evaluation = environment.judge(candidate, evaluation, steps)
    return evaluation


def test_scores_rank_all_channels_of_all_groups(environment: LocalEnvironment, teacher: Graph) -> None:
    scores = environment.scores()
    assert {name: len(row) for name, row in scores.items()} == {
        group.name: group.width for group in trace_channels(teacher).groups
    }
    assert all(score >= 0 and math.isfinite(score) for row in scores.values() for score in row)


def test_the_most_important_channels_stay(environment: LocalEnvironment) -> None:
    scores = np.array(environment.scores()["conv2"])
    kept = list(environment.plan(HALF).keep["conv2"])
    assert len(kept) == 16
    assert scores[kept].min() >= np.delete(scores, kept).max()


def test_metrics_are_those_of_the_slim_graph(environment: LocalEnvironment, teacher: Graph) -> None:
    metrics = environment.measure(HALF).metrics
    shipped = slim(teacher, environment.plan(HALF))
    by_hand = {"conv1": 9 * 32 + 32, "conv2": 9 * 32 * 16 + 16, "conv3": 9 * 16 * 32 + 32, "linear": 32 * 10 + 10}
    assert metrics["params"] == sum(by_hand.values())
    assert metrics["params"] < params(shipped)  # batch norm is folded before it is measured
    assert metrics["macs"] == 64 * (9 * 32 + 9 * 32 * 16 * 2) + 320
    assert "accuracy" not in metrics
    teachers = environment.measure(Candidate()).metrics
    assert {name: teachers[name] for name in ("params_ratio", "macs_ratio", "file_ratio", "activation_peak_ratio")} == {
        "params_ratio": 1,
        "macs_ratio": 1,
        "file_ratio": 1,
        "activation_peak_ratio": 1,
    }


def test_looking_at_students_leaves_the_current_one_alone(environment: LocalEnvironment) -> None:
    before, key = environment.scores(), environment.key(HALF)
    first = climbed(environment, HALF, 0, 5)
    climbed(environment, Candidate(remove=(BLOCK,)), 0, 5)
    assert environment.scores() == before
    assert environment.key(HALF) == key
    assert climbed(environment, HALF, 0, 5).climb == first.climb


def test_keys_tell_students_apart_and_candidates_that_lead_to_the_same_do_not(environment: LocalEnvironment) -> None:
    inside = Candidate(remove=(BLOCK,), widths={"conv2": 16})  # the block takes the group with it
    assert environment.key(inside) == environment.key(Candidate(remove=(BLOCK,)))
    assert environment.key(Candidate(widths={"conv2": 32})) == environment.key(Candidate())
    others = [Candidate(), HALF, Candidate(widths={"conv2": 8}), Candidate(remove=(BLOCK,)), Candidate(remove=("no",))]
    assert len({environment.key(one) for one in others}) == len(others)


def test_latency_is_measured_once_for_each_structure(environment: LocalEnvironment) -> None:
    environment.measure(HALF)
    first = environment.measure(HALF).metrics
    spent = environment.seconds["measure"]
    environment.advance(HALF, distils=False)  # other weights, the same structure
    again = environment.measure(HALF)
    assert again.metrics == first
    assert environment.measurements == 1
    assert environment.seconds["measure"] == spent
    environment.measure(Candidate(widths={"conv2": 8}))
    assert environment.measurements == 2


def test_a_refused_candidate_is_a_failure(environment: LocalEnvironment) -> None:
    for candidate in (Candidate(remove=("nothing",)), Candidate(widths={"conv2": 33})):
        evaluation = environment.measure(candidate)
        assert evaluation.is_degenerate
        assert evaluation.failure
        assert evaluation.metrics == {}
        assert environment.advance(candidate, distils=True).failure == evaluation.failure
    assert environment.measurements == 0


def test_training_helps_and_climbs_on_without_starting_anew(environment: LocalEnvironment) -> None:
    candidate = Candidate(widths={"conv1": 8, "conv2": 8})
    evaluation = climbed(environment, candidate, 0, 100)
    spent = environment.seconds["climb"]
    evaluation = environment.judge(candidate, evaluation, 300)
    assert len(evaluation.climb) == 3
    assert evaluation.climb[0] + 0.1 < evaluation.climb[2]
    assert evaluation.accuracy == evaluation.climb[-1]
    assert environment.seconds["climb"] > spent


def test_what_is_remembered_is_what_would_be_found(make: Make) -> None:
    """A search may be killed on any rung: what another environment climbs on to from memory is the same."""
    candidate, memory = Candidate(widths={"conv1": 8, "conv2": 8}), Memory()
    expected = climbed(make(), candidate, 0, 4, 8, 12)
    climbed(make(memory), candidate, 0, 4)
    other = make(memory)
    found = climbed(other, candidate, 0, 4)
    assert "climb" not in other.seconds
    assert "measure" not in other.seconds
    found = other.judge(candidate, other.judge(candidate, found, 8), 12)
    assert found.climb == expected.climb
    last = make(memory)
    assert climbed(last, candidate, 0, 4, 8, 12).climb == expected.climb
    assert "climb" not in last.seconds


def test_another_student_in_between_changes_nothing(make: Make) -> None:
    candidate, environment = Candidate(widths={"conv1": 8}), make()
    expected = climbed(make(), candidate, 0, 10).climb
    start = climbed(environment, candidate, 0)
    climbed(environment, HALF, 0, 10)
    assert environment.judge(candidate, start, 10).climb == expected


def test_another_ladder_is_not_answered_from_memory(environment: LocalEnvironment) -> None:
    candidate = Candidate(widths={"conv1": 8, "conv2": 8})
    climbed(environment, candidate, 0, 4, 12)
    spent = environment.seconds["climb"]
    climbed(environment, candidate, 0, 12)
    assert environment.seconds["climb"] > spent


def test_students_are_remade_with_the_weights_they_were_judged_with(
    environment: LocalEnvironment, teacher: Graph
) -> None:
    climbed(environment, HALF, 0)
    plan = environment.plan(HALF)
    environment.advance(Candidate(widths={"conv1": 16}), distils=True)
    assert _same(environment.student(plan), slim(teacher, plan))
    assert _same(environment.student(Plan()), teacher)


def test_a_student_that_was_never_trained_is_prepared(environment: LocalEnvironment, teacher: Graph) -> None:
    plan = environment.plan(HALF)
    prepared = environment.prepared(plan)
    raw = to_torch(slim(teacher, plan))
    assert environment.exact_accuracy(prepared) > environment.exact_accuracy(raw)


def test_the_next_round_is_cut_from_what_the_last_one_trained(environment: LocalEnvironment) -> None:
    first, then = Plan(remove=(BLOCK,)), environment.plan(Candidate(remove=(BLOCK,), widths={"conv1": 16}))
    module = environment.prepared(first)
    weights = module.state_dict()
    with torch.no_grad():
        weights["conv1.weight"].mul_(2.0)
    environment.go_on_from(first, module, 0.5, to=then)
    found = environment.student(then)
    assert np.allclose(found.weights["conv1.weight"], weights["conv1.weight"][list(then.keep["conv1"])])


def test_each_of_three_rounds_is_cut_from_the_one_before(environment: LocalEnvironment) -> None:
    plans = [Plan(remove=(BLOCK,)), Plan(remove=(BLOCK,), keep={"conv1": tuple(range(24))})]
    last = Plan(remove=(BLOCK,), keep={"conv1": tuple(range(16))})
    for plan, following in zip(plans, [plans[1], last], strict=True):
        module = environment.prepared(plan)
        with torch.no_grad():
            module.state_dict()["conv1.weight"].fill_(float(len(plan.keep) + 2))
        environment.go_on_from(plan, module, 0.5, to=following)
    assert np.all(environment.student(last).weights["conv1.weight"] == 3.0)
    environment.prepared(last)
    assert environment.refitted is None, "after a round there is no teacher to fit layers to"


def _same(graph: Graph, other: Graph) -> bool:
    return graph.weights.keys() == other.weights.keys() and all(
        np.array_equal(graph.weights[name], other.weights[name]) for name in graph.weights
    )


def test_advance_distils_and_cuts_for_good(environment: LocalEnvironment, teacher: Graph) -> None:
    plan = environment.plan(HALF)
    sampled = climbed(environment, HALF, 0)
    advanced = environment.advance(HALF, distils=True)
    assert advanced.accuracy is not None
    assert sampled.accuracy is not None
    assert advanced.accuracy >= sampled.accuracy - 0.02
    assert advanced.climb == ()
    assert advanced.seconds["distil"] > 0
    scores = environment.scores()["conv2"]
    assert {index for index, score in enumerate(scores) if score != -math.inf} == set(plan.keep["conv2"])
    student = environment.student(plan)
    assert _same(from_torch(environment.prepared(plan)), student), "a trained student keeps its own statistics"
    assert environment.exact_accuracy(to_torch(student)) == pytest.approx(advanced.accuracy, abs=0.01)
    assert not _same(student, slim(teacher, plan))


def test_blocks_and_channels_go_for_good_together_and_smaller_students_follow(
    environment: LocalEnvironment, teacher: Graph
) -> None:
    first = Candidate(remove=(BLOCK,), widths={"conv1": 16})
    plan = environment.plan(first)
    advanced = environment.advance(first, distils=True)
    left = {index for index, score in enumerate(environment.scores()["conv1"]) if score != -math.inf}
    assert left == set(plan.keep["conv1"])
    assert environment.plan(first) == plan
    assert environment.exact_accuracy(to_torch(environment.student(plan))) == pytest.approx(
        advanced.accuracy or 0.0, abs=0.01
    )
    smaller = replace(first, widths={"conv1": 8})
    assert set(environment.plan(smaller).keep["conv1"]) < left
    assert not environment.measure(smaller).failure
    assert climbed(environment, smaller, 0).accuracy is not None
    wider = environment.measure(replace(first, widths={"conv1": 24}))
    assert "plans can only shrink" in wider.failure
    again = environment.advance(smaller, distils=False)
    assert sum(score > -math.inf for score in environment.scores()["conv1"]) == 8
    assert again.metrics["params"] < advanced.metrics["params"] < params(teacher)


@pytest.mark.parametrize("distils", [True, False])
def test_without_distillation_a_student_is_cut_and_starts_a_climb(environment: LocalEnvironment, distils: bool) -> None:
    if distils:
        environment.advance_settings = None
    expected = climbed(environment, HALF, 0)
    advanced = environment.advance(HALF, distils=distils)
    assert advanced.climb == expected.climb
    assert advanced.accuracy == expected.accuracy
    assert "distil" not in advanced.seconds
    assert sum(score > -math.inf for score in environment.scores()["conv2"]) == 16
    recalibrated = to_torch(slim(environment.student(Plan()), environment.plan(HALF)))
    environment.recalibrate(recalibrated)
    assert _close(environment.student(environment.plan(HALF)), from_torch(recalibrated))


def _close(graph: Graph, other: Graph) -> bool:
    return all(np.allclose(graph.weights[name], other.weights[name], atol=1e-5) for name in graph.weights)


def test_seconds_are_of_one_evaluation_and_add_up(environment: LocalEnvironment) -> None:
    before = dict(environment.seconds)
    parts = [climbed(environment, HALF, 0, 3, 6), climbed(environment, Candidate(remove=(BLOCK,)), 0)]
    for stage in ("measure", "recover", "climb", "accuracy"):
        total = sum(part.seconds.get(stage, 0.0) for part in parts)
        assert total == pytest.approx(environment.seconds[stage] - before.get(stage, 0.0))


def test_the_best_so_far_teaches(environment: LocalEnvironment) -> None:
    teacher = environment.guide
    environment.advance_settings = DistilSettings(steps=100, checks=1)
    advanced = environment.advance(Candidate(widths={"conv2": 31}), distils=True)
    assert advanced.accuracy is not None
    assert (environment.guide is not teacher) == (advanced.accuracy > environment.teacher_accuracy)
