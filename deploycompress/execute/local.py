"""Evaluations on this machine: slim, measure, recover, judge; the search's environment.

The current student is kept inside the teacher's graph, under the teacher's channel numbers, so that every
plan of a search is over the same channels whatever has been cut and trained before.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from deploycompress.channels.records import Channels
from deploycompress.evaluation import Evaluation
from deploycompress.execute.stages import StageTimer
from deploycompress.graph import Graph
from deploycompress.measuring.failure import FailedMeasurementError
from deploycompress.measuring.measurement import Measurement
from deploycompress.measuring.meter import Meter
from deploycompress.measuring.static import macs, params
from deploycompress.network.module import GraphModule, from_torch, to_torch
from deploycompress.plan import Plan
from deploycompress.surgery.embed import embed
from deploycompress.surgery.fold import fold_batch_norm
from deploycompress.surgery.masks import kept_channels
from deploycompress.surgery.slim import slim
from deploycompress.train.accuracy import accuracy
from deploycompress.train.compute import Compute, evaluation_compute, training_compute
from deploycompress.train.distil import distil
from deploycompress.train.distil_settings import DistilSettings, TaskData
from deploycompress.train.generator import make_generator
from deploycompress.train.importance import calibration_batches, taylor_scores
from deploycompress.train.recalibrate import recalibrate

Metrics = Mapping[str, float]

DEFAULT_ADVANCE_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSettings:
    """What an evaluation may cost.

    Attributes:
        recalibration_images: images that give a cut student its batch norm statistics.
        scoring_images: images that Taylor scores are computed on; 100 in RL-Pruner.
        measure_seconds: time for one latency measurement.
        measures_rss: whether resident memory is taken, too, which starts two processes for each student.
        seed: of everything random.
    """

    recalibration_images: int = 1024
    scoring_images: int = 100
    measure_seconds: float = 0.5
    measures_rss: bool = False
    seed: int = 0


class LocalEnvironment:
    """Holds the current student, and evaluates what plans make of it.

    Attributes:
        advance_settings: how a student is distilled between pruning steps.
        baseline: the teacher with batch norm folded, which students are measured beside.
        guide: the network that teaches: the best of the teacher and the students so far.
        teacher_accuracy: the teacher's accuracy on the validation split.
    """

    def __init__(
        self, teacher: Graph, channels: Channels, *, task: TaskData, meter: Meter, settings: LocalSettings
    ) -> None:
        self._teacher, self._channels = teacher, channels
        self.baseline = fold_batch_norm(teacher)
        self._baseline_peak_bytes = meter.measure(self.baseline, max_seconds=0.0).activation_peak_bytes
        self._task, self._meter, self._settings = task, meter, settings
        self._compute = training_compute()
        self._timer = StageTimer()
        self._measured: dict[str, Metrics] = {}
        self._sources: dict[str, Graph] = {}
        self._distilled: set[str] = set()
        self._current, self._plan = teacher, Plan()
        self.advance_settings = DistilSettings(seconds=DEFAULT_ADVANCE_S)
        self.guide = to_torch(teacher)
        self.teacher_accuracy = self.exact_accuracy(self.guide)
        self._guide_accuracy = self.teacher_accuracy
        self._scores = self._score(self.guide)

    @property
    def seconds(self) -> Mapping[str, float]:
        """Wall time so far, by stage."""
        return self._timer.seconds

    @property
    def measurements(self) -> int:
        """Number of students whose latency was measured."""
        return len(self._measured)

    @property
    def measuring_s(self) -> float:
        """Mean seconds that measuring one student took."""
        return self.seconds.get("measure", 0.0) / max(self.measurements, 1)

    def scores(self) -> Mapping[str, tuple[float, ...]]:
        """Score the current student's channels (RL-Pruner, eq. 24); -inf for those already cut."""
        return self._scores

    def cheap_metrics(self, plan: Plan) -> Metrics:
        """Give everything about a plan but its accuracy.

        Raises:
            MeasureError: the student cannot be measured.
        """
        return self._metrics(slim(self._current, plan, channels=self._channels))

    def evaluate(self, plan: Plan, worth_training: Callable[[Metrics], bool]) -> Evaluation:
        """Measure the student a plan makes; take its accuracy after recalibration if that is worth the time."""
        before = self._timer.seconds
        with self._timer.stage("slim"):
            student = slim(self._current, plan, channels=self._channels)
        try:
            metrics = dict(self._metrics(student))
        except FailedMeasurementError as error:
            return self._evaluation({}, before, failure=str(error))
        if worth_training(metrics):
            with self._timer.stage("recover"):
                module = to_torch(student)
                self.recalibrate(module)
            # Samples are compared with each other only, so the machine's fastest arithmetic will do.
            metrics["accuracy"] = self._accuracy_of(module, self._compute)
        self._sources[plan.to_json()] = self._current
        return self._evaluation(metrics, before)

    def advance(self, plan: Plan, worth_training: Callable[[Metrics], bool]) -> Evaluation:
        """Cut the current student, distil it if that is worth the time, and go on from there.

        The better of teacher and students so far teaches the next one (RL-Pruner, section 4.1).
        """
        before = self._timer.seconds
        with self._timer.stage("slim"):
            student = slim(self._current, plan, channels=self._channels)
        try:
            metrics, failure = dict(self._metrics(student)), ""
        except FailedMeasurementError as error:
            metrics, failure = {}, str(error)
        module = to_torch(student)
        with self._timer.stage("recover"):
            self.recalibrate(module)
        if not failure and worth_training(metrics):
            metrics["accuracy"] = self._distil(module, plan)
        elif not failure:
            metrics["accuracy"] = self.exact_accuracy(module)
        self._current = embed(self._current, plan, from_torch(module), channels=self._channels)
        self._plan = plan
        self._sources[plan.to_json()] = self._current
        self._scores = self._score(module)
        return self._evaluation(metrics, before, failure)

    def student(self, plan: Plan) -> Graph:
        """Give the student of a plan with the weights it was last evaluated with; the teacher's, if it never was."""
        return slim(self._sources.get(plan.to_json(), self._teacher), plan, channels=self._channels)

    def was_distilled(self, plan: Plan) -> bool:
        """Say whether the student of a plan has been trained, so that its statistics are its own."""
        return plan.to_json() in self._distilled

    def _metrics(self, student: Graph) -> Metrics:
        # Latency and memory depend on the sizes of the tensors, not on which channels they hold.
        key = repr(sorted((name, array.shape) for name, array in student.weights.items()))
        if key not in self._measured:
            shipped = fold_batch_norm(student)
            with self._timer.stage("measure"):
                measurement = self._meter.measure(
                    shipped, baseline=self.baseline, max_seconds=self._settings.measure_seconds
                )
                if self._settings.measures_rss:
                    measurement = replace(measurement, peak_rss_bytes=self._meter.peak_rss_bytes(shipped))
            self._measured[key] = student_metrics(shipped, self.baseline, measurement, self._baseline_peak_bytes)
        return self._measured[key]

    def _evaluation(self, metrics: Metrics, before: Metrics, failure: str = "") -> Evaluation:
        spent = {name: seconds - before.get(name, 0.0) for name, seconds in self._timer.seconds.items()}
        return Evaluation(
            metrics=metrics,
            teacher_accuracy=self.teacher_accuracy,
            failure=failure,
            seconds={name: seconds for name, seconds in spent.items() if seconds > 0},
        )

    def exact_accuracy(self, module: GraphModule) -> float:
        """Take a network's accuracy on the validation split in float32, as training and reports do."""
        return self._accuracy_of(module, evaluation_compute())

    def _accuracy_of(self, module: GraphModule, compute: Compute) -> float:
        with self._timer.stage("accuracy"):
            placed = module.to(compute.device)
            return accuracy(placed, self._task.validation, self._task.normalization, compute=compute)

    def recalibrate(self, module: GraphModule) -> None:
        """Give a cut network's batch norms the statistics of what now flows through them."""
        batches = calibration_batches(
            self._task.training,
            self._task.normalization,
            generator=np.random.default_rng(self._settings.seed),
            samples=self._settings.recalibration_images,
            batch_size=256,
            device=self._compute.device,
        )
        recalibrate(module.to(self._compute.device), batches, compute=self._compute)

    def _distil(self, module: GraphModule, plan: Plan) -> float:
        """Train the student of a plan, let it teach if it is the best so far, and give its accuracy."""
        generator = make_generator(self._settings.seed + len(self._distilled))
        with self._timer.stage("distil"):
            report = distil(module, self.guide, self._task, settings=self.advance_settings, generator=generator)
        self._distilled.add(plan.to_json())
        if report.accuracy > self._guide_accuracy:
            self.guide, self._guide_accuracy = module, report.accuracy
        return report.accuracy

    def _score(self, module: GraphModule) -> dict[str, tuple[float, ...]]:
        kept = kept_channels(self._channels, self._plan)
        ties = [replace(tie, channels=tie.channels[kept[tie.channels]]) for tie in self._channels.ties]
        batches = calibration_batches(
            self._task.training,
            self._task.normalization,
            generator=np.random.default_rng(self._settings.seed + 1),
            samples=self._settings.scoring_images,
            device=self._compute.device,
        )
        with self._timer.stage("score"):
            scores = taylor_scores(module.to(self._compute.device), ties, self._channels.count, batches)
        scores[~kept] = -np.inf
        return {
            group.name: tuple(float(score) for score in scores[self._channels.members_of(index)])
            for index, group in enumerate(self._channels.groups)
        }


def student_metrics(
    student: Graph, teacher: Graph, measurement: Measurement, teacher_peak_bytes: int
) -> dict[str, float]:
    """Give everything known of a student but its accuracy, under the names of `constraint.METRICS`.

    Args:
        student: the graph that was measured, batch norm folded.
        teacher: what it was cut from, batch norm folded as well, so that folding alone saves nothing.
        measurement: of the student, beside the teacher.
        teacher_peak_bytes: the teacher's activation peak.
    """
    return {
        **measurement.metrics(),
        "activation_peak_ratio": measurement.activation_peak_bytes / max(teacher_peak_bytes, 1),
        "params": float(params(student)),
        "params_ratio": params(student) / params(teacher),
        "macs": float(macs(student)),
        "macs_ratio": macs(student) / macs(teacher),
    }
