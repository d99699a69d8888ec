"""Evaluations on this machine: slim, measure, recover, judge; the search's environment.

Students are cut from the teacher's graph. An engine that advances trains the teacher's graph on the way: the trained
weights go back to their places in it, so that every candidate of a search is over the same blocks and channels.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from deploycompress.channels.records import Channels
from deploycompress.errors import PlanError
from deploycompress.evaluation import Evaluation
from deploycompress.execute.closed_form import ClosedForm
from deploycompress.execute.correspondence import layer_pairs
from deploycompress.execute.lineage import Lineage
from deploycompress.execute.local_settings import LocalSettings
from deploycompress.execute.stages import StageTimer
from deploycompress.execute.structure import structure_digest
from deploycompress.execute.student_meter import Metrics, StudentMeter
from deploycompress.execute.students import Students
from deploycompress.graph import Graph
from deploycompress.local_machine import usable_cores
from deploycompress.measuring.devices import Devices
from deploycompress.measuring.failure import FailedMeasurementError, FailureKind
from deploycompress.measuring.measurement import Measurement
from deploycompress.network.module import GraphModule, from_torch, to_torch
from deploycompress.plan import Plan
from deploycompress.quantize.costed import costed_form
from deploycompress.search.space import Candidate
from deploycompress.store.memory import Memory
from deploycompress.surgery.blocks import Block
from deploycompress.surgery.masks import kept_channels
from deploycompress.surgery.shipped import shipped_form
from deploycompress.train.accuracy import score_module
from deploycompress.train.compute import Compute, evaluation_compute, limit_threads, training_compute
from deploycompress.train.distil import distil
from deploycompress.train.distil_settings import DistilSettings, TaskData
from deploycompress.train.features import FeatureTap, choose_taps
from deploycompress.train.generator import make_generator
from deploycompress.train.refit_settings import RefitReport
from deploycompress.train.short_course import ShortCourse

Mask = NDArray[np.bool_]

DEFAULT_ADVANCE_S = 30.0


@dataclass(slots=True)
class _Student:
    """A candidate's student, and how far it has been trained."""

    plan: Plan
    graph: Graph
    digest: str
    rungs: tuple[int, ...] = ()  # distillation steps it was asked to have behind it, ascending, without 0
    module: GraphModule | None = None  # recalibrated
    taught: tuple[int, ...] = ()  # the rungs that the module has behind it


class LocalEnvironment:
    """Evaluates students and holds the current one.

    Attributes:
        advance_settings: how a student is distilled between pruning steps; none for not at all.
        baseline: the teacher as it would ship, which students are measured beside.
        guide: the network that teaches: the best of the teacher and the students so far.
        refitted: what fitting the layers did for the student that was prepared last; none where it was not done.
        teacher_accuracy: the teacher's accuracy on the validation split.
    """

    def __init__(
        self,
        teacher: Graph,
        channels: Channels,
        offered: tuple[Block, ...],
        *,
        task: TaskData,
        meter: Devices,
        settings: LocalSettings,
        memory: Memory | None = None,
    ) -> None:
        """Judge the teacher and score its channels.

        Args:
            teacher: the captured graph.
            channels: its channels.
            offered: its blocks.
            task: what it is judged on.
            meter: measures.
            settings: what an evaluation may cost.
            memory: what was measured and judged before, by digest; added to. None starts empty.
        """
        limit_threads(usable_cores())
        self._teacher, self._channels, self._task = teacher, channels, task
        self._students = Students(teacher, channels, offered)
        self._settings, self._compute = settings, training_compute()
        self._memory = Memory() if memory is None else memory
        self._timer = StageTimer()
        self._closed_form = ClosedForm(task=task, compute=self._compute, timer=self._timer, seed=settings.seed)
        self._last: tuple[str, _Student | PlanError] | None = None
        self.baseline = shipped_form(teacher)
        self._meter = StudentMeter(
            meter,
            self.baseline,
            costed=lambda graph, higher: costed_form(graph, settings.precision, settings.form, higher=higher),
            seconds=settings.measure_seconds,
            anchor_seconds=settings.anchor_seconds,
            anchor_starts=settings.anchor_starts,
            with_rss=settings.measures_rss,
            memory=self._memory,
            timer=self._timer,
        )
        self.advance_settings: DistilSettings | None = DistilSettings(seconds=DEFAULT_ADVANCE_S)
        self.refitted: RefitReport | None = None
        self.guide = to_torch(teacher)
        self.teacher_accuracy = self.exact_accuracy(self.guide)
        self._guide_accuracy = self.teacher_accuracy
        self._course = ShortCourse(
            self.guide, task, settings=settings.course, compute=self._compute, seed=settings.seed
        )
        worth = self._score(self.guide, channels, np.ones(channels.count + 1, dtype=np.bool_))
        self._lineage = Lineage(teacher, self._students, worth)
        self._scores = self._by_group()

    @property
    def seconds(self) -> Metrics:
        """Wall time so far, by stage."""
        return self._timer.seconds

    @property
    def measurements(self) -> int:
        """Number of different networks whose latency was measured."""
        return self._meter.count

    @property
    def measuring_s(self) -> float:
        """Mean seconds that measuring one network took."""
        return self.seconds.get("measure", 0.0) / max(self.measurements, 1)

    def scores(self) -> Mapping[str, tuple[float, ...]]:
        """Score the current student's channels; -inf for those already cut."""
        return self._scores

    def plan(self, candidate: Candidate) -> Plan:
        """Say what surgery makes of a candidate: the most important channels of each group stay.

        Raises:
            PlanError: the candidate's parts cannot go together.
        """
        return self._student(candidate).plan

    def key(self, candidate: Candidate) -> str:
        """Digest the student's graph, weights included; a candidate that surgery refuses goes by itself."""
        try:
            return self._student(candidate).digest
        except PlanError:
            return f"refused:{candidate.to_json()}"

    def measure(self, candidate: Candidate) -> Evaluation:
        """Slim and measure; what cannot be cut or measured is a failure.

        Raises:
            FailedMeasurementError: the machine is too busy for enough samples.
        """
        before = self._timer.seconds
        try:
            metrics = self._meter.metrics(shipped_form(self._student(candidate).graph))
        except PlanError as error:
            return self._evaluation({}, before, failure=str(error))
        except FailedMeasurementError as error:
            if error.kind is FailureKind.INCONCLUSIVE:
                raise  # the machine's doing: no student shall pay for it
            return self._evaluation({}, before, failure=str(error))
        return self._evaluation(metrics, before)

    def cost_of(self, shipped: Graph, *, higher: Collection[str] = (), is_single: bool = False) -> Metrics:
        """Give what a network in its shipped form costs in the precision of the run, but for some layers, or in single.

        Raises:
            FailedMeasurementError: it cannot be measured, or the machine is too busy for enough samples.
        """
        return self._meter.metrics(shipped, higher=higher, is_single=is_single)

    def measure_thoroughly(self, plan: Plan, *, seconds: float, starts: int) -> tuple[Metrics, Measurement]:
        """Measure a student in several fresh processes, for a verdict that counts.

        Raises:
            FailedMeasurementError: it cannot be measured.
        """
        return self._meter.measure_thoroughly(shipped_form(self.student(plan)), seconds=seconds, starts=starts)

    def measure_ahead(self, candidates: Iterable[Candidate]) -> None:
        """Measure students that will be asked about, many at a time where several devices share the work."""
        self._meter.measure_ahead(self._shipped_forms(candidates))

    def judge(self, candidate: Candidate, evaluation: Evaluation, steps: int) -> Evaluation:
        """Add a student's accuracy after recalibration and some steps of distillation to its climb."""
        before = self._timer.seconds
        student = self._student(candidate)
        # Each stretch has a learning rate cycle of its own, so what was trained before is part of what is known.
        student.rungs = (*(rung for rung in student.rungs if rung < steps), *([steps] if steps else []))
        key = f"accuracy:{student.digest}:{'-'.join(map(str, student.rungs)) or '0'}"
        if key not in self._memory:
            self._memory.add(key, {"accuracy": self._climbed(student)})
        self._lineage.judged(student.plan)
        seconds = Counter(evaluation.seconds) + Counter(self._spent(before))
        climbed = evaluation.with_climb((*evaluation.climb, self._memory[key]["accuracy"]))
        return replace(climbed, seconds=dict(seconds))

    def advance(self, candidate: Candidate, *, distils: bool) -> Evaluation:
        """Cut the current student, distil it if asked for, and go on from there.

        The better of teacher and students so far teaches the next one (RL-Pruner, section 4.1).
        """
        before = self._timer.seconds
        evaluation = self.measure(candidate)
        if evaluation.is_degenerate:
            return evaluation
        student = self._student(candidate)
        module = to_torch(student.graph)
        self.recalibrate(module)
        if distils and self.advance_settings is not None:
            reached = self._distil(module, self.advance_settings)
            accuracy: float | None = reached
            evaluation = self._evaluation({**evaluation.metrics, "accuracy": reached}, before)
        else:
            reached, accuracy = self._accuracy_of(module, self._compute), None
            evaluation = self._evaluation(evaluation.metrics, before).with_climb((reached,))
        self._adopt(student.plan, module, accuracy)
        return evaluation

    def student(self, plan: Plan) -> Graph:
        """Give the student of a plan with the weights it was last evaluated with; the teacher's, if it never was."""
        return self._students.slim(self._lineage.source(plan), plan)

    def prepared(self, plan: Plan) -> GraphModule:
        """Make the student of a plan ready for training: its layers make up for what was cut, unless it was trained.

        After an advance the current weights are no teacher whose layers could be matched, and statistics must do.
        """
        module, self.refitted = to_torch(self.student(plan)), None
        if plan.is_empty or self._lineage.was_distilled(plan):
            return module
        if self._settings.refit_images and self._lineage.source(plan) is self._teacher:
            pairs = layer_pairs(self._students, self._teacher, plan, module.source_graph)
            images = self._settings.refit_images
            self.refitted = self._closed_form.refit(module, to_torch(self._teacher), pairs, images=images)
        else:
            self.recalibrate(module)
        return module

    def taps(self, plan: Plan, module: GraphModule) -> tuple[FeatureTap, ...]:
        """Find where a student shall compute what its teacher computes; nowhere, where another student teaches."""
        if self.guide.source_graph is not self._teacher:
            return ()
        return choose_taps(layer_pairs(self._students, self._teacher, plan, module.source_graph), self._teacher)

    def go_on_from(self, plan: Plan, module: GraphModule, accuracy: float, *, to: Plan) -> None:
        """Let the student of another plan be cut from a trained one."""
        self._lineage.adopt(plan, from_torch(module), accuracy)
        self._lineage.judged(to)

    def checkpoint(self) -> bytes:
        """Write down the student that was advanced to last."""
        return self._lineage.to_bytes()

    def restore(self, content: bytes) -> None:
        """Go on from a student that `checkpoint` wrote; when there were several, from each of them in order.

        Raises:
            UsageError: the content is none, or of another teacher.
        """
        advance = self._lineage.restore(content)
        self._scores, self._last = self._by_group(), None
        if advance.accuracy is not None:
            self._let_teach(to_torch(self.student(advance.plan)), advance.accuracy)

    def recall(self, plan: Plan) -> None:
        """Remember that a plan was judged with the current weights before an interruption."""
        self._lineage.judged(plan)

    def exact_accuracy(self, module: GraphModule) -> float:
        """Take a network's accuracy on the validation split in float32, as training and reports do."""
        return self._accuracy_of(module, evaluation_compute())

    def recalibrate(self, module: GraphModule) -> None:
        """Give a cut network's batch norms the statistics of what now flows through them."""
        self._closed_form.recalibrate(module, images=self._settings.recalibration_images)

    def _shipped_forms(self, candidates: Iterable[Candidate]) -> Iterator[Graph]:
        for candidate in candidates:
            made = self._made(candidate)
            if not isinstance(made, PlanError):
                yield shipped_form(made.graph)

    def _student(self, candidate: Candidate) -> _Student:
        """Make a candidate's student; the last one is remembered, for it is asked about several times in a row."""
        text = candidate.to_json()
        if self._last is None or self._last[0] != text:
            self._last = text, self._made(candidate)
        if isinstance(self._last[1], PlanError):
            raise self._last[1]
        return self._last[1]

    def _made(self, candidate: Candidate) -> _Student | PlanError:
        with self._timer.stage("slim"):
            try:
                plan = self._students.plan(candidate, self._scores)
                graph = self._students.slim(self._lineage.current, plan)
            except PlanError as error:
                return error
            return _Student(plan=plan, graph=graph, digest=_digest(graph))

    def _climbed(self, student: _Student) -> float:
        if student.module is None or student.rungs[: len(student.taught)] != student.taught:
            student.module, student.taught = to_torch(student.graph), ()
            self.recalibrate(student.module)
        for rung in student.rungs[len(student.taught) :]:
            with self._timer.stage("climb"):
                is_sound = self._course.teach(student.module, start=max(student.taught, default=0), stop=rung)
            student.taught = (*student.taught, rung)
            if not is_sound:
                return 0.0
        # Students are compared with each other only, so the machine's fastest arithmetic will do.
        return self._accuracy_of(student.module, self._compute)

    def _evaluation(self, metrics: Metrics, before: Metrics, failure: str = "") -> Evaluation:
        return Evaluation(
            metrics=metrics, teacher_accuracy=self.teacher_accuracy, failure=failure, seconds=self._spent(before)
        )

    def _spent(self, before: Metrics) -> dict[str, float]:
        spent = {name: seconds - before.get(name, 0.0) for name, seconds in self._timer.seconds.items()}
        return {name: seconds for name, seconds in spent.items() if seconds > 0}

    def _accuracy_of(self, module: GraphModule, compute: Compute) -> float:
        with self._timer.stage("accuracy"):
            placed = module.to(compute.device)
            task = self._task
            return score_module(placed, task.validation, task.normalization, score=task.score, compute=compute)

    def _distil(self, module: GraphModule, settings: DistilSettings) -> float:
        """Train a student, let it teach if it is the best so far, and give its accuracy."""
        generator = make_generator(self._settings.seed + self._lineage.distilled)
        with self._timer.stage("distil"):
            # a student may teach here, whose features are not the teacher's
            plain = replace(settings, features=0.0)
            report = distil(module, self.guide, self._task, settings=plain, generator=generator)
        self._let_teach(module, report.accuracy)
        return report.accuracy

    def _let_teach(self, module: GraphModule, accuracy: float) -> None:
        if accuracy > self._guide_accuracy:
            self.guide, self._guide_accuracy = module, accuracy

    def _adopt(self, plan: Plan, module: GraphModule, accuracy: float | None) -> None:
        """Make a student the current one, and score the channels that it has left."""
        self._lineage.adopt(plan, from_torch(module), accuracy)
        channels, pairs = self._students.bare_channels(plan), self._students.teachers_of(plan)
        found = self._score(module, channels, kept_channels(channels, Plan(keep=plan.keep)))
        self._lineage.worth[pairs[:, 1]] = found[pairs[:, 0]]
        self._scores, self._last = self._by_group(), None

    def _by_group(self) -> dict[str, tuple[float, ...]]:
        return {
            group.name: tuple(float(score) for score in self._lineage.worth[self._channels.members_of(index)])
            for index, group in enumerate(self._channels.groups)
        }

    def _score(self, module: GraphModule, channels: Channels, kept: Mask) -> NDArray[np.float64]:
        how = self._settings
        return self._closed_form.score(how.criterion, module, channels, kept, images=how.scoring_images)


def _digest(graph: Graph) -> str:
    """Digest a graph without writing it out whole: its structure and the bytes of its weights."""
    digest = hashlib.sha256(structure_digest(graph).encode())
    for name in sorted(graph.weights):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(graph.weights[name]).data)
    return digest.hexdigest()
