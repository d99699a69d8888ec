"""Everything a run knows before it searches: the teacher, what may be cut, the data, the limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deploycompress.channels.records import Channels
from deploycompress.constraint import Constraint
from deploycompress.errors import DataError, ModelError
from deploycompress.graph import Graph
from deploycompress.pipeline.budget import Stopwatch
from deploycompress.profile import Profile
from deploycompress.report.progress import Progress
from deploycompress.search.reward import RewardSettings
from deploycompress.search.rl_pruner import RlPrunerSettings
from deploycompress.search.space import Dimension, Space, allowed_widths
from deploycompress.train.data import load_data
from deploycompress.train.dataset import Dataset
from deploycompress.train.distil_settings import TaskData
from deploycompress.train.normalize import make_normalization
from deploycompress.train.split import split_validation

VALIDATION_IMAGES = 2500

DataSpec = str | Sequence[str]


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
        engine: settings of the search, before they are scaled to the budget.
        reward: which reward; its constraints are put in by the search.
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
    engine: RlPrunerSettings
    reward: RewardSettings
    epochs: int | None
    evaluations: int | None
    seed: int
    clock: Stopwatch
    progress: Progress


def read_data(
    teacher: Graph, data: DataSpec | None, test_data: DataSpec | None, *, normalize: str | None, seed: int
) -> tuple[TaskData, Dataset | None]:
    """Read training and test data and take the validation split out of the training data.

    Raises:
        DataError: no data were named, or they do not fit the network.
        ModelError: the network is no classifier of images.
    """
    shape, classes = _image_shape(teacher), _class_count(teacher)
    if data is None:
        raise DataError("No training data were given; name them with --data, such as --data ./train or 'train-*.npz'.")
    whole = load_data(data, input_shape=shape, num_classes=classes)
    test = None if test_data is None else load_data(test_data, input_shape=shape, num_classes=classes)
    training, validation = split_validation(whole, generator=np.random.default_rng(seed), at_most=VALIDATION_IMAGES)
    normalization = make_normalization(normalize, whole)
    return TaskData(training=training, validation=validation, normalization=normalization), test


def search_space(channels: Channels, quantum: int) -> Space:
    """Offer each free group the widths that are multiples of the device's channel quantum."""
    return Space(
        tuple(
            Dimension(group.name, group.width, allowed_widths(group.width, quantum)) for group in channels.free_groups
        )
    )


def _image_shape(teacher: Graph) -> tuple[int, int, int]:
    shape = teacher.shapes[teacher.inputs[0].name]
    if len(teacher.inputs) != 1 or len(shape) != 4:
        raise ModelError(
            f"The model reads {len(teacher.inputs)} input(s), the first of shape {list(shape)}; "
            "this version compresses classifiers of one image [N, C, H, W]."
        )
    return shape[1], shape[2], shape[3]


def _class_count(teacher: Graph) -> int:
    shape = teacher.shapes[teacher.outputs[0].name]
    if len(teacher.outputs) != 1 or len(shape) != 2:
        raise ModelError(
            f"The model gives {len(teacher.outputs)} output(s), the first of shape {list(shape)}; "
            "this version compresses classifiers with one output [N, classes]."
        )
    return shape[1]
