"""Students that a search has advanced to come back from their files as they were."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from deploycompress.capturing.capture import capture
from deploycompress.channels.trace import trace_channels
from deploycompress.errors import UsageError
from deploycompress.evaluation import Evaluation
from deploycompress.execute.local import LocalEnvironment
from deploycompress.execute.local_settings import LocalSettings
from deploycompress.graph import Graph
from deploycompress.measuring.meter import Meter
from deploycompress.network.module import from_torch
from deploycompress.pipeline.task import read_data
from deploycompress.profile_files import load_profile
from deploycompress.search.space import Candidate
from deploycompress.store.memory import Memory
from deploycompress.surgery.blocks import blocks
from deploycompress.train.distil_settings import DistilSettings, TaskData
from tests.digits import trained_digits_net

pytest.importorskip("sklearn", reason="scikit-learn has the digits (pip install deploycompress[demo])")

FIRST = Candidate(widths={"conv1": 24})
SECOND = Candidate(widths={"conv1": 24, "conv2": 16})
NEXT = (
    Candidate(widths={"conv1": 16, "conv2": 16}),
    Candidate(widths={"conv1": 24, "conv2": 8}),
    Candidate(remove=("conv2/residual",), widths={"conv1": 8}),
)
Make = Callable[[Graph], LocalEnvironment]


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


@pytest.fixture(scope="module")
def make(task: TaskData, meter: Meter) -> Make:
    memory = Memory()  # latencies are those of the first measurement

    def made(graph: Graph) -> LocalEnvironment:
        channels = trace_channels(graph)
        settings = LocalSettings(recalibration_images=256, measure_seconds=0.0)
        offered = blocks(graph, channels=channels)
        environment = LocalEnvironment(
            graph, channels, offered, task=task, meter=meter, settings=settings, memory=memory
        )
        environment.advance_settings = DistilSettings(steps=40, checks=1)
        return environment

    return made


class Interrupted:
    """A search that advanced twice and was judged in between, and what it wrote of its students."""

    def __init__(self, environment: LocalEnvironment, *, distils: bool) -> None:
        self.environment = environment
        self.kept = []
        for candidate in (FIRST, SECOND):
            self.climbed(candidate)
            environment.advance(candidate, distils=distils)
            self.kept.append(environment.checkpoint())

    def climbed(self, candidate: Candidate) -> Evaluation:
        return self.environment.judge(candidate, self.environment.measure(candidate), 0)


@pytest.fixture(scope="module", params=[True, False], ids=["distilled", "cut only"])
def interrupted(request: pytest.FixtureRequest, make: Make, teacher: Graph) -> Interrupted:
    return Interrupted(make(teacher), distils=request.param)


@pytest.fixture(scope="module")
def restored(interrupted: Interrupted, make: Make, teacher: Graph) -> LocalEnvironment:
    environment = make(teacher)
    for content in interrupted.kept:
        environment.restore(content)
    return environment


def test_scores_keys_and_plans_are_the_same(interrupted: Interrupted, restored: LocalEnvironment) -> None:
    environment = interrupted.environment
    assert restored.scores() == environment.scores()
    assert -np.inf in restored.scores()["conv1"]
    for candidate in (SECOND, *NEXT):
        assert restored.key(candidate) == environment.key(candidate)
        assert restored.plan(candidate) == environment.plan(candidate)
        assert (
            restored.student(restored.plan(candidate)).digest()
            == environment.student(environment.plan(candidate)).digest()
        )


def test_the_best_so_far_teaches_again(interrupted: Interrupted, restored: LocalEnvironment) -> None:
    environment = interrupted.environment
    assert restored.exact_accuracy(restored.guide) == environment.exact_accuracy(environment.guide)
    ready = environment.prepared(environment.plan(SECOND))
    again = restored.prepared(restored.plan(SECOND))
    assert from_torch(again).digest() == from_torch(ready).digest(), "statistics taken anew by both or by neither"


def test_the_next_advance_leads_to_the_same_student(make: Make, teacher: Graph) -> None:
    """Also when a student that teaches was restored: who distils what, and with which random numbers."""
    whole = Interrupted(make(teacher), distils=True)
    again = make(teacher)
    for content in whole.kept:
        again.restore(content)
    expected, found = (one.advance(NEXT[0], distils=True) for one in (whole.environment, again))
    assert found.metrics == expected.metrics
    assert again.scores() == whole.environment.scores()
    assert again.key(NEXT[0]) == whole.environment.key(NEXT[0])


def test_plans_keep_the_weights_they_were_judged_with(make: Make, teacher: Graph) -> None:
    environment, again = make(teacher), make(teacher)
    environment.advance(FIRST, distils=True)
    environment.judge(NEXT[0], environment.measure(NEXT[0]), 0)
    plan, first = environment.plan(NEXT[0]), environment.checkpoint()
    environment.advance(SECOND, distils=True)
    again.restore(first)
    again.recall(plan)
    again.restore(environment.checkpoint())
    assert again.student(plan).digest() == environment.student(plan).digest()
    assert again.student(plan).digest() != make(teacher).student(plan).digest()


def test_damaged_bytes_are_refused(interrupted: Interrupted, make: Make, teacher: Graph) -> None:
    whole, environment = interrupted.kept[-1], make(teacher)
    before = environment.key(NEXT[0])
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    for content in (b"", b"PK", b"not a file of arrays", whole[:-1], whole[: len(whole) // 2], bytes(flipped)):
        with pytest.raises(UsageError, match=r"kept student cannot be read.*start the run anew"):
            environment.restore(content)
    assert environment.key(NEXT[0]) == before


def test_a_student_of_another_teacher_is_refused(interrupted: Interrupted, make: Make) -> None:
    other = make(capture(trained_digits_net(width=16, steps=5), input_shape=(1, 1, 8, 8)))
    with pytest.raises(UsageError, match="of another model"):
        other.restore(interrupted.kept[-1])
