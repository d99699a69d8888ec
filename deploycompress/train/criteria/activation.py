"""Activation: how much a channel varies where it is read, after norm and activation function."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch

from deploycompress.network.module import GraphModule
from deploycompress.train.batches import Batch
from deploycompress.train.criteria.observation import observations
from deploycompress.train.criteria.readers import Reader
from deploycompress.train.criteria.ties import Scores, sum_by_channel


def activation_scores(
    module: GraphModule, readers: Sequence[Reader], channel_count: int, batches: Iterable[Batch]
) -> Scores:
    """Add up the channel's standard deviation, over images and positions, in every value that a layer reads it from.

    The deviation and not the mean of |activation| (Hu 2016 counts zeros, Molchanov 2017 takes the mean): a channel
    that is always the same costs nothing, for statistics and biases take its part over after surgery.

    Args:
        module: the network.
        readers: the layers that read channels.
        channel_count: number of channels C; they are numbered from one.
        batches: normalised images [B, ...]; labels are not used.

    Returns:
        Scores by channel number, shape [C + 1].

    Raises:
        DataError: an image is not finite, or there is none.
        ModelError: a value on the way is not finite.
    """
    sources = {reader.source: reader for reader in readers}
    moments = {name: np.zeros((3, channel_count + 1)) for name in sources}
    with torch.no_grad():
        for seen in observations(module, readers, batches):
            for name, reader in sources.items():
                value = seen.values[name].double()
                moments[name] += [
                    sum_by_channel(power, reader.axis, reader.channels, channel_count)
                    for power in (torch.ones_like(value), value, value.square())
                ]
    total = np.zeros(channel_count + 1)
    for count, first, second in moments.values():
        mean = first / np.maximum(count, 1)
        total += np.sqrt(np.maximum(second / np.maximum(count, 1) - mean**2, 0))
    return total
