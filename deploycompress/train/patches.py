"""The rows of numbers that a linear layer multiplies with its kernel, at some positions of each image."""

from __future__ import annotations

from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from deploycompress.network.operators.windows import torch_pads
from deploycompress.train.linear_layer import LinearLayer


def draw_positions(images: int, places: int, count: int, *, generator: torch.Generator) -> Tensor:
    """Draw different output positions for each image.

    Returns:
        Positions in [0, places), shape [images, min(count, places)].
    """
    if count >= places:
        return torch.arange(places).expand(images, places)
    return torch.rand(images, places, generator=generator).topk(count, dim=1, sorted=False).indices


def input_rows(layer: LinearLayer, value: Tensor, positions: Tensor) -> Tensor:
    """Collect what the layer multiplies with its kernel to make its outputs at some positions.

    Args:
        layer: the layer.
        value: what it reads, [B, C, *space] for a convolution, [..., C] for a product.
        positions: of its outputs, counted row by row, shape [B, K].

    Returns:
        Shape [G, B * K, P] with P numbers for each group, in the order of the kernel's axes after the first.
    """
    if not layer.axes:
        return value_rows(layer, value, positions)[None]
    padded = F.pad(value, torch_pads((axis.before, axis.after) for axis in layer.axes))
    images = torch.arange(len(value), device=value.device).repeat_interleave(positions.shape[1])
    sizes = [axis.steps(ceil=False) for axis in layer.axes]
    corners = np.unravel_index(positions.reshape(-1).cpu().numpy(), sizes)
    starts = [torch.from_numpy(at * axis.stride).to(value.device) for at, axis in zip(corners, layer.axes, strict=True)]
    pixels = padded.movedim(1, -1)
    taps = [
        pixels[
            (images, *(start + tap * axis.dilation for start, tap, axis in zip(starts, at, layer.axes, strict=True)))
        ]
        for at in product(*(range(axis.kernel) for axis in layer.axes))
    ]
    rows = torch.stack(taps, dim=-1)  # [B * K, C, taps]
    return rows.reshape(len(rows), layer.groups, -1).transpose(0, 1)


def value_rows(layer: LinearLayer, value: Tensor, positions: Tensor) -> Tensor:
    """Collect the channels of a value at some positions.

    Args:
        layer: says on which axis channels lie.
        value: shape [B, M, *space] for a convolution, [..., M] for a product.
        positions: counted row by row, shape [B, K].

    Returns:
        Shape [B * K, M].
    """
    images = len(positions)
    by_place = value.flatten(2).transpose(1, 2) if layer.axes else value.reshape(images, -1, value.shape[-1])
    index = positions.to(value.device)[:, :, None].expand(-1, -1, by_place.shape[2])
    return by_place.gather(1, index).flatten(0, 1)
