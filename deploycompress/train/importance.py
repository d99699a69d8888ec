"""How much the loss would change without a channel: first-order Taylor scores, summed over what makes the channel."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from deploycompress.train.accuracy import evaluation_mode
from deploycompress.train.batches import Batch
from deploycompress.train.dataset import Dataset
from deploycompress.train.normalize import Normalization, normalize

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

MAKES = "makes"


class ChannelTie(Protocol):
    """One axis of one weight and the channel that each of its positions belongs to."""

    @property
    def tensor(self) -> str:
        """Name of the weight."""

    @property
    def axis(self) -> int:
        """Axis whose positions are channels."""

    @property
    def role(self) -> str:
        """What the weight does with the channels; only `makes` counts here."""

    @property
    def channels(self) -> NDArray[np.int64]:
        """Channel number, from one, of each position along the axis; zero where there is none."""


def taylor_scores(
    module: nn.Module,
    ties: Sequence[ChannelTie],
    channel_count: int,
    batches: Iterable[Batch],
    *,
    loss: Loss = F.cross_entropy,
) -> NDArray[np.float64]:
    """Score every channel by |gradient . weight| over the weights that make it (RL-Pruner, eq. 24).

    The product is summed over the channel's slice of each weight before the absolute value is taken, averaged over
    batches, and added up over weights. The network is left as it was: evaluation mode is put back, and
    neither statistics nor gradients are touched.

    Args:
        module: the network; its parameters are found by the ties' weight names.
        ties: which position of which weight belongs to which channel. Ties to constants that are not
            parameters count nothing.
        channel_count: number of channels; they are numbered from one.
        batches: normalised images [B, C, H, W] and labels [B].
        loss: of logits [B, K] and labels [B], a scalar.

    Returns:
        Scores by channel number, shape [channel_count + 1]; entry 0, which stands for no channel, is 0.

    Raises:
        ValueError: there is no batch, or no tie names a parameter.
    """
    parameters = dict(module.named_parameters())
    makers = [tie for tie in ties if tie.role == MAKES and tie.tensor in parameters]
    if not makers:
        raise ValueError("None of the weights that make channels is a parameter of the network.")
    names = list(dict.fromkeys(tie.tensor for tie in makers))
    total, count = np.zeros(channel_count + 1), 0
    with evaluation_mode(module):
        for images, labels in batches:
            # autograd.grad leaves the .grad of every parameter alone
            gradients = torch.autograd.grad(loss(module(images), labels), [parameters[name] for name in names])
            products = {
                name: (gradient * parameters[name].detach()).double()
                for name, gradient in zip(names, gradients, strict=True)
            }
            total += sum(_score_tie(products[tie.tensor], tie, channel_count) for tie in makers)
            count += 1
    if count == 0:
        raise ValueError("Taylor scores need at least one batch.")
    return total / count


def calibration_batches(
    data: Dataset,
    normalization: Normalization,
    *,
    generator: np.random.Generator,
    samples: int = 100,
    batch_size: int = 100,
    device: torch.device | None = None,
) -> Iterator[Batch]:
    """Draw images to take gradients or statistics on; RL-Pruner takes 100 of the training data.

    Args:
        data: training data.
        normalization: how the network wants its pixels.
        generator: decides which.
        samples: how many, at most all.
        batch_size: images at a time.
        device: where the batches shall lie.

    Yields:
        Normalised images [B, C, H, W], and labels [B].
    """
    target = device or torch.device("cpu")
    chosen = generator.choice(len(data), size=min(samples, len(data)), replace=False)
    for start in range(0, len(chosen), batch_size):
        indices = chosen[start : start + batch_size]
        pixels = torch.from_numpy(data.images[indices]).to(target)
        yield normalize(pixels, normalization), torch.from_numpy(data.labels[indices]).to(target)


def _score_tie(product: torch.Tensor, tie: ChannelTie, channel_count: int) -> NDArray[np.float64]:
    others = [axis for axis in range(product.ndim) if axis != tie.axis % product.ndim]
    per_position = (product.sum(dim=others) if others else product).cpu().numpy()
    scores = np.abs(np.bincount(tie.channels, weights=per_position, minlength=channel_count + 1))
    scores[0] = 0.0
    return scores
