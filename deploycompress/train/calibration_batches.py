"""Draws the few training images that gradients or statistics are taken on."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch

from deploycompress.train.batches import Batch, labels_of
from deploycompress.train.dataset import Dataset
from deploycompress.train.normalize import Normalization, normalize


def calibration_batches(
    data: Dataset,
    normalization: Normalization,
    *,
    generator: np.random.Generator,
    samples: int = 100,
    batch_size: int = 100,
    device: torch.device | None = None,
) -> Iterator[Batch]:
    """Draw images to take gradients or statistics on; RL-Pruner takes 100 of the training data.

    Args:
        data: training data.
        normalization: how the network wants its pixels.
        generator: decides which.
        samples: how many, at most all.
        batch_size: images at a time, at most.
        device: where the batches shall lie.

    Yields:
        Normalised images [B, C, H, W], and labels [B], or none.
    """
    target = device or torch.device("cpu")
    chosen = generator.choice(len(data), size=min(samples, len(data)), replace=False)
    labels = labels_of(data, device=target)
    # parts of equal size, within one, so that each image counts alike where batches do
    for part in np.array_split(chosen, math.ceil(len(chosen) / batch_size)):
        indices = torch.from_numpy(part)
        pixels = torch.from_numpy(data.images[indices.numpy()]).to(target)
        yield normalize(pixels, normalization), None if labels is None else labels[indices.to(target)]
