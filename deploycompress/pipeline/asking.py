"""Asks ONNX Runtime about images: what a model answers, and how much of it is right."""

from __future__ import annotations

from collections.abc import Iterator

from deploycompress.measuring.predict import predict
from deploycompress.train.dataset import Dataset
from deploycompress.train.normalize import Normalization, normalize_numpy
from deploycompress.train.score import ACCURACY, Answered

MOST_BATCH = 250
BATCH_BYTES = 2**27  # of outputs: a dense output of 250 images would fill the memory


def answered_in_runtime(model: bytes, data: Dataset, normalization: Normalization) -> Iterator[Answered]:
    """Ask ONNX Runtime about every image, in order, in batches whose outputs are of bounded size."""
    first = next(predict(model, [normalize_numpy(data.images[:1], normalization)]))
    size = max(1, min(MOST_BATCH, BATCH_BYTES // max(1, sum(output.nbytes for output in first))))
    parts = [slice(start, start + size) for start in range(0, len(data), size)]
    inputs = (normalize_numpy(data.images[part], normalization) for part in parts)
    for part, outputs in zip(parts, predict(model, inputs), strict=True):
        yield Answered(
            outputs=outputs,
            labels=None if data.labels is None else data.labels[part],
            answers=None if data.answers is None else tuple(answer[part] for answer in data.answers),
        )


def accuracy_in_runtime(model: bytes, data: Dataset, normalization: Normalization) -> float:
    """Classify every image with ONNX Runtime; answers that are not finite count as wrong."""
    return ACCURACY.take(answered_in_runtime(model, data, normalization))
