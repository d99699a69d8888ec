"""How a layer's result follows from what it reads, as one linear map that can be changed and written back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from deploycompress.train.linear_layer import LinearLayer
from deploycompress.train.placement import Placement


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ResultMap:
    """`factor * (kernel @ input) + shift`, in float64.

    Attributes:
        kernel: one matrix per group, shape [G, M, P].
        factor: what a norm multiplies by, one without a norm, shape [G, M].
        shift: everything that is added, shape [G, M].
    """

    kernel: Tensor
    factor: Tensor
    shift: Tensor

    def __call__(self, inputs: Tensor) -> Tensor:
        """Map rows [G, N, P] to results [G, N, M]."""
        return (inputs @ self.kernel.transpose(1, 2)) * self.factor[:, None, :] + self.shift[:, None, :]

    def moved(self, change: Tensor, step: Tensor) -> ResultMap:
        """Add to the map so that its results grow by `change @ input + step`."""
        safe = torch.where(self.factor == 0, torch.ones_like(self.factor), self.factor)
        return replace(self, kernel=self.kernel + change / safe[:, :, None], shift=self.shift + step)


def read_map(layer: LinearLayer, place: Placement, weights: Mapping[str, Tensor]) -> ResultMap:
    """Put together a layer's kernel and everything that follows it at once."""
    turned = weights[layer.weight].double().permute(layer.order)
    kernel = turned.reshape(layer.groups, turned.shape[0] // layer.groups, -1)
    shape = kernel.shape[:2]
    factor, shift = kernel.new_ones(shape), kernel.new_zeros(shape)
    if place.norm:
        scale, beta, mean, variance = (weights[name].double().reshape(shape) for name in place.norm)
        factor = scale / (variance + place.epsilon).sqrt()
        shift = beta - factor * mean
    for name in filter(None, (layer.bias, place.added)):
        shift = shift + factor * weights[name].double().reshape(shape)
    return ResultMap(kernel=kernel, factor=factor, shift=shift)


def write_kernel(layer: LinearLayer, weights: Mapping[str, Tensor], found: ResultMap) -> None:
    """Write a map's kernel into a layer."""
    held = weights[layer.weight]
    back = sorted(range(held.ndim), key=lambda position: layer.order[position])
    held.copy_(found.kernel.reshape([held.shape[axis] for axis in layer.order]).permute(back))


def write_offset(layer: LinearLayer, place: Placement, weights: Mapping[str, Tensor], found: ResultMap) -> None:
    """Write what a map adds into the bias of a layer without a norm, if it has one."""
    name = layer.bias or place.added
    if name:
        weights[name].copy_(found.shift.reshape(weights[name].shape))


def write_norm(
    layer: LinearLayer,
    place: Placement,
    weights: Mapping[str, Tensor],
    found: ResultMap,
    moments: tuple[Tensor, Tensor],
) -> None:
    """Let a layer's norm compute the map with the statistics of what it now reads.

    Training goes by the statistics of the batch; this way it starts from the function that was found.

    Args:
        layer: the layer.
        place: says which constants the norm has.
        weights: by name, changed in place.
        found: the map, whose kernel the layer has already.
        moments: mean and variance of `kernel @ input`, each [G, M].
    """
    product_mean, variance = moments
    bias = weights[layer.bias].double().reshape(product_mean.shape) if layer.bias else 0.0
    written = (
        found.factor * (variance + place.epsilon).sqrt(),
        found.shift + found.factor * product_mean,
        product_mean + bias,
        variance,
    )
    for name, value in zip(place.norm, written, strict=True):
        weights[name].copy_(value.reshape(weights[name].shape))
