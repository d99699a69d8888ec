"""Magnitude: how large the weights are that make a channel."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deploycompress.network.module import GraphModule
from deploycompress.train.criteria.ties import ChannelTie, Scores, sum_by_channel
from deploycompress.train.criteria.weights import making_ties


def magnitude_scores(module: GraphModule, ties: Sequence[ChannelTie], channel_count: int) -> Scores:
    """Add up, over the weights that make the channel, the L2 norm of its slice (Li 2017, section 3.1, with L2 for L1).

    Args:
        module: the network.
        ties: which position of which weight belongs to which channel.
        channel_count: number of channels C; they are numbered from one.

    Returns:
        Scores by channel number, shape [C + 1].

    Raises:
        ModelError: no trained weight makes a channel, or one is not finite.
    """
    total = np.zeros(channel_count + 1)
    for tie, weight in making_ties(module, ties):
        total += np.sqrt(sum_by_channel(weight.detach().double().square(), tie.axis, tie.channels, channel_count))
    return total
