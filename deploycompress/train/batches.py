"""Batches of raw pixels in a seeded random order, shifted and mirrored; normalisation comes later, on the device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from deploycompress.train.dataset import Dataset

Batch = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """Changes that leave the class alone.

    Attributes:
        shift: largest shift along either axis, in pixels; what comes in from outside is black.
        mirror: whether half of the images are mirrored left to right.
    """

    shift: int
    mirror: bool


def default_augmentation(data: Dataset) -> Augmentation:
    """Shift by up to an eighth of the image (4 pixels of 32); mirror colour images only, never digits or letters."""
    channels, height, width = data.image_shape
    return Augmentation(shift=min(height, width) // 8, mirror=channels > 1)


def training_batches(
    data: Dataset,
    *,
    batch_size: int,
    generator: torch.Generator,
    augmentation: Augmentation | None,
    device: torch.device | None = None,
) -> Iterator[Batch]:
    """Go through the data for ever, in a new order each time; every batch is full and may span two rounds.

    Args:
        data: what to draw from.
        batch_size: images per batch.
        generator: a CPU generator, so that every device sees the same batches.
        augmentation: `None` leaves images as they are.
        device: where the batches shall lie.

    Yields:
        Pixels [B, H, W, C] of the data's element type, and labels [B].
    """
    target = device or torch.device("cpu")
    images, labels = torch.from_numpy(data.images), torch.from_numpy(data.labels)
    waiting = torch.empty(0, dtype=torch.int64)
    while True:
        while len(waiting) < batch_size:
            waiting = torch.cat([waiting, torch.randperm(len(data), generator=generator)])
        indices, waiting = waiting[:batch_size], waiting[batch_size:]
        pixels = images[indices].to(target)
        yield augment(pixels, augmentation, generator=generator), labels[indices].to(target)


def evaluation_batches(data: Dataset, *, batch_size: int, device: torch.device | None = None) -> Iterator[Batch]:
    """Go through the data once, in order, unchanged; the last batch may be smaller.

    Args:
        data: what to go through.
        batch_size: images per batch.
        device: where the batches shall lie.

    Yields:
        Pixels [B, H, W, C] of the data's element type, and labels [B].
    """
    target = device or torch.device("cpu")
    images, labels = torch.from_numpy(data.images), torch.from_numpy(data.labels)
    for start in range(0, len(data), batch_size):
        chosen = slice(start, start + batch_size)
        yield images[chosen].to(target), labels[chosen].to(target)


def augment(images: torch.Tensor, augmentation: Augmentation | None, *, generator: torch.Generator) -> torch.Tensor:
    """Shift and mirror each image of a batch by its own draw, all in one gather.

    Args:
        images: shape [B, H, W, C].
        augmentation: `None` gives the images back.
        generator: a CPU generator.

    Returns:
        The same shape and element type.
    """
    if augmentation is None:
        return images
    batch, height, width, channels = images.shape
    shift = augmentation.shift
    top = torch.randint(0, 2 * shift + 1, (batch, 1), generator=generator)
    left = torch.randint(0, 2 * shift + 1, (batch, 1), generator=generator)
    columns = torch.arange(width).expand(batch, width)
    if augmentation.mirror:
        is_mirrored = torch.rand(batch, 1, generator=generator) < 0.5
        columns = torch.where(is_mirrored, width - 1 - columns, columns)
    rows = top + torch.arange(height)
    padded = F.pad(images, (0, 0, shift, shift, shift, shift))
    # one index per pixel into the flattened batch: twice as fast as indexing three axes at once
    line = torch.arange(batch)[:, None] * padded.shape[1] + rows
    pixel = line[:, :, None] * padded.shape[2] + (left + columns)[:, None, :]
    gathered = padded.view(-1, channels).index_select(0, pixel.view(-1).to(images.device))
    return gathered.view(batch, height, width, channels)
