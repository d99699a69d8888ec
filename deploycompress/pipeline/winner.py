"""The training chapter: distil the winner for as long as the budget lasts."""

from __future__ import annotations

from dataclasses import replace

from deploycompress.execute.local import LocalEnvironment
from deploycompress.network.module import GraphModule, to_torch
from deploycompress.pipeline.job import Job
from deploycompress.plan import Plan
from deploycompress.train.distil import distil
from deploycompress.train.distil_settings import DistilProgress, DistilReport, StopReason
from deploycompress.train.generator import make_generator

LEAST_SECONDS = 1.0


def train_winner(job: Job, environment: LocalEnvironment, plan: Plan) -> tuple[GraphModule, DistilReport]:
    """Distil the student of a plan until the time or the epochs are over; its best weights stay.

    Weights that come from the search compete with those of the training, and the teacher itself is left alone.
    """
    module = to_torch(environment.student(plan))
    if not plan.is_empty and not environment.was_distilled(plan):
        environment.recalibrate(module)
    before = environment.exact_accuracy(module)
    if plan.is_empty:
        return module, _untrained(before)
    settings = replace(job.settings.training, epochs=job.epochs, seconds=_seconds(job))
    generator = make_generator(job.seed)
    with job.progress.stage("distil the winner", total=1.0) as task:
        shares = [0.0]

        def show(progress: DistilProgress) -> None:
            share = min(progress.step / max(progress.end_step, 1), 1.0)
            task.advance(max(share - shares[-1], 0.0))
            shares.append(max(share, shares.pop()))
            best = "not taken yet" if progress.accuracy is None else f"{progress.accuracy:.1%}"
            task.note(f"step {progress.step} of {progress.end_step}, best validation accuracy {best}")

        report = distil(
            module,
            environment.guide,
            job.task,
            settings=settings,
            generator=generator,
            initial_accuracy=before,
            on_step=show,
        )
    if report.stopped is StopReason.DIVERGED:
        job.progress.warning("The winner's training diverged; the best weights before that ship.")
    return module, report


def _untrained(accuracy: float) -> DistilReport:
    return DistilReport(
        accuracy=accuracy,
        best_step=0,
        steps=0,
        images_seen=0,
        seconds=0.0,
        stopped=StopReason.FINISHED,
        corrections=0,
        compute="none",
    )


def _seconds(job: Job) -> float | None:
    left = job.clock.left_s
    return None if left is None else max(left, LEAST_SECONDS)
