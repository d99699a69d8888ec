"""The share of images a network gets right, and whether that looks like guessing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from deploycompress.train.batches import evaluation_batches
from deploycompress.train.compute import Compute, device_of
from deploycompress.train.dataset import Dataset
from deploycompress.train.normalize import Normalization, normalize

_NEAR_CHANCE = 0.1  # share of the way from guessing to perfect


def accuracy(
    module: nn.Module,
    data: Dataset,
    normalization: Normalization,
    *,
    compute: Compute | None = None,
    batch_size: int = 256,
) -> float:
    """Classify every image and count.

    Args:
        module: takes [B, C, H, W], gives logits [B, K]; used in evaluation mode, its mode is put back afterwards.
        data: images and true labels.
        normalization: how the network wants its pixels.
        compute: `None` is float32 where the module lies.
        batch_size: images at a time.

    Returns:
        Share of images whose largest logit is the true class, in [0, 1]; NaN logits count as wrong.
    """
    how = compute or Compute(device=device_of(module))
    right = torch.zeros((), dtype=torch.int64, device=how.device)
    with evaluation_mode(module), torch.inference_mode(), how.autocast():
        for pixels, labels in evaluation_batches(data, batch_size=batch_size, device=how.device):
            logits = module(normalize(pixels, normalization, memory_format=how.memory_format))
            is_sound = logits.isfinite().all(dim=1)
            right += ((logits.argmax(dim=1) == labels) & is_sound).sum()
    return int(right) / len(data)


def chance_warning(value: float, num_classes: int) -> str | None:
    """Say when a network that should be good is hardly better than guessing.

    Args:
        value: its accuracy, in [0, 1].
        num_classes: how many classes it tells apart.

    Returns:
        A warning with what to check, or `None`.
    """
    chance = 1 / num_classes
    if value >= chance + _NEAR_CHANCE * (1 - chance):
        return None
    return (
        f"The network gets {value:.1%} of the images right, guessing among {num_classes} classes gets {chance:.1%}: "
        "the normalisation (--normalize) or the order of the classes is almost certainly not what it was trained with."
    )


@contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """Put a network into evaluation mode and every part of it back into its own mode afterwards."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode
