"""Pictures of nothing that have the statistics of pictures: where synthesis starts.

Dead leaves (Lee, Mumford and Huang 2001) are overlapping shapes of many sizes; like photographs they have edges,
occlusions and even areas, which noise has not. Networks learn from them surprisingly well (Baradad et al. 2021).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_SHAPES = 30  # per image; later ones cover earlier ones
_SMALLEST, _LARGEST = 0.05, 0.5  # radius over the longer side of the image


def dead_leaves(count: int, shape: tuple[int, int, int], *, generator: torch.Generator) -> Tensor:
    """Draw overlapping discs and boxes with random colours.

    Radii follow a density of r^-3 between two bounds, which makes the pictures look alike at every scale.

    Args:
        count: images, N.
        shape: of one image: (C, H, W).
        generator: a CPU generator; decides everything.

    Returns:
        float32 [N, C, H, W], each channel with mean about 0 and deviation about 1.
    """
    channels, height, width = shape
    canvas = torch.randn(count, channels, 1, 1, generator=generator).expand(-1, -1, height, width)
    for _ in range(_SHAPES):
        leaf = _leaf_masks(count, height, width, generator)
        paint = torch.randn(count, channels, 1, 1, generator=generator)
        canvas = torch.where(leaf[:, None], paint, canvas)
    return canvas


def _leaf_masks(count: int, height: int, width: int, generator: torch.Generator) -> Tensor:
    """Draw one disc or box per image, stretched and turned; bool [N, H, W]."""
    radius, centre_y, centre_x, stretch, angle, kind = torch.rand(6, count, 1, 1, generator=generator)
    # inverse of the distribution function of a density r^-3
    radius = (radius / _SMALLEST**2 + (1 - radius) / _LARGEST**2).rsqrt() * max(height, width)
    stretch, angle = torch.exp(stretch - 0.5), angle * math.pi
    down = torch.arange(height).view(1, height, 1) - centre_y * height
    right = torch.arange(width).view(1, 1, width) - centre_x * width
    along = (down * angle.cos() + right * angle.sin()) * stretch
    across = (right * angle.cos() - down * angle.sin()) / stretch
    is_disc = torch.hypot(along, across) < radius
    is_box = torch.maximum(along.abs(), across.abs()) < radius
    return torch.where(kind < 0.5, is_disc, is_box)
