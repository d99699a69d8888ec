"""A teacher that is suddenly slow says that something else uses the machine: then a student is measured again.

The disturbance cannot be made at will, so the meter gives real records with latencies chosen by the test.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import pytest

from deploycompress.capturing.capture import capture
from deploycompress.channels.trace import trace_channels
from deploycompress.execute.local import LocalEnvironment
from deploycompress.execute.local_settings import LocalSettings
from deploycompress.execute.student_meter import ATTEMPTS, PATIENCE
from deploycompress.graph import Graph
from deploycompress.measuring.measurement import Measurement
from deploycompress.measuring.meter import Meter
from deploycompress.pipeline.task import read_data
from deploycompress.profile_files import load_profile
from deploycompress.search.space import Candidate
from deploycompress.surgery.blocks import blocks
from deploycompress.train.distil_settings import TaskData
from tests.digits import trained_digits_net

pytest.importorskip("sklearn", reason="scikit-learn has the digits (pip install deploycompress[demo])")

HALF, QUARTER = Candidate(widths={"conv2": 16}), Candidate(widths={"conv2": 8})
SECONDS = 0.1
NS_PER_MS = 1_000_000


@pytest.fixture(autouse=True)
def _without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploycompress.execute.student_meter.PAUSE_S", 0.0)


@pytest.fixture(scope="module")
def teacher() -> Graph:
    return capture(trained_digits_net(steps=5), input_shape=(1, 1, 8, 8))


@pytest.fixture(scope="module")
def task(teacher: Graph) -> TaskData:
    return read_data(teacher, "digits#train", None, normalize=None, seed=0)[0]


@pytest.fixture(scope="module")
def real(teacher: Graph) -> Measurement:
    with Meter(load_profile("x86")) as meter:
        return meter.measure(teacher, baseline=teacher, max_seconds=0.0)


class ChosenLatencies:
    """Measures nothing: student and teacher take, one measurement after the other, what was chosen."""

    def __init__(self, real: Measurement, pairs_ms: Sequence[tuple[int, int]]) -> None:
        self.real, self.pairs_ms = real, iter(pairs_ms)
        self.asked_s: list[float] = []

    def measure(self, student: Graph, *, baseline: Graph | None = None, max_seconds: float) -> Measurement:
        del student
        if baseline is None:
            return self.real
        self.asked_s.append(max_seconds)
        student_ms, baseline_ms = next(self.pairs_ms)
        student_ns, baseline_ns = ((student_ms * NS_PER_MS,),), ((baseline_ms * NS_PER_MS,),)
        return replace(self.real, starts=(1,), student_ns=student_ns, baseline_ns=baseline_ns)


def environment(
    teacher: Graph, task: TaskData, real: Measurement, *pairs_ms: tuple[int, int]
) -> tuple[LocalEnvironment, ChosenLatencies]:
    meter, channels = ChosenLatencies(real, pairs_ms), trace_channels(teacher)
    made = LocalEnvironment(
        teacher,
        channels,
        blocks(teacher, channels=channels),
        task=task,
        meter=cast(Meter, meter),
        settings=LocalSettings(recalibration_images=64, scoring_images=32, measure_seconds=SECONDS),
    )
    return made, meter


def test_a_neighbour_on_the_core_is_no_reason_to_measure_again(
    teacher: Graph, task: TaskData, real: Measurement
) -> None:
    one, meter = environment(teacher, task, real, (50, 100), (30, 199))
    one.measure(HALF)
    assert one.measure(QUARTER).metrics["latency_ratio"] == 30 / 199
    assert meter.asked_s == [SECONDS, SECONDS]


def test_a_disturbed_one_is_taken_again(teacher: Graph, task: TaskData, real: Measurement) -> None:
    one, meter = environment(teacher, task, real, (50, 100), (90, 201), (70, 300), (30, 100))
    one.measure(HALF)
    assert one.measure(QUARTER).metrics["latency_ratio"] == 0.3
    assert meter.asked_s == 4 * [SECONDS]


def test_a_machine_that_stays_slow_is_said_once_and_its_speed_counts_from_then_on(
    teacher: Graph, task: TaskData, real: Measurement, caplog: pytest.LogCaptureFixture
) -> None:
    slow = [*[(40, 220)] * (ATTEMPTS - 1), (30, 210)]
    one, meter = environment(teacher, task, real, (50, 100), *slow, (60, 205), (50, 220))
    one.measure(HALF)
    assert one.measure(QUARTER).metrics["latency_ratio"] == 30 / 210
    assert len(meter.asked_s) == 1 + ATTEMPTS
    assert "takes 210 ms and took 100 ms before: something else uses the machine" in caplog.text
    assert one.measure(QUARTER).metrics["latency_ratio"] == 60 / 205, "what was disturbed is not remembered"
    assert one.measure(Candidate(widths={"conv1": 8})).metrics["latency_ratio"] == 50 / 220
    assert len(meter.asked_s) == 1 + ATTEMPTS + 2


def test_a_machine_of_two_speeds_is_waited_for_once(
    teacher: Graph, task: TaskData, real: Measurement, caplog: pytest.LogCaptureFixture
) -> None:
    one, meter = environment(
        teacher, task, real, (50, 100), *[(40, 210)] * ATTEMPTS, (35, 100), *[(60, 210)] * PATIENCE
    )
    one.measure(HALF)
    one.measure(QUARTER)
    assert one.measure(QUARTER).metrics["latency_ratio"] == 0.35
    assert one.measure(Candidate(widths={"conv1": 8})).metrics["latency_ratio"] == 60 / 210
    assert len(meter.asked_s) == 1 + ATTEMPTS + 1 + PATIENCE
    assert caplog.text.count("something else uses the machine") == 1


def test_the_teachers_best_latency_is_what_counts(teacher: Graph, task: TaskData, real: Measurement) -> None:
    one, meter = environment(teacher, task, real, (90, 200), (30, 100), (50, 201), (60, 105))
    assert one.measure(HALF).metrics["latency_ratio"] == 0.45  # nothing was known yet
    one.measure(QUARTER)
    assert one.measure(Candidate(widths={"conv1": 8})).metrics["latency_ratio"] == 60 / 105
    assert len(meter.asked_s) == 4
