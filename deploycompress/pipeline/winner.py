"""The training chapter: distil the winner for as long as the budget lasts."""

from __future__ import annotations

from dataclasses import replace

from deploycompress.execute.local import LocalEnvironment
from deploycompress.network.module import GraphModule
from deploycompress.pipeline.job import Job
from deploycompress.pipeline.rounds import Round, plan_rounds, share_of_time
from deploycompress.plan import Plan
from deploycompress.precision import Precision
from deploycompress.report.progress import Task
from deploycompress.train.distil import distil
from deploycompress.train.distil_settings import DistilProgress, DistilReport, DistilSettings, OnStep, StopReason
from deploycompress.train.generator import make_generator

LEAST_SECONDS = 1.0


def train_winner(job: Job, environment: LocalEnvironment, plan: Plan) -> tuple[GraphModule, DistilReport]:
    """Distil the student of a plan until the time or the epochs are over; its best weights stay.

    Weights that come from the search compete with those of the training, and the teacher itself is left alone.
    """
    if plan.is_empty:
        module = environment.prepared(plan)
        return module, _untrained(environment.exact_accuracy(module))
    reports: list[DistilReport] = []
    rounds = plan_rounds(plan, job.settings.recovery.rounds)
    with job.progress.stage("distil the winner", total=1.0) as task:
        for number, part in enumerate(rounds):
            module = environment.prepared(part.plan)
            settings = _settings(job, part, share_left=sum(later.share for later in rounds[number:]))
            taps = environment.taps(part.plan, module) if settings.features else ()
            if settings.features and not taps:
                job.progress.warning("Features are not matched: none of the student's are its teacher's.")
            report = distil(
                module,
                environment.guide,
                job.task,
                settings=settings if taps else replace(settings, features=0.0),
                generator=make_generator(job.seed + number),
                initial_accuracy=environment.exact_accuracy(module),
                on_step=shower(task, part.share, job.task.score.name),
                taps=taps,
            )
            reports.append(report)
            if part.plan != plan:
                environment.go_on_from(part.plan, module, report.accuracy, to=rounds[number + 1].plan)
    if any(report.stopped is StopReason.DIVERGED for report in reports):
        job.progress.warning("The winner's training diverged; the best weights before that ship.")
    return module, _summed(reports)


def _settings(job: Job, part: Round, *, share_left: float) -> DistilSettings:
    """Give a round its share of the epochs, and of the time that the rounds before it left."""
    left_s, later = job.clock.left_s, int8_share(job)
    share = share_of_time(part.share, rounds_left=share_left, later=later)
    seconds = None if left_s is None else max(left_s * share, LEAST_SECONDS)
    epochs = None if job.epochs is None else job.epochs * (1 - later) * part.share
    return replace(job.settings.training, epochs=epochs, seconds=seconds)


def int8_share(job: Job) -> float:
    """Give the share of the winner's training that it spends in 8 bits."""
    return job.settings.quantization.share if job.precision is Precision.INT8 else 0.0


def shower(task: Task, share: float, score: str) -> OnStep:
    """Make what shows the progress of a distillation that is a share of a task."""
    shown = [0.0]

    def show(progress: DistilProgress) -> None:
        done = share * min(progress.step / max(progress.end_step, 1), 1.0)
        task.advance(max(done - shown[-1], 0.0))
        shown.append(max(done, shown.pop()))
        best = "not taken yet" if progress.accuracy is None else f"{progress.accuracy:.1%}"
        task.note(f"step {progress.step} of {progress.end_step}, best validation {score} {best}")

    return show


def _summed(reports: list[DistilReport]) -> DistilReport:
    """Count the work of all rounds; what was reached is the last one's."""
    return replace(
        reports[-1],
        steps=sum(report.steps for report in reports),
        images_seen=sum(report.images_seen for report in reports),
        seconds=sum(report.seconds for report in reports),
        corrections=sum(report.corrections for report in reports),
    )


def _untrained(accuracy: float) -> DistilReport:
    return DistilReport(
        accuracy=accuracy,
        best_step=0,
        steps=0,
        peak_rate=0.0,
        images_seen=0,
        seconds=0.0,
        stopped=StopReason.FINISHED,
        corrections=0,
        compute="none",
        views=0,
        pasted=0.0,
    )
