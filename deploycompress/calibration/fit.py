"""From measured students to the table of layer latencies, and how well it predicts students it has not seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from deploycompress.calibration.features import Vector
from deploycompress.calibration.layer_table import (
    LayerCost,
    LayerTable,
    RunModel,
    count_kernels,
    predict_from_features,
    whole_features,
)
from deploycompress.calibration.least_squares import nonnegative_least_squares
from deploycompress.profile import ChannelSteps

LEAST_STUDENTS = 12
FOLDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Student:
    """One measured student, or the teacher.

    Attributes:
        features: of each node, by name, shape [4].
        node_us: time of the kernels that a node owns, by name; absent for nodes that run in others' kernels.
        other_us: time of the kernels that no node owns.
        ratio: undisturbed latency over the teacher's, taken in turns with it.
    """

    features: Mapping[str, Vector]
    node_us: Mapping[str, float]
    other_us: float
    ratio: float

    @property
    def kernels_us(self) -> float:
        """Sum of all kernels' times."""
        return sum(self.node_us.values()) + self.other_us


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionError:
    """Relative errors of whole-network latency on students that the table had not seen.

    Attributes:
        errors: prediction over measurement, less one, by student.
    """

    errors: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median of the absolute errors."""
        return float(np.median(np.abs(self.errors)))

    @property
    def worst(self) -> float:
        """Largest absolute error."""
        return float(np.max(np.abs(self.errors)))


def fit_table(students: Sequence[Student], *, quanta: ChannelSteps, teacher_ms: float) -> LayerTable:
    """Fit the table.

    Args:
        students: measured; the first is the teacher itself.
        quanta: that their features were made with.
        teacher_ms: the teacher's undisturbed latency.
    """
    students = _without_drift(students)
    known = {name: vector for student in students for name, vector in student.features.items()}
    known.update(students[0].features)  # a layer's cost is told at the teacher's size
    layers = {name: _layer_cost(name, unit, students) for name, unit in known.items()}
    whole = [whole_features(student.features) for student in students]
    other = _cost(whole[0], whole, [student.other_us for student in students])
    table = LayerTable(quanta=quanta, layers=layers, other=other, run=RunModel(), teacher_ms=teacher_ms)
    return _calibrated(table, students)


def cross_validate(students: Sequence[Student], *, quanta: ChannelSteps, teacher_ms: float) -> PredictionError:
    """Predict each student from a table fitted without it and others of its fold; the teacher is in every table."""
    teacher, *others = students
    errors = {}
    for fold in range(FOLDS):
        held_out = range(fold, len(others), FOLDS)
        kept = [student for index, student in enumerate(others) if index not in held_out]
        table = fit_table([teacher, *kept], quanta=quanta, teacher_ms=teacher_ms)
        for index in held_out:
            known = {name: vector for name, vector in others[index].features.items() if name in table.layers}
            errors[index] = predict_from_features(table, known) / (others[index].ratio * teacher_ms) - 1
    return PredictionError(errors=tuple(errors[index] for index in sorted(errors)))


def _layer_cost(name: str, unit: Vector, students: Sequence[Student]) -> LayerCost:
    having = [student for student in students if name in student.features]
    return _cost(
        unit, [student.features[name] for student in having], [student.node_us.get(name, 0.0) for student in having]
    )


def _cost(unit: Vector, features: Sequence[Vector], times_us: Sequence[float]) -> LayerCost:
    relative = np.divide(features, unit, out=np.zeros((len(features), len(unit))), where=unit > 0)
    found = nonnegative_least_squares(relative, np.asarray(times_us, dtype=np.float64))
    return LayerCost(unit=tuple(unit.tolist()), cost_us=tuple(found.tolist()))


def _calibrated(table: LayerTable, students: Sequence[Student]) -> LayerTable:
    """Fit what stands between kernels' times as the profiler tells them and the time of a run."""
    kernels_us = [1000 * predict_from_features(table, student.features) for student in students]
    counts = [count_kernels(table, student.features) for student in students]
    runs_us = [1000 * student.ratio * table.teacher_ms for student in students]
    return replace(table, run=_run_model(kernels_us, counts, runs_us))


def _without_drift(students: Sequence[Student]) -> tuple[Student, ...]:
    """Scale each student's kernels so that together they are as slow as its run was.

    Runs are timed in turns with the teacher, profiles are not: what else the machine does while one is taken would
    pass for the student's own slowness.
    """
    kernels_us = [student.kernels_us for student in students]
    counts = [len(student.node_us) for student in students]
    runs_us = [student.ratio * kernels_us[0] for student in students]
    model = _run_model(kernels_us, counts, runs_us)
    found = []
    for student, kernels, count, run in zip(students, kernels_us, counts, runs_us, strict=True):
        expected = model.predict_us(kernels, count)
        scale = run / expected if expected > 0 else 1.0
        times = {name: scale * time for name, time in student.node_us.items()}
        found.append(replace(student, node_us=times, other_us=scale * student.other_us))
    return tuple(found)


def _run_model(kernels_us: Sequence[float], counts: Sequence[int], runs_us: Sequence[float]) -> RunModel:
    """Fit by relative errors, not absolute ones: small students are what a search is after."""
    kernels, runs = np.asarray(kernels_us, dtype=np.float64), np.asarray(runs_us, dtype=np.float64)
    unit = max(float(kernels.max()), 1.0)  # so that the columns are of one size
    rows = np.stack([kernels, -np.asarray(counts, dtype=np.float64), kernels**2 / unit], axis=1)
    factor, profiler_us, growth = nonnegative_least_squares(rows / runs[:, None], np.ones(len(runs))).tolist()
    return RunModel(factor=factor, profiler_us=profiler_us, growth=growth / unit)
