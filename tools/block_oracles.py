"""What a graph without a block must compute, said without removing it: by weights that make the block do nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from deploycompress.channels.records import Role
from deploycompress.channels.trace import trace_channels
from deploycompress.graph import Graph, Node
from deploycompress.surgery.blocks import Block
from deploycompress.surgery.elementary import ACTIVATIONS

NUDGE = 1e-5  # the epsilon of batch norm, so that a neutral one divides by one


def nodes_of(graph: Graph, block: Block) -> list[Node]:
    """List the nodes of a block."""
    return [node for node in graph.nodes if node.name in block.nodes]


def constants_of(graph: Graph, node: Node) -> list[str]:
    """Name the real-valued constants behind a node's inputs, turned ones included."""
    makers = graph.producers()
    names = [
        makers[name].inputs[0] if name in makers and makers[name].op == "Transpose" else name for name in node.inputs
    ]
    return [name for name in names if name in graph.weights and graph.weights[name].dtype.kind == "f"]


def with_last_weights_zeroed(graph: Graph, block: Block) -> Graph:
    """Zero the last weights of a branch, the bias after a product of matrices included."""
    zeroed: dict[str, Any] = {}
    for node in reversed(nodes_of(graph, block)):
        names = [name for name in constants_of(graph, node) if graph.weights[name].size > 1]
        names = names[:2] if node.op == "BatchNormalization" else names
        zeroed.update({name: np.zeros_like(graph.weights[name]) for name in names})
        if names and node.op != "Add":
            return graph.with_weights(zeroed)
    raise AssertionError(f"{block.name} has no weights")


def with_identity(graph: Graph, block: Block) -> Graph:
    """Make the weights of a layer pass everything through, its norm neutral, and its activation an Identity."""
    weights: dict[str, Any] = {}
    nodes = {node.name: node for node in graph.nodes}
    for node in nodes_of(graph, block):
        names = constants_of(graph, node)
        if node.op in ACTIVATIONS:
            nodes[node.name] = replace(node, op="Identity", inputs=node.inputs[:1], attributes={})
        elif node.op == "BatchNormalization":
            weights |= dict(zip(names, neutral_norm(graph, names), strict=True))
        elif node.op == "Add":
            weights |= {name: np.zeros_like(graph.weights[name]) for name in names}
        elif node.op in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
            weights[names[0]] = dirac(graph.weights[names[0]], int(node.attributes.get("group", 1)))
            weights |= {name: np.zeros_like(graph.weights[name]) for name in names[1:]}
    return replace(graph.with_weights(weights), nodes=tuple(nodes.values()))


def neutral_norm(graph: Graph, names: list[str]) -> list[Any]:
    """Make scale, shift, mean and variance that change nothing."""
    ones = np.ones_like(graph.weights[names[0]])
    return [ones, 0 * ones, 0 * ones, ones - np.float32(NUDGE)]


def dirac(weight: Any, group: int) -> Any:
    """Make a weight [M, C/group, *kernel] that copies each channel, by a plain loop."""
    made = np.zeros_like(weight)
    per_group = len(weight) // group
    centre = tuple(size // 2 for size in weight.shape[2:])
    for channel in range(len(weight)):
        made[(channel, channel % per_group, *centre)] = 1
    return made


def with_open_gate(graph: Graph, block: Block) -> Graph:
    """Make the last bias of a gate so large that the gate is one everywhere."""
    last = [node for node in nodes_of(graph, block) if node.op == "Conv"][-1]
    return graph.with_weights({last.inputs[2]: np.full_like(graph.weights[last.inputs[2]], 1e4)})


def with_unread_branch(graph: Graph, block: Block) -> Graph:
    """Zero the weights that read a branch's channels."""
    channels = trace_channels(graph)
    goes = channels.axes[block.output][1]
    zeroed: dict[str, Any] = {}
    for tie in channels.ties:
        positions = np.flatnonzero(np.isin(tie.channels, goes))
        if tie.role == Role.READS and len(positions):
            weight = np.moveaxis(zeroed.get(tie.tensor, graph.weights[tie.tensor]).copy(), tie.axis, 0)
            weight[positions] = 0
            zeroed[tie.tensor] = np.moveaxis(weight, 0, tie.axis)
    return graph.with_weights(zeroed)


def with_passage(graph: Graph, block: Block) -> Graph:
    """Make the last node of a block pass on what entered the block."""
    last = next(node for node in graph.nodes if block.output in node.outputs)
    passes = replace(last, op="Identity", inputs=(block.instead,), attributes={})
    return replace(graph, nodes=tuple(passes if node is last else node for node in graph.nodes))


ORACLES: Mapping[str, Callable[[Graph, Block], Graph]] = {
    "residual": with_last_weights_zeroed,
    "layer": with_identity,
    "gate": with_open_gate,
    "branch": with_unread_branch,
    "merge": with_passage,
}
