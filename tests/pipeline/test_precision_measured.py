"""A precision that the device does not run is no choice; one that nobody can measure ends the run."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest

from deploycompress.errors import UsageError
from deploycompress.graph import Graph
from deploycompress.measuring.devices import Devices, open_devices
from deploycompress.measuring.failure import FailedMeasurementError, FailureKind
from deploycompress.measuring.measurement import Measurement
from deploycompress.pipeline.job import Job, prepare
from deploycompress.pipeline.precision_measured import with_precision
from deploycompress.precision import Precision
from tests.digits import trained_digits_net
from tests.pipeline.test_request_file import REQUEST

pytest.importorskip("sklearn", reason="scikit-learn has the digits (pip install deploycompress[demo])")


TEACHER_NS = 1_000_000


class Failing:
    """Devices whose provider fails in everything but single precision."""

    def __init__(self, kind: FailureKind) -> None:
        self._kind = kind

    def measure(self, source: Graph, **_: object) -> Measurement:
        raise FailedMeasurementError(self._kind, f"the provider ends at {source.nodes[0].op}")


@pytest.fixture(scope="module")
def job() -> Job:
    return prepare(
        replace(
            REQUEST, source=trained_digits_net(steps=20), data="digits#train", test_data=None, normalize=None,
            precision="auto", search="joint", policy=None, settings=(), targets=(), input_shape=(1, 1, 8, 8),
        )
    )  # fmt: skip


class Chosen:
    """Gives a real record with the latency that the test chose."""

    def __init__(self, real: Measurement, ratio: float) -> None:
        self._found = replace(real, starts=(1,), student_ns=((int(ratio * TEACHER_NS),),), baseline_ns=((TEACHER_NS,),))

    def measure(self, *_: object, **__: object) -> Measurement:
        return self._found


@pytest.mark.parametrize(("ratio", "fastest"), [(0.5, Precision.INT8), (2.0, Precision.FP32)])
def test_the_fastest_is_taken(job: Job, ratio: float, fastest: Precision) -> None:
    with open_devices(job.profile, (), job.progress.warning) as devices:
        real = devices.measure(job.teacher, baseline=job.teacher, max_seconds=0.0)
    assert with_precision(job, cast(Devices, Chosen(real, ratio))).precision is fastest


def test_what_cannot_be_measured_is_no_choice(job: Job) -> None:
    rejecting = cast(Devices, Failing(FailureKind.REJECTED))
    assert with_precision(job, rejecting).precision is Precision.FP32


def test_a_machine_that_is_too_busy_ends_the_run(job: Job) -> None:
    with pytest.raises(FailedMeasurementError, match="the provider ends at"):
        with_precision(job, cast(Devices, Failing(FailureKind.INCONCLUSIVE)))


@pytest.mark.parametrize(("wrong", "words"), [({"epochs": 0}, "at least 1 epoch; got 0"), ({"seed": -1}, "seed is -1")])
def test_impossible_numbers_are_refused_before_anything_is_loaded(wrong: dict[str, int], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        prepare(replace(REQUEST, search="joint", policy=None, settings=(), **wrong))  # type: ignore[arg-type]
