"""What the shipped bytes are worth: the run's score, taken in ONNX Runtime on validation and held-out images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from deploycompress.pipeline.asking import accuracy_in_runtime, answered_in_runtime
from deploycompress.pipeline.task import HeldOut
from deploycompress.train.distil_settings import TaskData
from deploycompress.train.score import (
    ACCURACY,
    OUTPUT_MATCH,
    Answered,
    Metric,
    Score,
    joined,
    match_of,
    relative_error,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One quantity of both networks."""

    teacher: float
    student: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Final:
    """The figures that a result ends with.

    Attributes:
        score: of both networks on the split; in the user's own units where the function is the user's.
        split: `test` or `validation`.
        validated: the student's score on the validation split.
        relative_error: of the student's outputs, where the score is made of it.
        accuracy: of both networks on the split; none where the classes of its images are not known or not asked about.
    """

    score: Pair
    split: str
    validated: float
    relative_error: float | None
    accuracy: Pair | None


def judge_finally(task: TaskData, held_out: HeldOut | None, *, teacher: bytes, student: bytes) -> Final:
    """Take the score of what ships, on held-out images where there are some.

    Args:
        task: what the student was trained and chosen on.
        held_out: what nobody has read before.
        teacher: its ONNX model.
        student: the bytes that ship.
    """
    own = HeldOut(data=task.validation, normalization=task.normalization)
    judged = held_out or own
    found, error = student_score(student, teacher, judged, task.score)
    score = Pair(teacher=_teacher_score(teacher, judged, task.score), student=found)
    return Final(
        score=score,
        split="validation" if held_out is None else "test",
        validated=found if held_out is None else student_score(student, teacher, own, task.score)[0],
        relative_error=error,
        accuracy=score if task.score is ACCURACY else _accuracy(student, teacher, judged, task),
    )


def student_score(student: bytes, teacher: bytes, judged: HeldOut, score: Score) -> tuple[float, float | None]:
    """Take a student's score in ONNX Runtime.

    Args:
        student: its ONNX model.
        teacher: the teacher's, which is asked where its answers are needed and not known.
        judged: images to judge on.
        score: how.

    Returns:
        The score, and the relative error of the outputs where the score is made of that.
    """
    if score.metric is not None:
        return _metric(student, judged, score.metric), None
    if score is ACCURACY:
        return accuracy_in_runtime(student, judged.data, judged.normalization), None
    batches = _beside_teacher(student, teacher, judged)
    if score is not OUTPUT_MATCH:
        return score.take(batches), None
    error = relative_error(batches)
    return match_of(error), error


def _teacher_score(teacher: bytes, judged: HeldOut, score: Score) -> float:
    if score.metric is not None:
        return _metric(teacher, judged, score.metric)
    return accuracy_in_runtime(teacher, judged.data, judged.normalization) if score is ACCURACY else 1.0


def _accuracy(student: bytes, teacher: bytes, judged: HeldOut, task: TaskData) -> Pair | None:
    """Give the accuracy, where the classes are known and the outputs name some."""
    if not (judged.data.is_labelled and task.names_classes):
        return None
    return Pair(
        teacher=accuracy_in_runtime(teacher, judged.data, judged.normalization),
        student=accuracy_in_runtime(student, judged.data, judged.normalization),
    )


def _metric(model: bytes, judged: HeldOut, metric: Metric) -> float:
    outputs = joined([batch.outputs for batch in answered_in_runtime(model, judged.data, judged.normalization)])
    return metric(outputs, judged.data.labels)


def _beside_teacher(student: bytes, teacher: bytes, judged: HeldOut) -> Iterator[Answered]:
    batches = answered_in_runtime(student, judged.data, judged.normalization)
    if judged.data.answers is not None:
        yield from batches
        return
    answers = answered_in_runtime(teacher, judged.data, judged.normalization)
    for batch, wanted in zip(batches, answers, strict=True):
        yield replace(batch, answers=wanted.outputs)
