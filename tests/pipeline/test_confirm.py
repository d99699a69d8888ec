"""A student that one short measurement flattered does not win.

Noise cannot be made at will, so the environment gives real records with latencies chosen by the test.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

import pytest

from deploycompress.constraint import parse_constraint
from deploycompress.evaluation import Evaluation, Evidence
from deploycompress.execute.local import LocalEnvironment
from deploycompress.measuring.devices import open_devices
from deploycompress.measuring.failure import FailedMeasurementError, FailureKind
from deploycompress.measuring.measurement import Measurement
from deploycompress.pipeline.budget import Stopwatch
from deploycompress.pipeline.confirm import confirmed
from deploycompress.pipeline.job import Job, prepare
from deploycompress.plan import Plan
from deploycompress.search.engine import Proposal
from deploycompress.search.outcome import TraceEntry
from deploycompress.search.reward import RewardSettings
from deploycompress.search.space import Candidate
from tests.digits import trained_digits_net
from tests.pipeline.test_request_file import REQUEST

pytest.importorskip("sklearn", reason="scikit-learn has the digits (pip install deploycompress[demo])")

STARTS, ROUNDS, TEACHER_NS = 7, 8, 1_000_000


class Chosen:
    """Measures nothing: each student takes what was chosen for it, of the teacher's time, or fails.

    Where a first reading was chosen, too, that is what every other process of it says.
    """

    def __init__(self, real: Measurement, ratios: Mapping[str, float], **first: float) -> None:
        self.real, self.ratios, self.first = real, ratios, first
        self.asked: list[str] = []

    def measure_thoroughly(self, plan: Plan, **_: object) -> tuple[dict[str, float], Measurement]:
        (name,) = plan.remove
        self.asked.append(name)
        if name not in self.ratios:
            raise FailedMeasurementError(FailureKind.INCONCLUSIVE, "too busy")
        usual = self.ratios[name]
        other = self.first.pop(name, usual)
        starts = [(int((other if start % 2 else usual) * TEACHER_NS),) for start in range(STARTS)]
        found = replace(
            self.real,
            starts=(ROUNDS,) * STARTS,
            student_ns=tuple(taken for taken in starts for _ in range(ROUNDS)),
            baseline_ns=((TEACHER_NS,),) * STARTS * ROUNDS,
        )
        return found.metrics(), found


@pytest.fixture(scope="module")
def job() -> Job:
    return prepare(
        replace(
            REQUEST, source=trained_digits_net(steps=5), data="digits#train", test_data=None, normalize=None,
            precision=None, search="joint", policy=None, settings=(), targets=(), input_shape=(1, 1, 8, 8),
        )
    )  # fmt: skip


@pytest.fixture(scope="module")
def real(job: Job) -> Measurement:
    with open_devices(job.profile, (), job.progress.warning) as devices:
        return devices.measure(job.teacher, baseline=job.teacher, max_seconds=0.0)


def _trace(settings: RewardSettings) -> list[TraceEntry]:
    accuracies = {"best": 0.9, "second": 0.8, "third": 0.7}
    return [
        TraceEntry(
            key=name,
            proposal=Proposal(candidate=Candidate()),
            plan=Plan(remove=(name,)),
            evaluation=Evaluation(metrics={"accuracy": accuracy, "latency_ratio": 0.48}, teacher_accuracy=0.95),
            reward=accuracy,
        )
        for name, accuracy in accuracies.items()
    ]


@pytest.mark.parametrize(
    ("ratios", "count", "wins", "asked"),
    [
        ({"best": 0.48}, 1, ["best"], ["best"]),
        ({"best": 0.54, "second": 0.49}, 1, ["second"], ["best", "second"]),
        ({"second": 0.49}, 1, ["second"], ["best", "second"]),  # the best cannot be measured
        ({"best": 0.45, "second": 0.54, "third": 0.4}, 2, ["best", "third"], ["best", "second", "third"]),
        ({"best": 0.54, "second": 0.6, "third": 0.51}, 1, ["third"], ["best", "second", "third"]),  # the nearest
    ],
)
def test_the_best_that_is_shown_to_meet_the_limit_wins(
    job: Job, real: Measurement, ratios: dict[str, float], count: int, wins: list[str], asked: list[str]
) -> None:
    job = replace(job, clock=Stopwatch(None))
    settings, environment = RewardSettings(constraints=job.constraints), Chosen(real, ratios)
    found = confirmed(job, cast(LocalEnvironment, environment), _trace(settings), settings, count)
    assert [entry.key for entry in found] == wins
    assert environment.asked == asked


def test_where_all_were_flattered_alike_the_next_has_room_for_it(job: Job, real: Measurement) -> None:
    job = replace(job, clock=Stopwatch(None))
    settings = RewardSettings(constraints=job.constraints)
    read = {"best": 0.48, "second": 0.47, "third": 0.42}
    trace = [
        replace(
            entry,
            evaluation=replace(
                entry.evaluation, metrics={**entry.evaluation.metrics, "latency_ratio": read[entry.key]}
            ),
        )
        for entry in _trace(settings)
    ]
    environment = Chosen(real, {name: 1.1 * ratio for name, ratio in read.items()})
    found = confirmed(job, cast(LocalEnvironment, environment), trace, settings, 1)
    assert [entry.key for entry in found] == ["third"]
    assert environment.asked == ["best", "third"]


def test_a_student_of_whom_noise_says_both_is_measured_once_more(job: Job, real: Measurement) -> None:
    job = replace(job, clock=Stopwatch(None))
    settings = RewardSettings(constraints=job.constraints)
    environment = Chosen(real, {"best": 0.48, "second": 0.4}, best=0.54)
    found = confirmed(job, cast(LocalEnvironment, environment), _trace(settings), settings, 1)
    assert [entry.key for entry in found] == ["best"]
    assert environment.asked == ["best", "best"]


def test_without_time_the_searchs_own_word_counts(job: Job, real: Measurement) -> None:
    job = replace(job, clock=Stopwatch(0.0))
    settings, environment = RewardSettings(constraints=job.constraints), Chosen(real, {})
    found = confirmed(job, cast(LocalEnvironment, environment), _trace(settings), settings, 1)
    assert [entry.key for entry in found] == ["best"]
    assert environment.asked == []


def test_a_stand_in_for_the_device_still_tells_the_best_from_the_rest(job: Job, real: Measurement) -> None:
    limit = parse_constraint("latency_ms <= 0.5")
    job = replace(job, clock=Stopwatch(None), constraints=(limit,))
    proxy = replace(real, conditions=replace(real.conditions, evidence=Evidence.PROXY))
    environment = Chosen(proxy, {"best": 0.6, "second": 0.4, "third": 0.3})
    trace = [
        replace(entry, evaluation=replace(entry.evaluation, metrics={**entry.evaluation.metrics, "latency_ms": 0.4}))
        for entry in _trace(RewardSettings())
    ]
    found = confirmed(job, cast(LocalEnvironment, environment), trace, RewardSettings(constraints=(limit,)), 1)
    assert [entry.key for entry in found] == ["second"]
