"""How many views of each image a run shows: as many as come back a few times, if the teacher's answers can be kept."""

from __future__ import annotations

import time

import torch
from torch import nn

from deploycompress.train.answers import MOST_BYTES, bytes_of
from deploycompress.train.compute import Compute
from deploycompress.train.dataset import Dataset
from deploycompress.train.losses import Outputs
from deploycompress.train.normalize import Normalization, normalize

TIMES_SEEN = 3
LEAST_VIEWS = 2


def view_count(epochs: float, *, at_most: int, kept: int) -> int:
    """Choose the number of views.

    Args:
        epochs: rounds through the training data.
        at_most: views that are allowed.
        kept: views of all images whose answers can be kept; fewer than two save no work, so nothing is held back.
    """
    if kept < LEAST_VIEWS:
        return at_most
    return min(at_most, kept, max(LEAST_VIEWS, round(epochs / TIMES_SEEN)))


def kept_views(answer: Outputs, images: int) -> int:
    """Count the views of all images whose answers fit into memory.

    Args:
        answer: the teacher's to one image; several outputs are not kept.
        images: how many there are.
    """
    return 0 if isinstance(answer, tuple) else MOST_BYTES // max(images * bytes_of(answer), 1)


def ask(
    teacher: nn.Module, data: Dataset, normalization: Normalization, compute: Compute, *, images: int
) -> tuple[Outputs, float]:
    """Ask a teacher about some images, and time it.

    Returns:
        The outputs, and seconds.
    """
    pixels = torch.from_numpy(data.images[:images]).to(compute.device)
    batch = normalize(pixels, normalization, memory_format=compute.memory_format)
    started = time.monotonic()
    with torch.no_grad(), compute.autocast():
        answer: Outputs = teacher(batch)
    first = answer[0] if isinstance(answer, tuple) else answer
    first.float().sum().item()  # waits for the device
    return answer, time.monotonic() - started
