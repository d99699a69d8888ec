"""Trains a student to answer like its teacher (N2N 3.5, RL-Pruner 3.4) and leaves it with its best weights."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import nn

from deploycompress.errors import UsageError
from deploycompress.train.accuracy import evaluation_mode, score_module
from deploycompress.train.compute import Compute, placed_on, training_compute
from deploycompress.train.dataset import Dataset
from deploycompress.train.distil_settings import (
    Deadline,
    DistilProgress,
    DistilReport,
    DistilSettings,
    OnStep,
    OnUpdate,
    StopReason,
    TaskData,
)
from deploycompress.train.features import FeatureTap
from deploycompress.train.lesson import Lesson
from deploycompress.train.losses import Outputs
from deploycompress.train.pace import Costs, Pace, TimeLimit, corrected_end, make_time_limit, plan_pace
from deploycompress.train.schedule import OneCycle, peak_for
from deploycompress.train.snapshot import Snapshot, restore_snapshot, take_snapshot
from deploycompress.train.view_count import LEAST_VIEWS, TIMES_SEEN, ask, kept_views, view_count

_SOUND_EVERY = 20  # steps between looks at the loss, which wait for the device
_CORRECT_EVERY = 10  # steps between looks at the pace
_PROBE_STEPS = 2
_PROBE_SHARE = 0.05  # of the time at most goes into one probing step
_STEP_PER_CHECK = 3.0  # seconds to train on an image over seconds to check one, a guess
_PROBE_IMAGES = 256
_MOST_ASKING = 0.9  # of a step


def distil(
    student: nn.Module,
    teacher: nn.Module,
    task: TaskData,
    *,
    settings: DistilSettings,
    generator: torch.Generator,
    deadline: Deadline | None = None,
    initial_accuracy: float | None = None,
    on_step: OnStep | None = None,
    taps: Sequence[FeatureTap] = (),
    on_update: OnUpdate | None = None,
) -> DistilReport:
    """Train the student in place and keep the weights with the best validation accuracy.

    A run limited by steps or epochs alone is deterministic: same seed, same weights. A run limited by time first
    measures a step on the side, fixes the number of steps so that the learning rate's cycle ends with the
    time, and corrects it only when the machine changes speed by more than a twentieth.

    Args:
        student: network to train, [B, C, H, W] to logits [B, K]; its training flags and device are put back.
        teacher: network to imitate; unchanged.
        task: training and validation images and the normalisation of both networks.
        settings: how, and how long.
        generator: a CPU generator; decides order, augmentation and dropout.
        deadline: gives the seconds that remain, or `None` for no limit; asked after each step.
        initial_accuracy: the student's validation accuracy before, when known: its weights then compete too, so
            that a run too short to help does no harm.
        on_step: told after each step.
        taps: where both networks shall compute the same, for `settings.features`.
        on_update: brings up to date what follows from the student's weights; called whenever these have changed.

    Returns:
        What was reached, in how many steps, and why it ended.

    Raises:
        UsageError: nothing limits the run.
    """
    started = time.monotonic()
    limit = make_time_limit(settings.seconds, deadline)
    most_steps = _most_steps(settings, task)
    if math.isinf(most_steps) and math.isinf(limit.left()):
        raise UsageError("Distillation without an end; give steps, epochs, seconds or a deadline.")
    compute = settings.compute or training_compute()
    with (
        placed_on(compute.device, student, teacher),
        evaluation_mode(student),
        evaluation_mode(teacher),
        _scoped_randomness(generator),
    ):
        pair = _Pair(
            student=student,
            teacher=teacher,
            task=task,
            settings=settings,
            compute=compute,
            taps=taps,
            on_update=on_update,
        )
        left_s = limit.left()
        is_timed = math.isfinite(left_s)
        with torch.random.fork_rng(devices=[]):  # what is timed draws for dropout, too
            costs = _measure_costs(pair, generator, left_s=left_s) if is_timed else Costs(step_s=0.0, check_s=0.0)
        run = _Run(pair, generator=generator, limit=limit, costs=costs, most_steps=most_steps)
        run.best.accuracy = initial_accuracy
        stopped = None
        while stopped is None:
            stopped = run.advance()
            if on_step:
                on_step(run.progress())
        return run.conclude(stopped, seconds=time.monotonic() - started)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pair:
    student: nn.Module
    teacher: nn.Module
    task: TaskData
    settings: DistilSettings
    compute: Compute
    taps: Sequence[FeatureTap]
    on_update: OnUpdate | None

    def lesson(self, generator: torch.Generator, *, views: int, pasted: float = 0.0) -> Lesson:
        return Lesson(
            self.student,
            self.teacher,
            self.task,
            settings=replace(self.settings, views=views, pasted=pasted),
            compute=self.compute,
            generator=generator,
            taps=self.taps,
            on_update=self.on_update,
        )

    @contextmanager
    def averaged(self, lesson: Lesson) -> Iterator[None]:
        """Let the student have its averaged weights, if they are averaged, with what follows from them."""
        with lesson.average.applied() if lesson.average else nullcontext():
            if lesson.average and self.on_update:
                self.on_update()
            yield

    def ask(self, images: int) -> tuple[Outputs, float]:
        """Ask the teacher about some images, and time it."""
        return ask(self.teacher, self.task.training, self.task.normalization, self.compute, images=images)

    def kept_views(self) -> int:
        """Count the views of all images whose answers are kept; none where features are matched, too."""
        return 0 if self.taps and self.settings.features else kept_views(self.ask(1)[0], len(self.task.training))

    def accuracy(self, data: Dataset) -> float:
        how = Compute(device=self.compute.device, channels_last=self.compute.channels_last)
        return score_module(self.student, data, self.task.normalization, score=self.task.score, compute=how)


@dataclass(slots=True)
class _Best:
    snapshot: Snapshot
    accuracy: float | None = None
    step: int = 0

    def offer(self, student: nn.Module, value: float, step: int) -> None:
        # of equals the later: it has seen more, at a lower learning rate
        if self.accuracy is None or value >= self.accuracy:
            self.snapshot, self.accuracy, self.step = take_snapshot(student), value, step


class _Run:
    """The state of one distillation."""

    def __init__(
        self, pair: _Pair, *, generator: torch.Generator, limit: TimeLimit, costs: Costs, most_steps: float
    ) -> None:
        settings = pair.settings
        self.best = _Best(snapshot=take_snapshot(pair.student))
        self._pair, self._limit, self._costs, self._most_steps = pair, limit, costs, most_steps
        views, self._pace = _views_and_pace(pair, costs, left_s=limit.left(), most_steps=most_steps)
        images = self._pace.end_step * settings.batch_size
        peak = settings.peak_rate or peak_for(images)
        self._cycle = OneCycle(peak=peak, warm_up=settings.warm_up, end_step=self._pace.end_step)
        self._views, self._pasted = views, _pasted(settings, pair.task, images)
        self._lesson = pair.lesson(generator, views=views, pasted=self._pasted)
        self._step, self._corrections, self._checks_since_best = 0, 0, 0
        self._timed_step, self._timed_at = 0, time.monotonic()

    def advance(self) -> StopReason | None:
        """Do one step with what follows from it, and say whether the run is over."""
        self._pair.student.train()
        self._lesson.step(self._cycle.rate(self._step))
        self._step += 1
        if self._step % _CORRECT_EVERY == 0 and math.isfinite(self._limit.left()):
            self._take_pace()
            self._correct()
        is_check = self._pace.is_check(self._step)
        is_late = self._step < self._pace.end_step and self._limit.left() <= self._costs.check_s
        if (is_check or is_late or self._step % _SOUND_EVERY == 0) and not self._lesson.is_sound():
            return StopReason.DIVERGED
        if is_check or is_late:
            self._check()
        if is_late:
            return StopReason.DEADLINE
        if 0 < self._pair.settings.patience <= self._checks_since_best:
            return StopReason.PLATEAU
        return StopReason.FINISHED if self._step >= self._pace.end_step else None

    def progress(self) -> DistilProgress:
        rate = self._cycle.rate(self._step - 1)
        return DistilProgress(step=self._step, end_step=self._pace.end_step, rate=rate, accuracy=self.best.accuracy)

    def conclude(self, stopped: StopReason, *, seconds: float) -> DistilReport:
        """Leave the student with its best weights."""
        self._lesson.close()
        restore_snapshot(self._pair.student, self.best.snapshot)
        if self.best.accuracy is None:  # it diverged before the first check
            self.best.accuracy = self._pair.accuracy(self._pair.task.validation)
        return DistilReport(
            accuracy=self.best.accuracy,
            best_step=self.best.step,
            steps=self._step,
            peak_rate=self._cycle.peak,
            images_seen=self._step * self._pair.settings.batch_size,
            seconds=seconds,
            stopped=stopped,
            corrections=self._corrections,
            compute=self._pair.compute.describe(),
            views=self._views if self._pair.settings.augments else 1,
            pasted=self._pasted,
        )

    def _check(self) -> None:
        started = time.monotonic()
        with self._pair.averaged(self._lesson):
            self.best.offer(self._pair.student, self._pair.accuracy(self._pair.task.validation), self._step)
        self._checks_since_best = 0 if self.best.step == self._step else self._checks_since_best + 1
        self._timed_step, self._timed_at = self._step, time.monotonic()  # the check is no part of a step's time
        self._costs = replace(self._costs, check_s=self._timed_at - started)
        if math.isfinite(self._limit.left()):
            self._correct()

    def _take_pace(self) -> None:
        steps = self._step - self._timed_step
        if steps > 0:
            now = time.monotonic()
            asked = max(min(self._step, self._pace.asked_steps) - self._timed_step, 0)
            foreseen_s, passed_s = steps * self._costs.step_s + asked * self._costs.ask_s, now - self._timed_at
            # nothing is foreseen where a deadline came up on the way; one slow stretch, often somebody else's, is half
            # believed
            known = self._costs.at_speed(math.sqrt(passed_s / foreseen_s)) if foreseen_s else None
            self._costs = known or replace(self._costs, step_s=passed_s / steps)
            self._timed_step, self._timed_at = self._step, now

    def _correct(self) -> None:
        end_step = corrected_end(
            self._pace, self._costs, step=self._step, left_s=self._limit.left(), most_steps=self._most_steps
        )
        if self._step < self._pace.end_step != end_step:
            self._pace = replace(self._pace, end_step=end_step)
            self._cycle = self._cycle.corrected(self._step, end_step)
            self._corrections += 1


def _most_steps(settings: DistilSettings, task: TaskData) -> float:
    steps = math.inf if settings.steps is None else settings.steps
    if settings.epochs is None:
        return steps
    return min(steps, math.ceil(settings.epochs * len(task.training) / settings.batch_size))


def _pasted(settings: DistilSettings, task: TaskData, images: int) -> float:
    """Give the share of pasted views: none in a short run, nor where there are no views or no teacher to name them."""
    is_long = images >= settings.pasted_from * len(task.training)
    is_possible = settings.augments and task.names_classes and settings.loss.has_teacher
    return settings.pasted if is_long and is_possible else 0.0


def _views_and_pace(pair: _Pair, costs: Costs, *, left_s: float, most_steps: float) -> tuple[int, Pace]:
    """Choose how many views of each image a run shows, and how long it is when the teacher sees each once."""
    how, count, kept = pair.settings, len(pair.task.training), pair.kept_views()
    plan = partial(plan_pace, left_s=left_s, most_steps=most_steps, checks=how.checks)
    foreseen = plan(replace(costs, step_s=costs.step_s + costs.ask_s / TIMES_SEEN, ask_s=0.0))
    views = view_count(foreseen.end_step * how.batch_size / count, at_most=how.views, kept=kept)
    shown = views if how.augments else 1
    return views, plan(costs, asked_steps=math.ceil(shown * count / how.batch_size) if kept >= shown else 0)


def _measure_costs(pair: _Pair, generator: torch.Generator, *, left_s: float) -> Costs:
    """Time a few steps and part of a validation, and undo them; on a slow machine one step must do."""
    before = take_snapshot(pair.student)
    lesson = pair.lesson(generator.clone_state(), views=1)
    pair.student.train()
    step_s = _time_steps(lesson, 1)  # pays for memory and the choice of kernels, too
    validation = pair.task.validation
    check_s = step_s * len(validation) / pair.settings.batch_size / _STEP_PER_CHECK
    if step_s < _PROBE_SHARE * left_s:
        step_s = _time_steps(lesson, _PROBE_STEPS)
        some = validation.take(np.unique(np.linspace(0, len(validation) - 1, _PROBE_IMAGES).astype(np.int64)))
        started = time.monotonic()
        pair.accuracy(some)
        check_s = (time.monotonic() - started) * len(validation) / len(some)
    keeps = pair.kept_views() >= min(LEAST_VIEWS, pair.settings.views if pair.settings.augments else 1)
    ask_s = min(pair.ask(pair.settings.batch_size)[1], _MOST_ASKING * step_s) if keeps else 0.0
    lesson.close()
    restore_snapshot(pair.student, before)
    return Costs(step_s=step_s - ask_s, check_s=check_s, ask_s=ask_s)


def _time_steps(lesson: Lesson, count: int) -> float:
    started = time.monotonic()
    for _ in range(count):
        lesson.step(0.0)
    lesson.is_sound()  # waits for the device
    return (time.monotonic() - started) / count


@contextmanager
def _scoped_randomness(generator: torch.Generator) -> Iterator[None]:
    # dropout draws from torch's own generator: give it a state that follows from ours, and the old one back
    seed = int(torch.randint(2**62, (), generator=generator))
    with torch.random.fork_rng(devices=[]):
        torch.set_rng_state(torch.Generator().manual_seed(seed).get_state())
        yield
