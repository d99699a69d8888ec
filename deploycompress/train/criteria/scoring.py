"""Scores the channels of a network by one of the criteria; the only thing that others call."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from deploycompress.errors import ModelError
from deploycompress.network.module import GraphModule
from deploycompress.train.batches import Batch
from deploycompress.train.criteria.activation import activation_scores
from deploycompress.train.criteria.criterion import Criterion
from deploycompress.train.criteria.magnitude import magnitude_scores
from deploycompress.train.criteria.norm_scale import norm_scale_scores
from deploycompress.train.criteria.readers import find_readers
from deploycompress.train.criteria.reconstruction import reconstruction_scores
from deploycompress.train.criteria.taylor import Loss, taylor_scores
from deploycompress.train.criteria.taylor_batch import taylor_batch_scores
from deploycompress.train.criteria.ties import ChannelAxes, ChannelTie, Scores
from deploycompress.train.losses import own_loss


def score_channels(
    criterion: Criterion,
    module: GraphModule,
    ties: Sequence[ChannelTie],
    channel_count: int,
    batches: Iterable[Batch],
    *,
    axes: ChannelAxes,
    loss: Loss = own_loss,
) -> Scores:
    """Say how much each channel is worth; scores are made to be compared within a group of channels.

    What a channel is tied to several times (on a residual stream) is added up over all of its ties. `taylor`,
    `activation` and `reconstruction` look at layers that read with weights: a channel that only others read (a mean
    over channels) scores 0 there. The network is left as it was.

    Args:
        criterion: how worth is judged.
        module: the network.
        ties: which position of which weight belongs to which channel.
        channel_count: number of channels C; they are numbered from one.
        batches: normalised images [B, ...], and labels or none; `magnitude` and `norm-scale` read none.
        axes: where the values between layers carry channels.
        loss: a mean over samples; only for `taylor` and `taylor-batch`.

    Returns:
        Scores by channel number, shape [C + 1], finite; entry 0, which stands for no channel, is 0.

    Raises:
        DataError: an image is not finite, or there is none.
        ModelError: weights, values or the loss are not finite, or the network has nothing the criterion could judge.
    """
    match criterion:
        case Criterion.MAGNITUDE:
            scores = magnitude_scores(module, ties, channel_count)
        case Criterion.NORM_SCALE:
            scores = norm_scale_scores(module, ties, channel_count)
        case Criterion.TAYLOR_BATCH:
            scores = taylor_batch_scores(module, ties, channel_count, batches, loss=loss)
        case Criterion.TAYLOR:
            scores = taylor_scores(
                module, find_readers(module.source_graph, ties, axes), channel_count, batches, loss=loss
            )
        case Criterion.ACTIVATION:
            scores = activation_scores(module, find_readers(module.source_graph, ties, axes), channel_count, batches)
        case Criterion.RECONSTRUCTION:
            scores = reconstruction_scores(
                module, find_readers(module.source_graph, ties, axes), channel_count, batches
            )
    is_sound = np.isfinite(scores)
    if not is_sound.all():
        channel = int(np.argmin(is_sound))
        raise ModelError(
            f"Criterion {criterion.value!r} gives channel {channel} the score {scores[channel]}, expected a finite "
            "number; the network's weights or values are too large to compute with."
        )
    return scores
