"""How good a network in torch is on a dataset, and whether that looks like guessing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import nn

from deploycompress.train.batches import evaluation_batches
from deploycompress.train.compute import Compute, device_of
from deploycompress.train.dataset import Answers, Dataset
from deploycompress.train.normalize import Normalization, normalize
from deploycompress.train.score import ACCURACY, Answered, Score, joined

_NEAR_CHANCE = 0.1  # share of the way from guessing to perfect


def accuracy(
    module: nn.Module,
    data: Dataset,
    normalization: Normalization,
    *,
    compute: Compute | None = None,
    batch_size: int = 256,
) -> float:
    """Give the share of images whose largest logit is the true class, in [0, 1]; as `score_module` does."""
    return score_module(module, data, normalization, score=ACCURACY, compute=compute, batch_size=batch_size)


def score_module(
    module: nn.Module,
    data: Dataset,
    normalization: Normalization,
    *,
    score: Score,
    compute: Compute | None = None,
    batch_size: int = 256,
) -> float:
    """Take a network's score.

    Args:
        module: takes [B, C, H, W]; used in evaluation mode, its mode is put back afterwards.
        data: images, with the labels or the teacher's answers that the score needs.
        normalization: how the network wants its pixels.
        score: what counts.
        compute: `None` is float32 where the module lies.
        batch_size: images at a time.
    """
    how = compute or Compute(device=device_of(module))
    return score.take(_answered(module, data, normalization, how, batch_size))


def with_answers(
    data: Dataset,
    module: nn.Module,
    normalization: Normalization,
    *,
    compute: Compute | None = None,
    batch_size: int = 256,
) -> Dataset:
    """Give a dataset that knows what a network answers to its images, in float32 unless asked otherwise."""
    how = compute or Compute(device=device_of(module))
    parts = [batch.outputs for batch in _answered(module, data, normalization, how, batch_size)]
    return replace(data, answers=joined(parts))


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


def _answered(
    module: nn.Module, data: Dataset, normalization: Normalization, compute: Compute, batch_size: int
) -> Iterator[Answered]:
    with evaluation_mode(module), torch.inference_mode(), compute.autocast():
        start = 0
        for pixels, _ in evaluation_batches(data, batch_size=batch_size, device=compute.device):
            outputs = module(normalize(pixels, normalization, memory_format=compute.memory_format))
            part = slice(start, start + len(pixels))
            start = part.stop
            yield Answered(
                outputs=_arrays(outputs),
                labels=None if data.labels is None else data.labels[part],
                answers=None if data.answers is None else tuple(answer[part] for answer in data.answers),
            )


def _arrays(outputs: torch.Tensor | tuple[torch.Tensor, ...]) -> Answers:
    several = outputs if isinstance(outputs, tuple) else (outputs,)
    return tuple((one.float() if one.is_floating_point() else one).cpu().numpy() for one in several)
