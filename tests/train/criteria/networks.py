"""Small networks of every kind of reading layer, with images to score their channels on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import TensorProto

from deploycompress.channels.records import Channels, Role
from deploycompress.channels.trace import trace_channels
from deploycompress.graph import Graph, Port
from deploycompress.network.module import GraphModule, to_torch
from deploycompress.train.batches import Batch
from deploycompress.train.criteria.criterion import Criterion
from deploycompress.train.criteria.readers import Reader
from deploycompress.train.criteria.scoring import score_channels
from deploycompress.train.criteria.weights import trained_weights
from tests.build import NetBuilder, residual_net, start


@dataclass(frozen=True)
class Network:
    graph: Graph
    channels: Channels
    module: GraphModule


def network(graph: Graph) -> Network:
    return Network(graph=graph, channels=trace_channels(graph), module=to_torch(graph))


def some_batches(samples: int = 24, batch_size: int = 8, *, seed: int = 0) -> list[Batch]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(samples, 3, 8, 8, generator=generator)
    labels = torch.randint(5, (samples,), generator=generator)
    return list(zip(torch.split(images, batch_size), torch.split(labels, batch_size), strict=True))


def scores(net: Network, criterion: Criterion, batches: list[Batch]) -> NDArray[np.float64]:
    channels = net.channels
    return score_channels(criterion, net.module, channels.ties, channels.count, batches, axes=channels.axes)


def with_inner_norm(graph: Graph, channel: int, *, scale: float, shift: float) -> tuple[Graph, NDArray[np.int64]]:
    """Set scale and shift of one channel inside a residual net's first branch; give its channels' numbers, too."""
    norm = [node for node in graph.nodes if node.op == "BatchNormalization"][1]
    changed = {name: graph.weights[name].copy() for name in norm.inputs[1:3]}
    for name, value in zip(norm.inputs[1:3], (scale, shift), strict=True):
        changed[name][channel] = value
    return graph.with_weights(changed), trace_channels(graph).axes[norm.outputs[0]][1]


def layer_alone(graph: Graph, reader: Reader) -> GraphModule:
    """Take one layer out of a network, as a network of its own."""
    nodes = tuple(node for node in graph.nodes if node.outputs[0] == reader.output)
    ends = [
        Port(name=name, dtype=int(TensorProto.FLOAT), shape=("N", *graph.shapes[name][1:]))
        for name in (reader.source, reader.output)
    ]
    return to_torch(replace(graph, nodes=nodes, inputs=(ends[0],), outputs=(ends[1],)))


def only(reader: Reader, channel: int, rank: int) -> torch.Tensor:
    """Say of each position of what a layer reads whether it is the channel's."""
    mask = torch.from_numpy(reader.channels == channel)
    return mask.reshape([-1 if axis == reader.axis else 1 for axis in range(rank)])


def read_products(net: Network, slopes: dict[str, torch.Tensor]) -> NDArray[np.float64]:
    """Add up slope times weight over every weight position that reads a channel, one at a time."""
    weights, total = trained_weights(net.module), np.zeros(net.channels.count + 1)
    for tie in net.channels.ties:
        if tie.role is Role.READS:
            for position, channel in enumerate(tie.channels):
                slope = slopes[tie.tensor].select(tie.axis, position)
                total[channel] += float((slope * weights[tie.tensor].detach().select(tie.axis, position)).sum())
    total[0] = 0
    return total


def _headed(net: NetBuilder, x: str) -> Graph:
    pooled = net.op("Flatten", net.op("GlobalAveragePool", x), axis=1)
    return net.finish(net.linear(pooled, 5), input_shape=(3, 8, 8))


def _stem(net: NetBuilder) -> str:
    return net.op("Relu", net.norm(net.conv("x", 8, bias=False)))


def _few_groups() -> Graph:
    net = start(1)
    return _headed(net, net.op("Relu", net.conv(_stem(net), 6, group=2)))


def _depthwise() -> Graph:
    net = start(2)
    x = net.op("Relu", net.norm(net.depthwise(_stem(net), 2)))
    return _headed(net, net.op("Relu", net.conv(x, 4, kernel=1)))


def _transposed() -> Graph:
    net = start(3)
    return _headed(net, net.op("Relu", net.transposed(_stem(net), 4)))


def _flattened() -> Graph:
    net = start(4)
    x = net.op("Relu", net.conv(_stem(net), 4, stride=2))
    flat = net.op("Flatten", x, axis=1, width=4 * 4 * 4)
    return net.finish(net.linear(flat, 5), input_shape=(3, 8, 8))


def _joined() -> Graph:
    net = start(5)
    x = _stem(net)
    left, right = net.conv(x, 3), net.conv(x, 4, kernel=1)
    both = net.op("Concat", left, right, width=7, axis=1)
    return _headed(net, net.op("Relu", net.conv(net.norm(both), 4)))


def _gated() -> Graph:
    net = start(6)
    return _headed(net, net.squeeze_excite(_stem(net), 6))


def _tokens() -> Graph:
    """Rows of pixels before samples, so that the samples lie on the second axis where the product reads."""
    net = start(7)
    rows = net.op("Reshape", _stem(net), net.integers(0, 8, 64))
    moved = net.op("Transpose", rows, perm=[2, 0, 1])  # [64, N, 8]
    hidden = net.op("Relu", net.op("MatMul", moved, net.normal("first.weight", 8, 6), width=6))
    mean = net.op("ReduceMean", hidden, axes=[0], keepdims=0)
    return net.finish(net.op("MatMul", mean, net.normal("second.weight", 6, 5), width=5), input_shape=(3, 8, 8))


NETWORKS: dict[str, Callable[[], Graph]] = {
    "residual": residual_net,
    "few groups": _few_groups,
    "depthwise": _depthwise,
    "transposed": _transposed,
    "flattened": _flattened,
    "joined": _joined,
    "gated": _gated,
    "tokens": _tokens,
}
