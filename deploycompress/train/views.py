"""Endless training batches. Images come back in the same few views, so that a teacher need see each view only once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from deploycompress.train.batches import Augmentation, Changes, change, draw_changes, labels_of
from deploycompress.train.dataset import Dataset
from deploycompress.train.losses import UNKNOWN_LABEL
from deploycompress.train.paste import Rectangles, draw_rectangles, paste


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewBatch:
    """Some views.

    Attributes:
        pixels: shape [B, H, W, C], of the data's element type.
        labels: class numbers [B], `UNKNOWN_LABEL` where something was pasted in; none where nobody knows them.
        numbers: number of each view among all views of all images, on the CPU, int64, shape [B].
    """

    pixels: torch.Tensor
    labels: torch.Tensor | None
    numbers: torch.Tensor


def view_batches(
    data: Dataset,
    *,
    batch_size: int,
    generator: torch.Generator,
    augmentation: Augmentation | None,
    views: int,
    pasted: float = 0.0,
    device: torch.device | None = None,
) -> Iterator[ViewBatch]:
    """Go through the data for ever, in a new order each time; every batch is full and may span two rounds.

    The first round shows the first view of every image, and so on; after the last view comes the first again.

    Args:
        data: what to draw from.
        batch_size: images per batch.
        generator: a CPU generator, so that every device sees the same batches.
        augmentation: what makes the views; `None` leaves images as they are, whatever `views` says.
        views: of each image.
        pasted: share of the views into which a rectangle of another image is pasted.
        device: where the batches shall lie.
    """
    target = device or torch.device("cpu")
    images, labels = torch.from_numpy(data.images), labels_of(data, device=target)
    count, views = len(data), 1 if augmentation is None else views
    changes = None if augmentation is None else draw_changes(count * views, augmentation, generator=generator)
    rectangles = None
    if changes is not None and pasted:
        size = (images.shape[1], images.shape[2])
        rectangles = draw_rectangles(count * views, count, size, share=pasted, generator=generator)
    waiting, rounds = torch.empty(0, dtype=torch.int64), 0
    while True:
        while len(waiting) < batch_size:
            order = torch.randperm(count, generator=generator) + rounds % views * count
            waiting, rounds = torch.cat([waiting, order]), rounds + 1
        numbers, waiting = waiting[:batch_size], waiting[batch_size:]
        yield _batch(images, labels, numbers, changes, rectangles, target)


def _batch(
    images: torch.Tensor,
    labels: torch.Tensor | None,
    numbers: torch.Tensor,
    changes: Changes | None,
    rectangles: Rectangles | None,
    device: torch.device,
) -> ViewBatch:
    indices = numbers % len(images)
    pixels, known = images[indices], None if labels is None else labels[indices.to(device)]
    if changes is not None:
        own = changes.take(numbers)
        pixels = change(pixels, own)
        if rectangles is not None:
            rectangle = rectangles.take(numbers)
            pixels = paste(pixels, change(images[rectangle.partner.clamp_min(0)], own), rectangle)
            if known is not None:
                known = known.masked_fill((rectangle.partner >= 0).to(device), UNKNOWN_LABEL)
    return ViewBatch(pixels=pixels.to(device), labels=known, numbers=numbers)
