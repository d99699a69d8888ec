"""Finds the range and the colours that a network expects of its images, from its batch norms alone."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

_SCALES = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)  # from a fraction of [0, 1] to bytes
_OFFSETS = (-1.0, 0.0, 1.0)  # in scales
_RATE = 0.1  # of Adam, in scales


@dataclass(frozen=True, slots=True, kw_only=True)
class Colours:
    """An affine map of the channels, the same at every pixel.

    Attributes:
        offset: float32 [C].
        mix: float32 [C, C], from drawn to painted channel.
    """

    offset: Tensor
    mix: Tensor

    def paint(self, drawings: Tensor) -> Tensor:
        """Map drawings [B, C, H, W] into the network's input space."""
        painted = torch.einsum("dc,bchw->bdhw", self.mix, drawings)
        return painted + self.offset.view(1, -1, 1, 1)


def fit_colours(drawings: Tensor, distance: Callable[[Tensor], Tensor], *, iterations: int) -> Colours:
    """Choose the colours in which drawings come closest to what the network was trained on.

    The first layers are nearly linear, so that mean, range and correlation of the channels show in their statistics.

    Args:
        drawings: [B, C, H, W] with deviation about 1, where the network lies.
        distance: differentiable, of a batch [B, C, H, W]; a scalar to be made small.
        iterations: updates; with 0 only the range is chosen.

    Returns:
        The best colours seen.
    """
    scale, start = _choose_range(drawings, distance)
    offset = torch.full((drawings.shape[1],), start, device=drawings.device, requires_grad=True)
    mix = torch.eye(drawings.shape[1], device=drawings.device).requires_grad_()
    optimizer = torch.optim.Adam([offset, mix], lr=_RATE)
    best, least = _scaled(offset, mix, scale), math.inf
    for iteration in range(iterations):
        loss = distance(Colours(offset=scale * offset, mix=scale * mix).paint(drawings))
        if float(loss.detach()) < least:
            best, least = _scaled(offset, mix, scale), float(loss.detach())
        for group in optimizer.param_groups:
            group["lr"] = _RATE * (1 + math.cos(math.pi * iteration / iterations)) / 2
        offset.grad, mix.grad = torch.autograd.grad(loss, [offset, mix])
        optimizer.step()
    return best


def _choose_range(drawings: Tensor, distance: Callable[[Tensor], Tensor]) -> tuple[float, float]:
    """Try ranges for all channels alike; gradients would take hundreds of updates from [-1, 1] to bytes."""
    ranges = list(itertools.product(_SCALES, _OFFSETS))
    with torch.no_grad():
        distances = [float(distance(scale * (drawings + start))) for scale, start in ranges]
    return ranges[min(range(len(ranges)), key=lambda index: (math.isnan(distances[index]), distances[index]))]


def _scaled(offset: Tensor, mix: Tensor, scale: float) -> Colours:
    return Colours(offset=scale * offset.detach(), mix=scale * mix.detach())
