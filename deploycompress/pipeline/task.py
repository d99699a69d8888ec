"""What the network is trained and judged on: data that fit it, split so that rewards never see what is held out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from deploycompress.errors import DataError, ModelError
from deploycompress.graph import UNKNOWN_SIZE, Graph
from deploycompress.network.module import to_torch
from deploycompress.train.accuracy import with_answers
from deploycompress.train.compute import evaluation_compute, placed_on
from deploycompress.train.data import check_fits, load_data
from deploycompress.train.dataset import Dataset
from deploycompress.train.distil_settings import TaskData
from deploycompress.train.normalize import Normalization, make_normalization
from deploycompress.train.score import ACCURACY, AGREEMENT, OUTPUT_MATCH, Score
from deploycompress.train.score_metric import load_metric
from deploycompress.train.split import split_validation

VALIDATION_IMAGES = 2500
ANSWER_BYTES = 2**28
"""Room for the teacher's answers to the validation images; where one answer is large, fewer images validate."""

METRIC_BYTES = 2**31
"""Most that the answers to the held-out images may take where the user's function is given all of them."""

DataSpec = str | Sequence[str]
ImageShape = tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """Data that nobody reads before the student ships.

    Attributes:
        data: images, with labels where they are known.
        normalization: how the network wants their pixels.
    """

    data: Dataset
    normalization: Normalization


def read_data(
    teacher: Graph,
    data: DataSpec | Dataset,
    test_data: DataSpec | None,
    *,
    normalize: str | None,
    metric: str | None = None,
    seed: int,
) -> tuple[TaskData, Dataset | None]:
    """Read training and test data, which go through the same normalisation.

    Args:
        teacher: the network that shall read them.
        data: training data, or where they are.
        test_data: where the held-out data are.
        normalize: how pixels become inputs.
        metric: `package.module:function`, a score of the user's own.
        seed: decides which images validate.

    Raises:
        DataError: the data cannot be read, or do not fit the network or each other.
        ModelError: the network does not read one image, or its outputs are no numbers.
        UsageError: the metric cannot be understood.
    """
    whole = data if isinstance(data, Dataset) else load_data(data, input_shape=image_shape(teacher))
    task = make_task(teacher, whole, normalize=normalize, metric=metric, seed=seed)
    if test_data is None:
        return task, None
    test = read_held_out(teacher, test_data, task.score)
    _check_like(test, whole)
    return task, test


def make_task(
    teacher: Graph, whole: Dataset, *, normalize: str | None, metric: str | None = None, seed: int, share: float = 0.1
) -> TaskData:
    """Take the validation split out of the training data, and decide what students are judged by.

    Args:
        teacher: the network that shall read them.
        whole: training data.
        normalize: how pixels become inputs.
        metric: `package.module:function`, a score of the user's own.
        seed: decides which images validate.
        share: of the images that validate.

    Raises:
        DataError: the data do not fit the network, or its answers to them are no numbers.
        ModelError: the network does not read one image, or its outputs are no numbers.
        UsageError: the metric cannot be understood.
    """
    score = choose_score(teacher, is_labelled=whole.is_labelled, metric=metric)
    check_fits(whole, input_shape=image_shape(teacher), num_classes=class_count(teacher, score))
    normalization = make_normalization(normalize, whole)
    most = min(VALIDATION_IMAGES, max(1, ANSWER_BYTES // answer_bytes(teacher)))
    training, validation = split_validation(whole, generator=np.random.default_rng(seed), fraction=share, at_most=most)
    if score.needs_answers:
        validation = _answered(teacher, validation, normalization)
        if not _labels_are_classes(teacher, whole):
            training = replace(training, labels=None, class_names=())
    return TaskData(training=training, validation=validation, normalization=normalization, score=score)


def read_held_out(teacher: Graph, spec: DataSpec, score: Score) -> Dataset:
    """Read held-out data.

    Args:
        teacher: the network that shall read them.
        spec: where they are.
        score: what students are judged by.

    Raises:
        DataError: the data cannot be read, do not fit the network, lack labels that the score needs, or are too many
            for a function that wants all answers at once.
    """
    classes = class_count(teacher, score)
    test = load_data(spec, input_shape=image_shape(teacher), num_classes=classes, default_split="test")
    if score is ACCURACY and not test.is_labelled:
        raise DataError(f"{test.source} has no labels, the training data have; give test data with labels, or none.")
    most = METRIC_BYTES // answer_bytes(teacher)
    if score.metric is not None and len(test) > most:
        raise DataError(
            f"{score.name} is given the answers to all {len(test)} images of {test.source} at once, "
            f"{len(test) * answer_bytes(teacher) / 2**30:.1f} GiB; give at most {most} test images."
        )
    return test


def choose_score(teacher: Graph, *, is_labelled: bool, metric: str | None) -> Score:
    """Take the user's own score, else accuracy, else agreement; without logits [N, classes] only the outputs count."""
    if metric is not None:
        return load_metric(metric)
    if not _gives_logits(teacher):
        return OUTPUT_MATCH
    return ACCURACY if is_labelled else AGREEMENT


def image_shape(teacher: Graph) -> ImageShape:
    """Give the size of the one image that a network reads, (C, H, W).

    Raises:
        ModelError: it reads something else.
    """
    shape = teacher.shapes[teacher.inputs[0].name]
    if len(teacher.inputs) != 1 or len(shape) != 4:
        raise ModelError(
            f"The model reads {len(teacher.inputs)} input(s), the first of shape {list(shape)}; "
            "this version compresses networks that read one image [N, C, H, W]."
        )
    return shape[1], shape[2], shape[3]


def class_count(teacher: Graph, score: Score) -> int | None:
    """Give the number of classes that a network tells apart; none where its outputs are not read as classes."""
    return teacher.shapes[teacher.outputs[0].name][1] if score.names_classes else None


def _gives_logits(teacher: Graph) -> bool:
    shape = teacher.shapes.get(teacher.outputs[0].name, ())
    return len(teacher.outputs) == 1 and len(shape) == 2 and shape[1] > 1


def _labels_are_classes(teacher: Graph, data: Dataset) -> bool:
    """Say whether labels are numbers of the network's logits, whatever students are judged by."""
    logits = teacher.shapes.get(teacher.outputs[0].name, ())
    return _gives_logits(teacher) and data.labels is not None and int(data.labels.max()) < logits[1]


def answer_bytes(teacher: Graph) -> int:
    """Count what the answers to one image take as float32.

    Raises:
        ModelError: the size of an output depends on the data, or there are none that could be compared.
    """
    shapes = [teacher.shapes.get(port.name, (UNKNOWN_SIZE,)) for port in teacher.outputs]
    for port, shape in zip(teacher.outputs, shapes, strict=True):
        if UNKNOWN_SIZE in shape or not shape:
            raise ModelError(
                f"The size of the output {port.name!r} depends on the data ({list(shape)}), so students cannot be held "
                "against the teacher; cut the model before that, at outputs of one size for each image."
            )
    return sum(4 * int(np.prod(shape)) for shape in shapes)


def _answered(teacher: Graph, data: Dataset, normalization: Normalization) -> Dataset:
    compute = evaluation_compute()
    module = to_torch(teacher)
    with placed_on(compute.device, module):
        answered = with_answers(data, module, normalization, compute=compute)
    floats = [answer for answer in answered.answers or () if np.issubdtype(answer.dtype, np.floating)]
    if not floats:
        raise ModelError("The model gives no output of floating-point numbers, so nothing can be trained to match it.")
    for port, answer in zip(teacher.outputs, answered.answers or (), strict=True):
        if len(answer) != len(data):
            raise ModelError(
                f"The output {port.name!r} has {len(answer)} entries for {len(data)} images; expected one for each."
            )
    if not all(np.isfinite(answer).all() for answer in floats):
        raise DataError(
            f"The model's answers to the images of {data.source} are not all finite; check the normalisation "
            "(--normalize) and the model."
        )
    return answered


def _check_like(test: Dataset, training: Dataset) -> None:
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
