"""The whole story, top to bottom: model file in, verified and measured model.onnx out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from deploycompress.capturing.capture import Source
from deploycompress.execute.local import LocalEnvironment, LocalSettings
from deploycompress.execute.metrics import student_metrics
from deploycompress.execute.stages import StageTimer
from deploycompress.measuring.devices import open_devices
from deploycompress.measuring.measurement import Measurement
from deploycompress.pipeline.checkpoint import MEMORY_FILE, Checkpoint, Resumed, read_resumed
from deploycompress.pipeline.document import Document, Outcome, build_document
from deploycompress.pipeline.gate import Row, judge, until_conclusive
from deploycompress.pipeline.job import Job, Request, prepare
from deploycompress.pipeline.request_file import describe_request, read_request
from deploycompress.pipeline.result import Result, check_destination, write_result
from deploycompress.pipeline.search import find_plan
from deploycompress.pipeline.ship import (
    accuracy_in_runtime,
    finish,
    measure_shipped,
    measure_teacher,
    shipping_seconds,
    verify,
)
from deploycompress.pipeline.task import DataSpec
from deploycompress.pipeline.winner import train_winner
from deploycompress.profile import Profile
from deploycompress.report.progress import Progress
from deploycompress.train.accuracy import chance_warning


def compress(
    source: Source,
    *,
    profile: str | os.PathLike[str] | Profile,
    data: DataSpec | None = None,
    test_data: DataSpec | None = None,
    normalize: str | None = None,
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
        source=source, profile=profile, data=data, test_data=test_data, normalize=normalize, constraints=constraints,
        search=search, policy=policy, settings=tuple(settings), budget=budget, evaluations=evaluations, epochs=epochs,
        input_shape=input_shape, targets=tuple(targets), arch=arch, trust=trust, allow=tuple(allow), seed=seed,
        progress=progress,
    )  # fmt: skip
    return carry_out(request, destination, Resumed(), force=force)


def resume(folder: str | os.PathLike[str], *, trust: bool = False, progress: Progress | None = None) -> Result:
    """Go on with a run that was interrupted during its search.

    The same plans follow as if it had not been interrupted; a budget in time goes on where it was.

    Args:
        folder: the output folder of the run.
        trust: load code that the run names: an `arch`, data from a factory, a file that may run code, allowed classes.
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
    checkpoint = Checkpoint(destination, describe_request(request))
    if destination is not None and resumed.progress is not None:
        checkpoint.memory.keep_in(destination / MEMORY_FILE)
    document, model, policy = _run(job, checkpoint, resumed)
    if destination is not None:
        write_result(destination, document, model, policy, force=force)
        checkpoint.finish()
    met = all(row["ok"] for row in document["constraints"])
    return Result(met=met, document=document, model=model, out=destination)


def _run(job: Job, checkpoint: Checkpoint, resumed: Resumed) -> tuple[Document, bytes, bytes | None]:
    timer = StageTimer()
    with open_devices(job.profile, job.targets, job.progress.warning) as meter:
        with job.progress.stage("judge the teacher"):
            reads_rss = any("peak_rss_mib" in row.metrics for row in job.constraints)
            settings = LocalSettings(seed=job.seed, measures_rss=reads_rss, course=job.settings.course)
            environment = LocalEnvironment(
                job.teacher, job.channels, job.offered, task=job.task, meter=meter, settings=settings,
                memory=checkpoint.memory,
            )  # fmt: skip
            baseline = environment.baseline
            teacher = measure_teacher(baseline, meter, job.settings.ship)
        job.clock.keep_back(_final_seconds(job, teacher))
        _greet(job, environment.teacher_accuracy, teacher)
        found = find_plan(job, environment, checkpoint, resumed)
        job.progress.message(f"{found.reason} The winner is the plan of: {found.by}.")
        module, training = train_winner(job, environment, found.plan)
        timer.add("train the winner", training.seconds)
        with job.progress.stage("verify and measure what ships"), timer.stage("verify"):
            shipped = finish(module)
            model = shipped.to_bytes()
            parity = verify(shipped, module, job.teacher, found.plan, seed=job.seed)
            counted = partial(student_metrics, shipped, baseline, teacher_peak_bytes=teacher.activation_peak_bytes)

            def take(again: bool) -> tuple[Measurement, list[Row]]:
                found = measure_shipped(model, baseline, meter, job.settings.ship, again=again)
                return found, judge(job.constraints, counted(found), found)

            measurement, _ = until_conclusive(take)
    with job.progress.stage("take the final accuracy"), timer.stage("final accuracy"):
        validated = accuracy_in_runtime(model, job.task.validation, job.task.normalization)
        accuracy = _final_accuracy(job, model, validated)
    outcome = Outcome(
        shipped=shipped,
        model=model,
        baseline=baseline,
        teacher_measurement=teacher,
        measurement=measurement,
        accuracy=accuracy,
        split="validation" if job.test is None else "test",
        validation_accuracy=environment.teacher_accuracy,
        rows=judge(job.constraints, {**counted(measurement), "accuracy": validated}, measurement),
        parity=parity,
        found=found,
        training=training,
        seconds={**environment.seconds, **timer.seconds},
    )
    return build_document(job, outcome), model, found.policy


def _greet(job: Job, accuracy: float, measurement: Measurement) -> None:
    """Show what the teacher can do before anything else, and be loud when it looks wrong."""
    normalization = job.task.normalization
    if job.profile.needs_target and not job.targets:
        job.progress.warning(
            f"The device of profile {job.profile.name!r} is reached by {job.profile.measure.reach}, and no --target "
            "says where it is: this machine stands in for it, and what it measures is a proxy."
        )
    job.progress.message(
        f"The teacher gets {accuracy:.2%} of {len(job.task.validation)} validation images right "
        f"(normalisation {normalization.name}) and takes {measurement.median_ms:.3f} ms ({measurement.evidence})."
    )
    classes = job.teacher.shapes[job.teacher.outputs[0].name][1]
    warning = chance_warning(accuracy, classes)
    if warning:
        job.progress.warning(warning)


def _final_seconds(job: Job, teacher: Measurement) -> float:
    """Foresee what judging the shipped model takes: the teacher and a student that is no slower, on every image."""
    images = 2 * len(job.test or ()) + (1 if job.test else 2) * len(job.task.validation)
    return images * teacher.median_ms / 1e3 + shipping_seconds(job.settings.ship, job.profile)


def _final_accuracy(job: Job, model: bytes, validated: float) -> dict[str, float]:
    judged = job.test or job.task.validation
    normalization = job.task.normalization
    return {
        "teacher": accuracy_in_runtime(job.teacher.to_bytes(), judged, normalization),
        "student": accuracy_in_runtime(model, judged, normalization) if job.test else validated,
    }
