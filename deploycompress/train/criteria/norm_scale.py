"""Norm scale: what the norms on a channel's way multiply it with."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deploycompress.errors import ModelError
from deploycompress.graph import Graph
from deploycompress.network.module import GraphModule
from deploycompress.train.criteria.finite import check_finite
from deploycompress.train.criteria.magnitude import magnitude_scores
from deploycompress.train.criteria.ties import CARRIES, ChannelTie, Scores, sum_by_channel
from deploycompress.train.criteria.weights import trained_weights
from deploycompress.views import constant_views

_NORMS = frozenset({"BatchNormalization", "InstanceNormalization", "GroupNormalization", "LayerNormalization"})
_SCALE = 1  # input position


def norm_scale_scores(module: GraphModule, ties: Sequence[ChannelTie], channel_count: int) -> Scores:
    """Add up |scale| over the norms that carry the channel (Liu 2017, section 3).

    A channel that no norm carries is scored by its magnitude: without a norm it is the weights that
    scale it. The channels of a group meet the same norms, so the two are never compared with each other where channels
    are chosen within groups.

    Args:
        module: the network.
        ties: which position of which weight belongs to which channel.
        channel_count: number of channels C; they are numbered from one.

    Returns:
        Scores by channel number, shape [C + 1].

    Raises:
        ModelError: no channel has a norm with a trained scale, or a weight is not finite.
    """
    weights, scales = trained_weights(module), _scales(module.source_graph)
    carrying = [tie for tie in ties if tie.role == CARRIES and tie.tensor in scales and tie.tensor in weights]
    if not carrying:
        raise ModelError(
            "The network has no norm that scales channels (it may have been folded away), so the criterion "
            "'norm-scale' says nothing; use another one, such as 'magnitude'."
        )
    total, is_normed = np.zeros(channel_count + 1), np.zeros(channel_count + 1, dtype=np.bool_)
    for tie in carrying:
        check_finite(f"Weight {tie.tensor!r}", weights[tie.tensor])
        total += sum_by_channel(weights[tie.tensor].detach().abs(), tie.axis, tie.channels, channel_count)
        is_normed[tie.channels] = True
    return total if is_normed[1:].all() else np.where(is_normed, total, magnitude_scores(module, ties, channel_count))


def _scales(graph: Graph) -> set[str]:
    views = constant_views(graph)
    return {
        views[node.input(_SCALE)].constant for node in graph.nodes if node.op in _NORMS and node.input(_SCALE) in views
    }
