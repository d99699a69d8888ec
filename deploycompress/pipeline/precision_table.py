"""Teacher and student in single precision and in the one that ships, so that nobody forgets what that alone gives."""

from __future__ import annotations

from dataclasses import dataclass

from deploycompress.execute.local import LocalEnvironment
from deploycompress.graph import Graph
from deploycompress.measuring.devices import Devices
from deploycompress.measuring.measurement import Measurement
from deploycompress.pipeline.final import Final, student_score
from deploycompress.pipeline.int8 import in_int8
from deploycompress.pipeline.job import Job
from deploycompress.pipeline.lower import Lowered
from deploycompress.pipeline.ship import measure_beside
from deploycompress.pipeline.task import HeldOut
from deploycompress.precision import Precision
from deploycompress.quantize.half import half


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionRow:
    """One network in one precision.

    Attributes:
        network: `teacher` or `student`.
        precision: of its layers with weights.
        score: on the split of the final score, in ONNX Runtime.
        measurement: beside the teacher in single precision.
    """

    network: str
    precision: Precision
    score: float
    measurement: Measurement


def compare_precisions(
    job: Job,
    environment: LocalEnvironment,
    devices: Devices,
    lowered: Lowered,
    final: Final,
    teacher: Measurement,
    student: Measurement,
) -> tuple[PrecisionRow, ...]:
    """Measure and judge what the chosen precision alone makes of the teacher, and the student without it.

    Args:
        job: data, format and settings.
        environment: holds the teacher as it would ship.
        devices: measure.
        lowered: what ships, and the same in single precision.
        final: the score of what ships.
        teacher: measurement of the teacher in single precision, beside itself.
        student: measurement of what ships.

    Returns:
        Four rows; none where single precision ships, whose figures the result has anyway.
    """
    if job.precision is None or job.precision is Precision.FP32:
        return ()
    baseline = environment.baseline
    alone = _alone(job, baseline, job.precision)

    def row(network: str, precision: Precision, graph: Graph) -> PrecisionRow:
        found = measure_beside(graph, baseline, devices, job.settings.ship)
        return PrecisionRow(network=network, precision=precision, score=_score(job, graph), measurement=found)

    return (
        PrecisionRow(network="teacher", precision=Precision.FP32, score=final.score.teacher, measurement=teacher),
        row("teacher", job.precision, alone),
        row("student", Precision.FP32, lowered.single),
        PrecisionRow(network="student", precision=job.precision, score=final.score.student, measurement=student),
    )


def _alone(job: Job, baseline: Graph, precision: Precision) -> Graph:
    return half(baseline) if precision is Precision.FP16 else in_int8(job, baseline).graph


def _score(job: Job, graph: Graph) -> float:
    judged = job.held_out or HeldOut(data=job.task.validation, normalization=job.task.normalization)
    return student_score(graph.to_bytes(), job.teacher.to_bytes(), judged, job.task.score)[0]
