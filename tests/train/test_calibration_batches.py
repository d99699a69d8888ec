from __future__ import annotations

import numpy as np
import torch

from deploycompress.train.calibration_batches import calibration_batches
from deploycompress.train.normalize import normalize
from tests.train.digits_net import digits_task


def test_calibration_images_are_distinct_and_as_many_as_asked() -> None:
    task = digits_task()
    batches = calibration_batches(
        task.training, task.normalization, generator=np.random.default_rng(0), samples=100, batch_size=30
    )
    images = torch.cat([images for images, _ in batches])
    assert images.shape == (100, 1, 8, 8)
    assert len({image.numpy().tobytes() for image in images}) == 100


def test_labels_stay_with_their_images() -> None:
    task = digits_task()
    batches = calibration_batches(
        task.training, task.normalization, generator=np.random.default_rng(1), samples=50, batch_size=20
    )
    drawn = [(images, labels) for images, labels in batches if labels is not None]
    assert [len(images) for images, _ in drawn] == [17, 17, 16]
    whole = normalize(torch.from_numpy(task.training.images), task.normalization)
    assert task.training.labels is not None
    for images, labels in drawn:
        for image, label in zip(images, labels.tolist(), strict=True):
            position = int((whole == image).flatten(1).all(dim=1).nonzero()[0])
            assert task.training.labels[position] == label
