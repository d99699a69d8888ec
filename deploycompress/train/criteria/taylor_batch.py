"""Taylor of whole batches, as RL-Pruner takes it: how much a batch's loss would change without what makes a channel."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch

from deploycompress.network.module import GraphModule
from deploycompress.train.accuracy import evaluation_mode
from deploycompress.train.batches import Batch
from deploycompress.train.criteria.finite import check_count, check_finite, check_images
from deploycompress.train.criteria.taylor import Loss
from deploycompress.train.criteria.ties import ChannelTie, Scores, sum_by_channel
from deploycompress.train.criteria.weights import making_ties


def taylor_batch_scores(
    module: GraphModule, ties: Sequence[ChannelTie], channel_count: int, batches: Iterable[Batch], *, loss: Loss
) -> Scores:
    """Add up |gradient . weight| over the weights that make the channel, averaged over batches (RL-Pruner, eq. 24).

    The product is summed over the channel's slice of each weight before the absolute value is taken.

    Args:
        module: the network; its mode is put back, and neither statistics nor gradients are touched.
        ties: which position of which weight belongs to which channel.
        channel_count: number of channels C; they are numbered from one.
        batches: normalised images [B, ...], and labels.
        loss: of outputs and labels, a scalar.

    Returns:
        Scores by channel number, shape [C + 1].

    Raises:
        DataError: an image is not finite, or there is none.
        ModelError: no trained weight makes a channel, or a weight or the loss is not finite.
    """
    makers = making_ties(module, ties)
    weights = {tie.tensor: weight for tie, weight in makers}
    total, count = np.zeros(channel_count + 1), 0
    with evaluation_mode(module):
        for images, labels in batches:
            check_images(images)
            value = loss(module(images), labels)
            check_finite("The loss on calibration images", value)
            # autograd.grad leaves the .grad of every parameter alone
            found = torch.autograd.grad(value, list(weights.values()), allow_unused=True)
            slopes = dict(zip(weights, found, strict=True))
            for tie, weight in makers:
                slope = slopes[tie.tensor]
                if slope is not None:
                    product = slope * weight.detach()
                    total += np.abs(sum_by_channel(product, tie.axis, tie.channels, channel_count))
            count += 1
    check_count(count)
    return total / count
