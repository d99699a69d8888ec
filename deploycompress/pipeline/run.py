"""The whole story, top to bottom: model file in, verified and measured model.onnx out."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from deploycompress.capturing.capture import Source
from deploycompress.execute.local import LocalEnvironment
from deploycompress.execute.local_settings import LocalSettings
from deploycompress.execute.metrics import student_metrics
from deploycompress.execute.stages import StageTimer
from deploycompress.measuring.devices import Devices, open_devices
from deploycompress.measuring.measurement import Measurement
from deploycompress.pipeline.checkpoint import MEMORY_FILE, Checkpoint, Resumed, read_resumed
from deploycompress.pipeline.document import Document, Outcome, build_document
from deploycompress.pipeline.final import judge_finally
from deploycompress.pipeline.gate import Row, judge, until_conclusive
from deploycompress.pipeline.int8 import calibration_images
from deploycompress.pipeline.job import Job, Request, prepare
from deploycompress.pipeline.lower import lower
from deploycompress.pipeline.precision_measured import with_precision
from deploycompress.pipeline.precision_table import PrecisionRow, compare_precisions, teacher_alone
from deploycompress.pipeline.request_file import describe_request, read_request
from deploycompress.pipeline.reserve import final_seconds, seconds_an_image
from deploycompress.pipeline.result import Result, check_destination, write_result
from deploycompress.pipeline.search import find_plan
from deploycompress.pipeline.ship import measure_beside, measure_shipped, thorough_starts, verify
from deploycompress.pipeline.task import DataSpec, class_count
from deploycompress.pipeline.winner import train_winner
from deploycompress.precision import Precision
from deploycompress.profile import Profile
from deploycompress.profile_advice import about_saturation, about_steps
from deploycompress.report.progress import Progress
from deploycompress.train.accuracy import chance_warning
from deploycompress.train.score import ACCURACY, AGREEMENT, OUTPUT_MATCH


def compress(
    source: Source,
    *,
    profile: str | os.PathLike[str] | Profile,
    data: DataSpec | None = None,
    test_data: DataSpec | None = None,
    normalize: str | None = None,
    metric: str | None = None,
    precision: str | None = None,
    constraints: Sequence[str] | None = None,
    search: str = "joint",
    policy: str | os.PathLike[str] | None = None,
    settings: Sequence[str] = (),
    budget: float | None = None,
    evaluations: int | None = None,
    epochs: int | None = None,
    input_shape: tuple[int, ...] | None = None,
    targets: Sequence[str] = (),
    arch: str | None = None,
    trust: bool = False,
    allow: Sequence[str] = (),
    out: str | os.PathLike[str] | None = None,
    force: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
) -> Result:
    """Shrink a trained network until it meets the constraints, and prove and measure what comes out.

    The files model.onnx, result.json and trace.jsonl go to the folder `out`, where one is given, and replace a result
    or an unfinished search that is there only with `force`. While the search runs the folder also holds what `resume`
    needs. All other parameters are those of `pipeline.job.Request`, which explains each.

    Returns:
        The result; `met` says whether the shipped bytes meet every constraint.

    Raises:
        DeployCompressError: something the caller can act on; each kind has its own exit code.
    """
    destination = None if out is None else Path(out)
    check_destination(destination, force=force)
    request = Request(
        source=source, profile=profile, data=data, test_data=test_data, normalize=normalize, metric=metric,
        precision=precision, constraints=constraints, search=search, policy=policy, settings=tuple(settings),
        budget=budget, evaluations=evaluations, epochs=epochs, input_shape=input_shape, targets=tuple(targets),
        arch=arch, trust=trust, allow=tuple(allow), seed=seed, progress=progress,
    )  # fmt: skip
    return carry_out(request, destination, Resumed(), force=force)


def resume(folder: str | os.PathLike[str], *, trust: bool = False, progress: Progress | None = None) -> Result:
    """Go on with a run that was interrupted during its search.

    The same plans follow as if it had not been interrupted; a budget in time goes on where it was.

    Args:
        folder: the output folder of the run.
        trust: load code that the run names: an `arch` or metric, data from a factory, a file that may run code, allowed
            classes, a target that may run commands.
        progress: who is told of the stages.

    Raises:
        UsageError: the folder holds no interrupted run, or the run names code and `trust` is not set.
        DeployCompressError: as `compress`.
    """
    destination = Path(folder)
    request = replace(read_request(destination, trust=trust), progress=progress)
    resumed = read_resumed(destination)
    return carry_out(request, destination, resumed, force=True)


def carry_out(request: Request, destination: Path | None, resumed: Resumed, *, force: bool) -> Result:
    """Run a request from its beginning, or from where its search stood."""
    job = prepare(request, spent_s=resumed.spent_s)
    images = None if job.made_up is None else len(job.made_up.data)
    with open_devices(job.profile, job.targets, job.progress.warning) as devices:
        job = with_precision(job, devices)
        known = replace(request, images=images, settled=str(job.precision))
        checkpoint = Checkpoint(destination, describe_request(known))
        if destination is not None and resumed.progress is not None:
            checkpoint.memory.keep_in(destination / MEMORY_FILE)
        document, model, policy = _run(job, devices, checkpoint, resumed)
    if destination is not None:
        write_result(destination, document, model, policy, force=force)
        checkpoint.finish()
    met = all(row["ok"] for row in document["constraints"])
    return Result(met=met, document=document, model=model, out=destination)


def _run(job: Job, devices: Devices, checkpoint: Checkpoint, resumed: Resumed) -> tuple[Document, bytes, bytes | None]:
    timer = StageTimer()
    with job.progress.stage("judge the teacher"):
        environment = _environment(job, devices, checkpoint)
        baseline = environment.baseline
        teacher = measure_beside(baseline, baseline, devices, job.settings.ship)
    _greet(job, environment.teacher_accuracy, teacher)
    image_s, begun = seconds_an_image(job), time.monotonic()
    alone = None
    if job.precision is not Precision.FP32:
        with job.progress.stage("judge what the precision alone would give"), timer.stage("compare precisions"):
            alone = teacher_alone(job, baseline)
    lowering_s = time.monotonic() - begun
    job.clock.keep_back(final_seconds(job, image_s) + lowering_s * (2 if job.is_free else 1))  # free to mix: once more
    found = find_plan(job, environment, checkpoint, resumed)
    job.progress.message(f"{found.reason} The winner is the plan of: {found.by}.")
    module, training = train_winner(job, environment, found.plan)
    timer.add("train the winner", training.seconds)
    job.clock.keep_back(final_seconds(job, image_s))  # calibration has its own time, training the rest
    with timer.stage("lower the precision"):
        lowered = lower(job, environment, module, found.plan)
    with job.progress.stage("verify and measure what ships"), timer.stage("verify"):
        model = lowered.graph.to_bytes()
        parity = verify(lowered, module, job.teacher, found.plan, images=calibration_images(job)[0], seed=job.seed)
        counted = partial(
            student_metrics, lowered.graph, baseline, teacher_peak_bytes=teacher.activation_peak_bytes, file=model
        )

        def take(again: bool) -> tuple[Measurement, list[Row]]:
            found = measure_shipped(model, baseline, devices, job.settings.ship, again=again)
            return found, judge(job.constraints, counted(found), found)

        measurement, _ = until_conclusive(take)
    with job.progress.stage("take the final score"), timer.stage("final score"):
        final = judge_finally(job.task, job.held_out, teacher=job.teacher.to_bytes(), student=model)
    if final.accuracy and job.task.score is not ACCURACY:  # nobody has seen labels before
        _warn_near_chance(job, final.accuracy.teacher)
    precisions: tuple[PrecisionRow, ...] = ()
    if alone is not None:
        with job.progress.stage("compare precisions"), timer.stage("compare precisions"):
            precisions = compare_precisions(job, baseline, alone, devices, lowered, final, teacher, measurement)
    outcome = Outcome(
        lowered=lowered,
        model=model,
        baseline=baseline,
        teacher_measurement=teacher,
        measurement=measurement,
        final=final,
        teacher_validated=environment.teacher_accuracy,
        rows=judge(job.constraints, {**counted(measurement), "accuracy": final.validated}, measurement),
        parity=parity,
        found=found,
        training=training,
        refitted=environment.refitted,
        precisions=precisions,
        seconds={**environment.seconds, **timer.seconds},
    )
    return build_document(job, outcome), model, found.policy


def _environment(job: Job, devices: Devices, checkpoint: Checkpoint) -> LocalEnvironment:
    settings = LocalSettings(
        seed=job.seed,
        anchor_seconds=job.settings.ship.seconds,
        anchor_starts=thorough_starts(job.settings.ship, job.profile),
        measures_rss=any("peak_rss_mib" in row.metrics for row in job.constraints),
        course=job.settings.course,
        criterion=job.settings.importance.criterion,
        refit_images=job.settings.recovery.refit_images,
        precision=job.precision or Precision.FP32,
        form=job.profile.precision.int8,
    )
    return LocalEnvironment(
        job.teacher, job.channels, job.offered, task=job.task, meter=devices, settings=settings,
        memory=checkpoint.memory,
    )  # fmt: skip


def _greet(job: Job, score: float, measurement: Measurement) -> None:
    """Show what the teacher can do before anything else, and be loud when it looks wrong."""
    if job.profile.needs_target and not job.targets:
        job.progress.warning(
            f"The device of profile {job.profile.name!r} is reached by {job.profile.measure.reach}, and no --target "
            "says where it is: this machine stands in for it, and what it measures is a proxy."
        )
    job.progress.message(
        f"{_judged_by(job, score)} (normalisation {job.task.normalization.name}). "
        f"The teacher takes {measurement.median_ms:.3f} ms ({measurement.evidence})."
    )
    for about in (about_steps, about_saturation):
        advice = about(job.profile, job.precision or Precision.FP32)
        if advice:
            job.progress.warning(f"Profile {job.profile.name!r}: {advice}")
    if job.task.score is ACCURACY:
        _warn_near_chance(job, score)


def _warn_near_chance(job: Job, accuracy: float) -> None:
    classes = class_count(job.teacher, job.task.score)
    warning = chance_warning(accuracy, classes) if classes else None
    if warning:
        job.progress.warning(warning)


def _judged_by(job: Job, score: float) -> str:
    """Say what students are judged by, and on which images."""
    images = f"{len(job.task.validation)} validation images"
    if job.task.score is ACCURACY:
        return f"The teacher gets {score:.2%} of {images} right"
    if job.task.score is AGREEMENT:
        why = "" if job.made_up else f"{job.task.training.source} has no labels. "
        return f"{why}Students are judged by how often they name the same class as the teacher, on {images}"
    if job.task.score is OUTPUT_MATCH:
        why = "The model's outputs are no logits [N, classes]. "
        return f"{why}Students are judged by the relative error of their outputs to the teacher's, on {images}"
    return f"Students are judged by {job.task.score.name} relative to the teacher's own value, on {images}"
