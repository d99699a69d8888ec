"""Pastes a rectangle of one image into another (CutMix, Yun et al. 2019), to learn more from a teacher than labels say.

A teacher that has learnt its training images by heart says little more than their labels about them. Where its answer
to a mixed image is what a student learns, as Beyer et al. 2022 train theirs, no label is needed for it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

LEAST_SIDE, MOST_SIDE = 3 / 8, 5 / 8  # of the image


@dataclass(frozen=True, slots=True, kw_only=True)
class Rectangles:
    """What is pasted into each image of a batch, or of a whole dataset.

    Attributes:
        partner: number of the image that the rectangle comes from, shape [B]; -1 for no rectangle.
        box: its first row, first column, height and width, shape [B, 4].
    """

    partner: torch.Tensor
    box: torch.Tensor

    def take(self, indices: torch.Tensor) -> Rectangles:
        """Give those of some images."""
        return Rectangles(partner=self.partner[indices], box=self.box[indices])


def draw_rectangles(
    views: int, images: int, size: tuple[int, int], *, share: float, generator: torch.Generator
) -> Rectangles:
    """Draw what is pasted into each of some views.

    Args:
        views: how many.
        images: number of images that rectangles may come from.
        size: height and width of an image.
        share: of the views that get a rectangle.
        generator: a CPU generator.
    """
    partner = torch.randint(images, (views,), generator=generator)
    partner[torch.rand(views, generator=generator) >= share] = -1
    extent = torch.tensor(size)
    least, most = ((extent * side).round().long() for side in (LEAST_SIDE, MOST_SIDE))
    sides = least + (torch.rand(views, 2, generator=generator) * (most - least + 1)).long()
    first = (torch.rand(views, 2, generator=generator) * (extent - sides + 1)).long()
    return Rectangles(partner=partner, box=torch.cat([first, sides], dim=1).to(torch.int16))


def paste(images: torch.Tensor, others: torch.Tensor, rectangles: Rectangles) -> torch.Tensor:
    """Paste a rectangle of one batch into another.

    Args:
        images: shape [B, H, W, C].
        others: the same shape; only read inside the rectangles.
        rectangles: one for each image.

    Returns:
        The same shape and element type.
    """
    rows, columns = (
        _inside(rectangles.box[:, axis], rectangles.box[:, axis + 2], images.shape[1 + axis]) for axis in (0, 1)
    )
    inside = rows[:, :, None] & columns[:, None, :] & (rectangles.partner >= 0)[:, None, None]
    return torch.where(inside[..., None].to(images.device), others, images)


def _inside(first: torch.Tensor, length: torch.Tensor, size: int) -> torch.Tensor:
    places = torch.arange(size)
    return (places >= first[:, None]) & (places < (first + length)[:, None])
