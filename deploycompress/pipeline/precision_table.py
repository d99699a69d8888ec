"""Teacher and student in single precision and in the one that ships, so that nobody forgets what that alone gives."""

from __future__ import annotations

from dataclasses import dataclass

from deploycompress.errors import MeasureError
from deploycompress.graph import Graph
from deploycompress.measuring.devices import Devices
from deploycompress.measuring.measurement import Measurement
from deploycompress.pipeline.final import Final, student_score
from deploycompress.pipeline.fp16 import in_fp16
from deploycompress.pipeline.int8 import in_int8
from deploycompress.pipeline.job import Job
from deploycompress.pipeline.lower import Lowered
from deploycompress.pipeline.ship import measure_beside
from deploycompress.pipeline.task import HeldOut
from deploycompress.precision import Precision


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
    baseline: Graph,
    alone: Graph,
    devices: Devices,
    lowered: Lowered,
    final: Final,
    teacher: Measurement,
    student: Measurement,
) -> tuple[PrecisionRow, ...]:
    """Measure and judge what the chosen precision alone makes of the teacher, and the student without it.

    Args:
        job: data, format and settings.
        baseline: the teacher as it would ship in single precision.
        alone: the teacher in the precision of the run.
        devices: measure.
        lowered: what ships, and the same in single precision.
        final: the score of what ships.
        teacher: measurement of the teacher in single precision, beside itself.
        student: measurement of what ships.

    Returns:
        Four rows, less those that could not be measured.
    """
    precision = job.precision or Precision.FP32
    rows = [PrecisionRow(network="teacher", precision=Precision.FP32, score=final.score.teacher, measurement=teacher)]
    others = [("teacher", precision, alone)]
    if lowered.precision is precision:
        others.append(("student", Precision.FP32, lowered.single))
    for network, one, graph in others:
        try:
            found = measure_beside(graph, baseline, devices, job.settings.ship)
        except MeasureError as error:
            job.progress.warning(f"The {network} in {one} could not be measured and is left out of the table: {error}")
            continue
        rows.append(PrecisionRow(network=network, precision=one, score=_score(job, graph), measurement=found))
    own = PrecisionRow(network="student", precision=lowered.precision, score=final.score.student, measurement=student)
    _warn_if_slower(job, rows, own)
    return (*rows, own)


def teacher_alone(job: Job, baseline: Graph) -> Graph:
    """Give the teacher in the lower precision of a run, not trained there."""
    return in_int8(job, baseline).graph if job.precision is Precision.INT8 else in_fp16(job, baseline)[0]


def _warn_if_slower(job: Job, rows: list[PrecisionRow], own: PrecisionRow) -> None:
    single = [row for row in rows if row.network == "student"]
    if single and own.measurement.ratio > single[0].measurement.ratio:
        job.progress.warning(
            f"The student is slower in {own.precision} ({own.measurement.ratio:.3f} of the teacher's latency) than in "
            f"single precision ({single[0].measurement.ratio:.3f}); with --precision fp32 it is the faster."
        )


def _score(job: Job, graph: Graph) -> float:
    judged = job.held_out or HeldOut(data=job.task.validation, normalization=job.task.normalization)
    return student_score(graph.to_bytes(), job.teacher.to_bytes(), judged, job.task.score)[0]
