"""Taylor, sample by sample: how much a sample's loss would change, to first order, without the channel."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from deploycompress.network.module import GraphModule
from deploycompress.train.batches import Batch
from deploycompress.train.criteria.finite import check_finite
from deploycompress.train.criteria.observation import Observation, observations
from deploycompress.train.criteria.readers import Reader, contributions, pull_back
from deploycompress.train.criteria.ties import Scores
from deploycompress.train.losses import Outputs

Loss = Callable[[Outputs, Tensor | None], Tensor]


def taylor_scores(
    module: GraphModule, readers: Sequence[Reader], channel_count: int, batches: Iterable[Batch], *, loss: Loss
) -> Scores:
    """Average |gradient . weight| over samples, the weights being all those that read the channel.

    Molchanov 2017 (section 2.2) multiplies a feature map with its gradient, Molchanov 2019 (section 3) a weight with
    its own, sample by sample; where a gate would stand, both are the same number. Surgery takes a channel from all its
    readers at once, so here the gate stands in front of each of them, and the products are added up with their signs
    before the absolute value is taken. `taylor-batch` differs twice: the weights that make a channel say, in front of
    a batch norm, what happens when the norm's input vanishes and not its output; and in a sum over the batch samples
    that disagree cancel.

    Args:
        module: the network.
        readers: the layers that read channels.
        channel_count: number of channels C; they are numbered from one.
        batches: normalised images [B, ...], and labels.
        loss: a mean over samples.

    Returns:
        Scores by channel number, shape [C + 1].

    Raises:
        DataError: an image is not finite, or there is none.
        ModelError: the loss or a value on the way is not finite.
    """
    total, count = torch.zeros(channel_count + 1, dtype=torch.float64), 0
    for seen in observations(module, readers, batches):
        total += _changes(seen, readers, channel_count, loss).abs().sum(dim=0).cpu()
        count += seen.samples
    return (total / count).numpy()


def _changes(seen: Observation, readers: Sequence[Reader], channel_count: int, loss: Loss) -> Tensor:
    """Give the first-order change of each sample's loss with each channel, shape [B, C + 1]."""
    value = loss(seen.outputs, seen.labels)
    check_finite("The loss on calibration images", value)
    names = list(dict.fromkeys(reader.output for reader in readers))
    # the mean over samples is undone, so that each sample has the gradient of its own loss
    found = torch.autograd.grad(
        value * seen.samples, [seen.values[name] for name in names], retain_graph=True, allow_unused=True
    )
    slopes = {name: slope for name, slope in zip(names, found, strict=True) if slope is not None}
    total = torch.zeros(seen.samples, channel_count + 1, dtype=torch.float64, device=value.device)
    for reader in readers:
        if reader.output in slopes:
            source = seen.values[reader.source]
            pulled = pull_back(source, seen.values[reader.output], slopes[reader.output])
            total += contributions(reader, source, pulled, samples=seen.samples, channel_count=channel_count)
    return total
