"""Everything a run knows before it searches: the teacher, what may be cut, the data, the limits."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from deploycompress.capturing.capture import Source, capture
from deploycompress.channels.records import Channels
from deploycompress.channels.trace import trace_channels
from deploycompress.constraint import Constraint, parse_constraint
from deploycompress.errors import DataError, MissingShapeError, ModelError, UsageError
from deploycompress.graph import Graph
from deploycompress.pipeline.budget import DEFAULT_BUDGET_S, Stopwatch
from deploycompress.pipeline.settings import Settings
from deploycompress.profile import Profile, load_profile
from deploycompress.report.progress import Progress, SilentProgress
from deploycompress.search import ENGINES
from deploycompress.search.space import Dimension, Space, allowed_widths
from deploycompress.train.data import check_fits, load_data
from deploycompress.train.dataset import Dataset
from deploycompress.train.distil_settings import TaskData
from deploycompress.train.normalize import make_normalization
from deploycompress.train.split import split_validation

VALIDATION_IMAGES = 2500

DataSpec = str | Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One compression as it was asked for.

    Attributes:
        source: model file, ONNX model, or torch module.
        profile: name or path of a device profile, or the profile itself.
        data: training data; a validation split is taken from it, and rewards see only that.
        test_data: held-out data, used once, for the final accuracy.
        normalize: how pixels become inputs; none for the default of the kind of data.
        constraints: replace the profile's.
        search: name of the engine.
        settings: of search, reward and training; none for the defaults.
        budget: seconds for the whole run; by default 15 minutes unless both `evaluations` and `epochs` are given.
        evaluations: most students the search may try.
        epochs: rounds of the winner's training, instead of what the budget allows.
        input_shape: shape of the input, batch included; where neither the file nor this says, that of the images.
        arch: what builds the network of a state dict.
        trust: load files that may run code of their own.
        allow: further classes a pickled module may use.
        seed: of everything random.
        progress: who is told of the stages.
    """

    source: Source
    profile: str | os.PathLike[str] | Profile
    data: DataSpec | None
    test_data: DataSpec | None
    normalize: str | None
    constraints: Sequence[str] | None
    search: str
    settings: Settings | None
    budget: float | None
    evaluations: int | None
    epochs: int | None
    input_shape: tuple[int, ...] | None
    arch: str | None
    trust: bool
    allow: tuple[str, ...]
    seed: int
    progress: Progress | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One compression, prepared.

    Attributes:
        teacher: the captured graph.
        channels: its channels.
        space: the widths its groups may take on the device.
        task: training and validation data with their normalisation.
        test: held-out data, read by nobody before the student ships.
        profile: the device.
        constraints: what the student must meet.
        settings: of search, reward and training, before they are scaled to the budget.
        epochs: rounds of the winner's training; none for as long as the budget lasts.
        evaluations: most students the search may try; none for as many as the budget allows.
        seed: of everything random.
        clock: says how much time is left.
        progress: who is told.
    """

    teacher: Graph
    channels: Channels
    space: Space
    task: TaskData
    test: Dataset | None
    profile: Profile
    constraints: tuple[Constraint, ...]
    settings: Settings
    epochs: int | None
    evaluations: int | None
    seed: int
    clock: Stopwatch
    progress: Progress


def prepare(request: Request) -> Job:
    """Load everything a request names, cheapest first, so that mistakes show early.

    Raises:
        DeployCompressError: something the caller can act on.
    """
    if request.search not in ENGINES:
        raise UsageError(f"There is no search engine {request.search!r}; known: {', '.join(ENGINES)}.")
    if request.evaluations is not None and request.evaluations < 2:
        raise UsageError(f"A search needs at least 2 evaluations, one sample and one cut; got {request.evaluations}.")
    profile = request.profile if isinstance(request.profile, Profile) else load_profile(request.profile)
    rows = profile.constraints if request.constraints is None else tuple(map(parse_constraint, request.constraints))
    if all("accuracy" in row.metrics for row in rows):
        raise UsageError("No constraint limits what the network costs; give one, such as 'latency_ratio <= 0.5'.")
    progress = request.progress or SilentProgress()
    is_open_ended = request.evaluations is not None and request.epochs is not None
    clock = Stopwatch(DEFAULT_BUDGET_S if request.budget is None and not is_open_ended else request.budget)
    with progress.stage("capture the model"):
        teacher, known = _capture(request, profile)
        channels = trace_channels(teacher)
    with progress.stage("read the data"):
        task, test = read_data(
            teacher, known or request.data, request.test_data, normalize=request.normalize, seed=request.seed
        )
    return Job(
        teacher=teacher,
        channels=channels,
        space=search_space(channels, profile.channels.quantum),
        task=task,
        test=test,
        profile=profile,
        constraints=rows,
        settings=request.settings or Settings(),
        epochs=request.epochs,
        evaluations=request.evaluations,
        seed=request.seed,
        clock=clock,
        progress=progress,
    )


def _capture(request: Request, profile: Profile) -> tuple[Graph, Dataset | None]:
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


def search_space(channels: Channels, quantum: int) -> Space:
    """Offer each free group the widths that are multiples of the device's channel quantum."""
    return Space(
        tuple(
            Dimension(group.name, group.width, allowed_widths(group.width, quantum)) for group in channels.free_groups
        )
    )
