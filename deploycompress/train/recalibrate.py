"""Gives the batch norms of a cut network statistics of what now really flows through them; weights stay."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from deploycompress.network.module import GraphModule
from deploycompress.train.accuracy import evaluation_mode
from deploycompress.train.batches import Batch
from deploycompress.train.compute import Compute, device_of

_BatchNorm = nn.modules.batchnorm._BatchNorm


def recalibrate(module: nn.Module, batches: Iterable[Batch], *, compute: Compute | None = None) -> int:
    """Replace running means and variances by their plain averages over some batches.

    Only the batch norms run in training mode, so dropout does not disturb what they see.

    Args:
        module: a `GraphModule`, or one with torch's own batch norms; its training flags and momenta are put back.
        batches: normalised images [B, C, H, W] (labels are not used), of equal size so that each counts alike.
        compute: arithmetic and layout of the passes; `None` is float32 as the images come.

    Returns:
        Number of batches used; with none, nothing changes.
    """
    how = compute or Compute(device=device_of(module), channels_last=False)
    count = 0
    with evaluation_mode(module), _averaging_norms(module) as norms, torch.no_grad(), how.autocast():
        for images, _ in batches:
            count += 1
            for norm in norms:
                _set_momentum(norm, 1 / count)  # makes the running estimate the mean of the batches so far
            module(images.contiguous(memory_format=how.memory_format))
    return count


@contextmanager
def _averaging_norms(module: nn.Module) -> Iterator[list[GraphModule | _BatchNorm]]:
    norms = [part for part in module.modules() if isinstance(part, GraphModule | _BatchNorm)]
    own = [norm.momentum if isinstance(norm, _BatchNorm) else None for norm in norms]
    try:
        for norm in norms:
            norm.train()
        yield norms
    finally:
        for norm, momentum in zip(norms, own, strict=True):
            _set_momentum(norm, momentum)


def _set_momentum(norm: GraphModule | _BatchNorm, momentum: float | None) -> None:
    if isinstance(norm, GraphModule):
        norm.set_statistics_momentum(momentum)  # None is what the graph says
    else:
        norm.momentum = momentum
