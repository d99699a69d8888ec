"""What the network is trained and judged on: data that fit it, split so that rewards never see what is held out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deploycompress.errors import DataError, ModelError
from deploycompress.graph import Graph
from deploycompress.train.data import check_fits, load_data
from deploycompress.train.dataset import Dataset
from deploycompress.train.distil_settings import TaskData
from deploycompress.train.normalize import make_normalization
from deploycompress.train.split import split_validation

VALIDATION_IMAGES = 2500

DataSpec = str | Sequence[str]


def read_data(
    teacher: Graph,
    data: DataSpec | Dataset | None,
    test_data: DataSpec | None,
    *,
    normalize: str | None,
    seed: int,
) -> tuple[TaskData, Dataset | None]:
    """Read training and test data and take the validation split out of the training data.

    Args:
        teacher: the network that shall read them.
        data: training data, or where they are.
        test_data: where the held-out data are.
        normalize: how pixels become inputs.
        seed: decides which images validate.

    Raises:
        DataError: no data were named, or they do not fit the network.
        ModelError: the network is no classifier of images.
    """
    shape, classes = _image_shape(teacher), _class_count(teacher)
    if data is None:
        raise DataError("No training data were given; name them with --data, such as --data ./train or 'train-*.npz'.")
    whole = data if isinstance(data, Dataset) else load_data(data, input_shape=shape, num_classes=classes)
    check_fits(whole, input_shape=shape, num_classes=classes)
    test = None if test_data is None else _read_test(test_data, whole, shape, classes)
    training, validation = split_validation(whole, generator=np.random.default_rng(seed), at_most=VALIDATION_IMAGES)
    normalization = make_normalization(normalize, whole)
    return TaskData(training=training, validation=validation, normalization=normalization), test


def _read_test(spec: DataSpec, training: Dataset, shape: tuple[int, int, int], classes: int) -> Dataset:
    """Read held-out data and refuse what would make the final accuracy mean something else."""
    test = load_data(spec, input_shape=shape, num_classes=classes, default_split="test")
    if test.images.dtype != training.images.dtype:
        raise DataError(
            f"The test images of {test.source} are {test.images.dtype}, the training images {training.images.dtype}; "
            "give both in the same form, for they go through the same normalisation."
        )
    if test.class_names and training.class_names and test.class_names != training.class_names:
        raise DataError(f"{test.source} and {training.source} name their classes differently or in another order.")
    shared = sorted(set(test.source.split(", ")) & set(training.source.split(", ")))
    if shared:
        raise DataError(f"{shared[0]} is named as training and as test data; test data must be held out.")
    return test


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
