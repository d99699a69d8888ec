"""What a node's latency is explained by: arithmetic, what it reads, what it makes, and a fixed part.

Widths count in whole quanta: kernels compute a started quantum as a full one. Features are those of the graph in single
precision, whichever precision is measured: a lower one changes what a unit of them costs, not how many there are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from deploycompress.calibration.layers import layer_of
from deploycompress.graph import UNKNOWN_SIZE, Graph, Node
from deploycompress.profile import ChannelSteps

NAMES = ("work", "input", "output", "fixed")

Vector = NDArray[np.float64]


def graph_features(graph: Graph, quanta: ChannelSteps) -> Mapping[str, Vector]:
    """Give the features of every node of a graph, by name, each of shape [4]."""
    return {node.name: node_features(graph, node, quanta) for node in graph.nodes}


def node_features(graph: Graph, node: Node, quanta: ChannelSteps) -> Vector:
    """Give one node's multiply-accumulates, elements read, elements made, and 1, shape [4]."""
    layer = layer_of(graph, node)
    if layer is None:
        read = sum(_elements(graph, name) for name in node.inputs if name and name not in graph.weights)
        return np.array([0.0, read, sum(_elements(graph, name) for name in node.outputs if name), 1.0])
    quantum = quanta.for_kind(layer.kind)
    inputs, outputs = _rounded_up(layer.inputs, quantum.input), _rounded_up(layer.outputs, quantum.output)
    work = layer.macs * (inputs / layer.inputs) * (outputs / layer.outputs)
    read, made = inputs * math.prod(layer.size), outputs * math.prod(layer.output_size)
    return np.array([work, read, made, 1.0])


def _elements(graph: Graph, tensor: str) -> int:
    shape = graph.shapes.get(tensor, ())
    return 0 if not shape or UNKNOWN_SIZE in shape else math.prod(shape)


def _rounded_up(width: int, quantum: int) -> int:
    return -(-width // quantum) * quantum
