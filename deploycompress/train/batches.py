"""Batches of raw pixels, and what may be done to them without changing the class; normalisation comes later."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from deploycompress.train.dataset import Dataset

Batch = tuple[torch.Tensor, torch.Tensor | None]
"""Images, and their labels where these are known."""


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


def evaluation_batches(data: Dataset, *, batch_size: int, device: torch.device | None = None) -> Iterator[Batch]:
    """Go through the data once, in order, unchanged; the last batch may be smaller.

    Args:
        data: what to go through.
        batch_size: images per batch.
        device: where the batches shall lie.

    Yields:
        Pixels [B, H, W, C] of the data's element type, and labels [B], or none.
    """
    target = device or torch.device("cpu")
    images, labels = torch.from_numpy(data.images), labels_of(data, device=target)
    for start in range(0, len(data), batch_size):
        chosen = slice(start, start + batch_size)
        yield images[chosen].to(target), None if labels is None else labels[chosen]


def labels_of(data: Dataset, *, device: torch.device | None = None) -> torch.Tensor | None:
    """Give a dataset's labels [N] as a tensor, none where it has none."""
    return None if data.labels is None else torch.from_numpy(data.labels).to(device or torch.device("cpu"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What is done to each image of a batch, or of a whole dataset.

    Attributes:
        top: rows to shift up by, less the largest shift, shape [B].
        left: columns to shift left by, less the largest shift, shape [B].
        is_mirrored: shape [B].
        shift: the largest shift.
    """

    top: torch.Tensor
    left: torch.Tensor
    is_mirrored: torch.Tensor
    shift: int

    def take(self, indices: torch.Tensor) -> Changes:
        """Give those of some images."""
        return Changes(
            top=self.top[indices], left=self.left[indices], is_mirrored=self.is_mirrored[indices], shift=self.shift
        )


def draw_changes(count: int, augmentation: Augmentation, *, generator: torch.Generator) -> Changes:
    """Draw a shift and whether to mirror for each of some images; drawn on the CPU, so alike for every device."""
    shift = augmentation.shift
    return Changes(
        top=torch.randint(0, 2 * shift + 1, (count,), generator=generator, dtype=torch.int16),
        left=torch.randint(0, 2 * shift + 1, (count,), generator=generator, dtype=torch.int16),
        is_mirrored=(torch.rand(count, generator=generator) < 0.5) & augmentation.mirror,
        shift=shift,
    )


def change(images: torch.Tensor, changes: Changes) -> torch.Tensor:
    """Shift and mirror each image of a batch, all in one gather.

    Args:
        images: shape [B, H, W, C].
        changes: one for each image.

    Returns:
        The same shape and element type.
    """
    batch, height, width, channels = images.shape
    shift = changes.shift
    columns = torch.arange(width).expand(batch, width)
    columns = torch.where(changes.is_mirrored[:, None], width - 1 - columns, columns)
    rows = changes.top[:, None] + torch.arange(height)
    padded = F.pad(images, (0, 0, shift, shift, shift, shift))
    # one index per pixel into the flattened batch: twice as fast as indexing three axes at once
    line = torch.arange(batch)[:, None] * padded.shape[1] + rows
    pixel = line[:, :, None] * padded.shape[2] + (changes.left[:, None] + columns)[:, None, :]
    gathered = padded.view(-1, channels).index_select(0, pixel.view(-1).to(images.device))
    return gathered.view(batch, height, width, channels)
