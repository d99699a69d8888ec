"""The layers that read channels with weights, and what each channel contributes to what leaves them.

Cutting a channel and setting the weights that read it to zero are one thing (`surgery.masked`), so what a channel is
worth can be asked of the layers that read it, whatever makes it and wherever norms, activations and sums lie between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from deploycompress.errors import ModelError
from deploycompress.graph import Graph, Node
from deploycompress.train.criteria.ties import READS, ChannelAxes, ChannelTie, Numbers
from deploycompress.views import constant_views


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """One layer that reads channels.

    Attributes:
        source: name of the value it reads.
        output: name of the value it computes.
        axis: channel axis of what it reads.
        output_axis: channel axis of what it computes, the last one where it makes no channels.
        channels: channel number of each position along that axis.
        sizes: shape of what it reads at batch size one, empty where it is not known.
    """

    source: str
    output: str
    axis: int
    output_axis: int
    channels: Numbers
    sizes: tuple[int, ...]

    def batch_axis(self, value: Tensor, samples: int) -> int:
        """Find the axis of what it reads along which samples lie: the one that has grown with their number."""
        others = [axis for axis in range(value.ndim) if axis != self.axis]
        if samples > 1 and len(self.sizes) == value.ndim:
            return next((axis for axis in others if value.shape[axis] == samples * self.sizes[axis]), others[0])
        return others[0]


def find_readers(graph: Graph, ties: Sequence[ChannelTie], axes: ChannelAxes) -> tuple[Reader, ...]:
    """List the layers that read channels with weights, in the order of the graph.

    Raises:
        ModelError: there is none.
    """
    read: dict[str, list[Numbers]] = {}
    for tie in ties:
        if tie.role == READS:
            read.setdefault(tie.tensor, []).append(tie.channels)
    views = constant_views(graph)
    weights = {name: np.concatenate(read[view.constant]) for name, view in views.items() if view.constant in read}
    found = [
        Reader(
            source=source,
            output=node.outputs[0],
            axis=axes[source][0],
            output_axis=axes[node.outputs[0]][0] if node.outputs[0] in axes else -1,
            channels=axes[source][1],
            sizes=tuple(graph.shapes.get(source, ())),
        )
        for node in graph.nodes
        if node.outputs[0] not in views
        for source in _sources(node, weights, axes)
    ]
    if not found:
        raise ModelError(
            "No layer of the network reads channels with weights, so none can be scored by what it reads; "
            "use the criterion 'magnitude'."
        )
    return tuple(found)


def contributions(reader: Reader, source: Tensor, pulled: Tensor, *, samples: int, channel_count: int) -> Tensor:
    """Add up value times pulled-back direction over each channel's positions, sample by sample.

    A layer is linear in what it reads. So with `pulled` a direction of its output taken back through this layer alone,
    this is <direction, layer(what it reads, all other channels zero)>, its bias left out.

    Args:
        reader: the layer.
        source: what it reads.
        pulled: what `pull_back` gave, shape of the source.
        samples: number of samples B.
        channel_count: number of channels C; they are numbered from one.

    Returns:
        Shape [B, C + 1], float64; column 0, which stands for no channel, is 0.
    """
    product = (pulled * source.detach()).movedim((reader.batch_axis(source, samples), reader.axis), (0, -1))
    per_position = product.reshape(samples, -1, product.shape[-1]).sum(dim=1, dtype=torch.float64)
    result = torch.zeros(samples, channel_count + 1, dtype=torch.float64, device=source.device)
    result.index_add_(1, torch.from_numpy(reader.channels).to(source.device), per_position)
    result[:, 0] = 0
    return result


def pull_back(source: Tensor, output: Tensor, direction: Tensor) -> Tensor:
    """Take a direction of a layer's output back to what the layer reads, through this layer alone."""
    (pulled,) = torch.autograd.grad(output, source, direction, retain_graph=True)
    return pulled


def _sources(node: Node, weights: dict[str, Numbers], axes: ChannelAxes) -> list[str]:
    """Name the values that a node multiplies with weights tied to their channels."""
    tied = [weights[name] for name in dict.fromkeys(node.inputs) if name in weights]
    return [
        name
        for name in dict.fromkeys(node.inputs)
        if name in axes and name not in weights and axes[name][1].any()
        if any(np.isin(axes[name][1], channels).all() for channels in tied)
    ]
