"""Everything a run knows before it searches: the teacher, what may be cut, the data, the limits."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from deploycompress.capturing.capture import Source, capture
from deploycompress.channels.records import Channels
from deploycompress.channels.trace import trace_channels
from deploycompress.constraint import Constraint, parse_constraint
from deploycompress.errors import MissingShapeError, UsageError
from deploycompress.graph import Graph
from deploycompress.pipeline.budget import Stopwatch, seconds_of
from deploycompress.pipeline.data_free import VALIDATION_SHARE, MadeUp, make_up_data
from deploycompress.pipeline.policies import with_policy
from deploycompress.pipeline.precision_asked import AUTO, native_warning, read_precision
from deploycompress.pipeline.settings import Settings, read_settings
from deploycompress.pipeline.space import build_space
from deploycompress.pipeline.task import DataSpec, HeldOut, choose_score, make_task, read_data, read_held_out
from deploycompress.precision import Precision
from deploycompress.profile import Profile
from deploycompress.profile_files import load_profile
from deploycompress.quantize.support import require_float, require_single
from deploycompress.report.progress import Progress, SilentProgress
from deploycompress.search.space import Space
from deploycompress.surgery.blocks import Block, blocks
from deploycompress.train.data import load_data
from deploycompress.train.dataset import Dataset
from deploycompress.train.distil_settings import TaskData
from deploycompress.train.losses import LossKind
from deploycompress.train.normalize import make_normalization
from deploycompress.train.score import ACCURACY, Score


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One compression as it was asked for.

    Attributes:
        source: model file, ONNX model, or torch module.
        profile: name or path of a device profile, or the profile itself.
        data: training data, with or without labels; a validation split is taken from it, and rewards see only that.
            None for images synthesised from the network's batch norm statistics.
        test_data: held-out data, used once, for the final figures.
        normalize: how pixels become inputs; none for the default of the kind of data.
        metric: `package.module:function` of outputs and labels that says how good a network is; none for accuracy, or
            where labels are missing or outputs are no logits, for how well a student does what the teacher does.
        precision: `fp32`, `fp16`, `int8` or `auto`; none for the profile's default.
        constraints: replace the profile's.
        search: name of the engine.
        policy: file with a policy to start from; none for an untrained one.
        settings: assignments such as `reward.kind=n2n`.
        budget: seconds for the whole run; by default 15 minutes unless both `evaluations` and `epochs` are given.
        evaluations: most students the search may try.
        epochs: rounds of the winner's training, instead of what the budget allows.
        input_shape: shape of the input, batch included; where neither the file nor this says, that of the images.
        targets: where to measure; none for this machine, several for equal boards that share the work.
        arch: what builds the network of a state dict.
        trust: load files that may run code of their own.
        allow: further classes a pickled module may use.
        seed: of everything random.
        progress: who is told of the stages.
        images: how many to synthesise where there are no data; none for as many as a share of the time allows.
        settled: precision that a run found fastest before it was interrupted; none where nothing was found yet.
    """

    source: Source
    profile: str | os.PathLike[str] | Profile
    data: DataSpec | None
    test_data: DataSpec | None
    normalize: str | None
    metric: str | None
    precision: str | None
    constraints: Sequence[str] | None
    search: str
    policy: str | os.PathLike[str] | None
    settings: Sequence[str]
    budget: float | None
    evaluations: int | None
    epochs: int | None
    input_shape: tuple[int, ...] | None
    targets: tuple[str, ...]
    arch: str | None
    trust: bool
    allow: tuple[str, ...]
    seed: int
    progress: Progress | None
    images: int | None = None
    settled: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One compression, prepared.

    Attributes:
        teacher: the captured graph.
        channels: its channels.
        offered: its blocks.
        space: what may go on the device, without the table of savings.
        engine: name of the search engine.
        precision: that ships; none until it is measured which is fastest.
        is_calibrated: whether there are images that 8 bits may be calibrated on.
        is_free: whether the run chooses the precision itself, and so may stay in single precision where that is better.
        task: training and validation data with their normalisation, and the score.
        made_up: images that stand in for training data; none where these were given.
        held_out: data read by nobody before the student ships.
        profile: the device.
        targets: where to measure; none for this machine.
        constraints: what the student must meet.
        settings: of everything that may be set.
        epochs: rounds of the winner's training; none for as long as the budget lasts.
        evaluations: most students the search may try; none for as many as the budget allows.
        seed: of everything random.
        clock: says how much time is left.
        progress: who is told.
    """

    teacher: Graph
    channels: Channels
    offered: tuple[Block, ...]
    space: Space
    engine: str
    precision: Precision | None
    is_calibrated: bool
    is_free: bool
    task: TaskData
    made_up: MadeUp | None
    held_out: HeldOut | None
    profile: Profile
    targets: tuple[str, ...]
    constraints: tuple[Constraint, ...]
    settings: Settings
    epochs: int | None
    evaluations: int | None
    seed: int
    clock: Stopwatch
    progress: Progress


LARGEST_SEED = 2**32 - 1


def prepare(request: Request, *, spent_s: float = 0.0) -> Job:
    """Load everything a request names, cheapest first, so that mistakes show early.

    Args:
        request: what was asked.
        spent_s: seconds of its budget that an interrupted run has used.

    Raises:
        DeployCompressError: something the caller can act on.
    """
    settings = with_policy(read_settings(request.settings, request.search), request.search, request.policy)
    _check_numbers(request)
    profile = request.profile if isinstance(request.profile, Profile) else load_profile(request.profile)
    rows = _read_rows(request, profile)
    progress = request.progress or SilentProgress()
    budget_s = seconds_of(request.budget, evaluations=request.evaluations, epochs=request.epochs)
    clock = Stopwatch(budget_s, spent_s=spent_s)
    is_calibrated = request.data is not None or settings.quantization.synthesizes
    precision = _read_precision(request, profile, progress, is_calibrated=is_calibrated)
    with progress.stage("capture the model"):
        teacher, known = _capture(request, profile, precision)
        channels = trace_channels(teacher)
        offered = blocks(teacher, channels=channels)
    made_up = None
    with progress.stage("read the data"):
        if request.data is None:
            score = choose_score(teacher, is_labelled=False, metric=request.metric)
            held_out = _read_real_test(request, teacher, score)
        else:
            task, held_out = _read_given(request, teacher, known)
            score = task.score
        _check_rows(rows, score)
    if request.data is None:
        made_up = make_up_data(
            teacher, count=request.images, settings=settings.synthesis, seed=request.seed, left_s=clock.left_s,
            progress=progress,
        )  # fmt: skip
        task = make_task(
            teacher, made_up.data, normalize="none", metric=request.metric, seed=request.seed, share=VALIDATION_SHARE
        )
    return Job(
        teacher=teacher,
        channels=channels,
        offered=offered,
        space=build_space(
            teacher,
            channels,
            offered,
            quanta=profile.channels.at(precision or Precision.FP32),
            has_kernels=settings.space.kernels,
        ),
        engine=request.search,
        precision=precision,
        is_calibrated=is_calibrated,
        is_free=(request.precision or profile.precision.default) == AUTO,
        task=task,
        made_up=made_up,
        held_out=held_out,
        profile=profile,
        targets=request.targets,
        constraints=rows,
        settings=settings if task.names_classes else _matching_outputs(settings),
        epochs=request.epochs,
        evaluations=request.evaluations,
        seed=request.seed,
        clock=clock,
        progress=progress,
    )


def _check_numbers(request: Request) -> None:
    if request.evaluations is not None and request.evaluations < 1:
        raise UsageError(f"A search needs at least 1 evaluation; got {request.evaluations}.")
    if request.epochs is not None and request.epochs < 1:
        raise UsageError(f"The winner's training needs at least 1 epoch; got {request.epochs}.")
    if not 0 <= request.seed <= LARGEST_SEED:
        raise UsageError(f"The seed is {request.seed}; it must lie between 0 and {LARGEST_SEED}.")


def _read_precision(request: Request, profile: Profile, progress: Progress, *, is_calibrated: bool) -> Precision | None:
    precision = read_precision(request.settled or request.precision, profile, is_calibrated=is_calibrated)
    warning = native_warning(precision, profile) if precision else ""
    if warning:
        progress.warning(warning)
    return precision


def _read_rows(request: Request, profile: Profile) -> tuple[Constraint, ...]:
    rows = profile.constraints if request.constraints is None else tuple(map(parse_constraint, request.constraints))
    if all("accuracy" in row.metrics for row in rows):
        raise UsageError("No constraint limits what the network costs; give one, such as 'latency_ratio <= 0.5'.")
    return rows


def _read_given(request: Request, teacher: Graph, known: Dataset | None) -> tuple[TaskData, HeldOut | None]:
    task, test = read_data(
        teacher, known or request.data or (), request.test_data, normalize=request.normalize, metric=request.metric,
        seed=request.seed,
    )  # fmt: skip
    return task, None if test is None else HeldOut(data=test, normalization=task.normalization)


def _read_real_test(request: Request, teacher: Graph, score: Score) -> HeldOut | None:
    """Real test images have a normalisation of their own; made-up ones are the network's input as they are."""
    if request.test_data is None:
        if request.normalize is not None:
            raise UsageError(
                f"--normalize {request.normalize} says how pixels become inputs, and a run without --data and "
                "--test-data sees none; leave it out, or give images."
            )
        return None
    test = read_held_out(teacher, request.test_data, score)
    return HeldOut(data=test, normalization=make_normalization(request.normalize, test))


def _check_rows(rows: Sequence[Constraint], score: Score) -> None:
    named = [row.expression for row in rows if "accuracy" in row.metrics]
    if named and score is not ACCURACY:
        raise UsageError(
            f"The constraint {named[0]!r} reads the accuracy, which this run does not take: students are judged by "
            f"{score.name}. Give data with labels for a classifier, or leave the constraint out."
        )


def _matching_outputs(settings: Settings) -> Settings:
    """Train for what is judged: outputs that are no logits are matched as they are."""
    training, course = settings.training, settings.course
    return replace(
        settings,
        training=replace(training, loss=replace(training.loss, kind=LossKind.OUTPUTS)),
        course=replace(course, loss=replace(course.loss, kind=LossKind.OUTPUTS)),
    )


def _capture(request: Request, profile: Profile, precision: Precision | None) -> tuple[Graph, Dataset | None]:
    """Capture the teacher, and refuse one that was lowered already."""
    teacher, known = _read_model(request, profile)
    require_float(teacher)
    if precision is not Precision.FP32:
        require_single(teacher)
    return teacher, known


def _read_model(request: Request, profile: Profile) -> tuple[Graph, Dataset | None]:
    """Capture the teacher; where nobody says what input it takes, the training images do."""
    read_model = partial(
        capture,
        request.source,
        arch=request.arch,
        trust=request.trust,
        allow=request.allow,
        max_opset=profile.runtime.max_opset,
        max_ir=profile.runtime.max_ir,
    )
    try:
        return read_model(input_shape=request.input_shape), None
    except MissingShapeError:
        if request.data is None:
            raise
        known = load_data(request.data)
        return read_model(input_shape=(1, *known.image_shape)), known
