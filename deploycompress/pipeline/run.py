"""The whole story, top to bottom: model file in, verified and measured model.onnx out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from deploycompress.capture.capture import Source, capture
from deploycompress.channels.trace import trace_channels
from deploycompress.constraint import parse_constraint
from deploycompress.errors import UsageError
from deploycompress.execute.local import LocalEnvironment, LocalSettings, analytic_metrics
from deploycompress.execute.stages import StageTimer
from deploycompress.measure.measurement import Measurement
from deploycompress.measure.meter import Meter
from deploycompress.pipeline.budget import DEFAULT_BUDGET_S, Stopwatch
from deploycompress.pipeline.document import Document, Outcome, build_document
from deploycompress.pipeline.job import Job, read_data, search_space
from deploycompress.pipeline.result import Result, check_destination, write_result
from deploycompress.pipeline.search import find_plan
from deploycompress.pipeline.ship import accuracy_in_runtime, finish, judge, measure_shipped, verify
from deploycompress.pipeline.winner import train_winner
from deploycompress.profile import Profile, load_profile
from deploycompress.report.progress import Progress, SilentProgress
from deploycompress.search import ENGINES
from deploycompress.search.reward import RewardSettings
from deploycompress.search.rl_pruner import RlPrunerSettings
from deploycompress.train.accuracy import chance_warning


def compress(
    source: Source,
    *,
    profile: str | os.PathLike[str] | Profile,
    data: str | Sequence[str] | None = None,
    test_data: str | Sequence[str] | None = None,
    normalize: str | None = None,
    constraints: Sequence[str] | None = None,
    search: str = "rl-pruner",
    engine: RlPrunerSettings | None = None,
    reward: RewardSettings | None = None,
    budget: float | None = None,
    evaluations: int | None = None,
    epochs: int | None = None,
    input_shape: tuple[int, ...] | None = None,
    arch: str | None = None,
    trust: bool = False,
    allow: Sequence[str] = (),
    out: str | os.PathLike[str] | None = None,
    force: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
) -> Result:
    """Shrink a trained network until it meets the constraints, and prove and measure what comes out.

    Args:
        source: model file, ONNX model, or module.
        profile: name or path of a device profile, or the profile itself.
        data: training data; a validation split is taken from it, and rewards see only that.
        test_data: held-out data, used once, for the final accuracy.
        normalize: how pixels become inputs; none for the default of the kind of data.
        constraints: replace the profile's.
        search: name of the engine.
        engine: settings of RL-Pruner; none for the paper's, stopping once the constraints are met.
        reward: which reward; none for RL-Pruner's accuracy-based one with linearly annealed constraints.
        budget: seconds for the whole run; by default 15 minutes unless both `evaluations` and `epochs` are given.
        evaluations: most students the search may try.
        epochs: rounds of the winner's training, instead of what the budget allows.
        input_shape: shape of the input, batch included, where the file does not say.
        arch: what builds the network of a state dict.
        trust: load files that may run code of their own.
        allow: further classes a pickled module may use.
        out: folder for model.onnx and result.json; none writes nothing.
        force: replace a result that is there already.
        seed: of everything random.
        progress: who is told of the stages.

    Returns:
        The result; `met` says whether the shipped bytes meet every constraint.

    Raises:
        DeployCompressError: something the caller can act on; each kind has its own exit code.
    """
    destination = None if out is None else Path(out)
    check_destination(destination, force=force)
    if search not in ENGINES:
        raise UsageError(f"There is no search engine {search!r}; known: {', '.join(ENGINES)}.")
    target = profile if isinstance(profile, Profile) else load_profile(profile)
    rows = target.constraints if constraints is None else tuple(parse_constraint(text) for text in constraints)
    listener = progress or SilentProgress()
    is_open_ended = evaluations is not None and epochs is not None
    clock = Stopwatch(DEFAULT_BUDGET_S if budget is None and not is_open_ended else budget)
    with listener.stage("capture the model"):
        teacher = capture(
            source,
            input_shape=input_shape,
            arch=arch,
            trust=trust,
            allow=tuple(allow),
            max_opset=target.runtime.max_opset,
            max_ir=target.runtime.max_ir,
        )
        channels = trace_channels(teacher)
    with listener.stage("read the data"):
        task, test = read_data(teacher, data, test_data, normalize=normalize, seed=seed)
    job = Job(
        teacher=teacher,
        channels=channels,
        space=search_space(channels, target.channels.quantum),
        task=task,
        test=test,
        profile=target,
        constraints=rows,
        engine=engine or RlPrunerSettings(stop_when_met=True),
        reward=reward or RewardSettings(),
        epochs=epochs,
        evaluations=evaluations,
        seed=seed,
        clock=clock,
        progress=listener,
    )
    document, model = _run(job)
    if destination is not None:
        write_result(destination, document, model, force=force)
    met = all(row["ok"] for row in document["constraints"])
    return Result(met=met, document=document, model=model, out=destination)


def _run(job: Job) -> tuple[Document, bytes]:
    timer = StageTimer()
    with Meter(job.profile) as meter:
        with job.progress.stage("judge the teacher"):
            environment = LocalEnvironment(
                job.teacher, job.channels, task=job.task, meter=meter, settings=LocalSettings(seed=job.seed)
            )
            teacher = measure_shipped(job.teacher.to_bytes(), job.teacher, meter)
        _greet(job, environment.teacher_accuracy, teacher)
        found = find_plan(job, environment)
        with timer.stage("train the winner"):
            module, training = train_winner(job, environment, found.plan)
        with job.progress.stage("verify and measure what ships"), timer.stage("verify"):
            shipped = finish(module)
            model = shipped.to_bytes()
            parity = verify(shipped, module, job.teacher, found.plan, channels=job.channels, seed=job.seed)
            measurement = measure_shipped(model, job.teacher, meter)
    with job.progress.stage("take the final accuracy"), timer.stage("final accuracy"):
        accuracy = _final_accuracy(job, model)
    metrics = {
        **analytic_metrics(shipped, job.teacher),
        **measurement.metrics(),
        "accuracy": training.accuracy,
    }
    outcome = Outcome(
        shipped=shipped,
        model=model,
        teacher_measurement=teacher,
        measurement=measurement,
        accuracy=accuracy,
        split="validation" if job.test is None else "test",
        validation_accuracy=environment.teacher_accuracy,
        rows=judge(job.constraints, metrics, measurement),
        parity=parity,
        found=found,
        training=training,
        seconds={**environment.seconds, **timer.seconds},
    )
    return build_document(job, outcome), model


def _greet(job: Job, accuracy: float, measurement: Measurement) -> None:
    """Show what the teacher can do before anything else, and be loud when it looks wrong."""
    normalization = job.task.normalization
    job.progress.message(
        f"The teacher gets {accuracy:.2%} of {len(job.task.validation)} validation images right "
        f"(normalisation {normalization.name}) and takes {measurement.median_ms:.3f} ms ({measurement.evidence})."
    )
    classes = job.teacher.shapes[job.teacher.outputs[0].name][1]
    warning = chance_warning(accuracy, classes)
    if warning:
        job.progress.warning(warning)


def _final_accuracy(job: Job, model: bytes) -> dict[str, float]:
    judged = job.test or job.task.validation
    normalization = job.task.normalization
    return {
        "teacher": accuracy_in_runtime(job.teacher.to_bytes(), judged, normalization),
        "student": accuracy_in_runtime(model, judged, normalization),
    }
