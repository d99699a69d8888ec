"""Fold batch norm into the convolution before it: the graph that ships has one operator less per layer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from deploycompress.graph import Array, Graph, Node, prune_unused

DEFAULT_EPSILON = 1e-5


def fold_batch_norm(graph: Graph) -> Graph:
    """Merge every batch norm that follows a convolution into the convolution's weight and bias.

    Computed in float64, because the student's own accuracy rests on it. A convolution whose output or
    weight is used elsewhere too stays as it is, and so does its norm.

    Returns:
        A graph that computes the same function in inference.
    """
    producers, uses = graph.producers(), graph.uses()
    nodes = {node.name: node for node in graph.nodes}
    weights: dict[str, Array] = {}
    for norm in graph.nodes:
        conv = producers.get(norm.input(0))
        if conv is None or not (_is_constant_norm(graph, norm) and _is_foldable(graph, conv)):
            continue
        if uses[conv.outputs[0]] > 1 or uses[conv.input(1)] > 1:
            continue
        weight_name, bias_name = conv.input(1), f"{norm.name}.folded_bias"
        weights[weight_name], weights[bias_name] = _folded(graph, conv, norm)
        del nodes[norm.name]
        nodes[conv.name] = replace(conv, inputs=(conv.input(0), weight_name, bias_name), outputs=(norm.outputs[0],))
    kept = tuple(nodes[node.name] for node in graph.nodes if node.name in nodes)
    made = {name for node in kept for name in node.outputs} | {port.name for port in graph.inputs}
    shapes = {name: shape for name, shape in graph.shapes.items() if name in made}
    return prune_unused(replace(graph.with_weights(weights), nodes=kept, shapes=shapes))


def _is_constant_norm(graph: Graph, norm: Node) -> bool:
    parameters = norm.inputs[1:5]
    is_norm = norm.op == "BatchNormalization" and norm.is_standard and not any(norm.outputs[1:])
    return is_norm and all(name in graph.weights for name in parameters)


def _is_foldable(graph: Graph, conv: Node) -> bool:
    return (
        conv.op == "Conv"
        and conv.is_standard
        and conv.input(1) in graph.weights
        and (not conv.input(2) or conv.input(2) in graph.weights)
    )


def _folded(graph: Graph, conv: Node, norm: Node) -> tuple[Array, Array]:
    weight = graph.weights[conv.input(1)]
    scale, shift, mean, variance = (graph.weights[name].astype(np.float64) for name in norm.inputs[1:5])
    factor = scale / np.sqrt(variance + float(norm.attributes.get("epsilon", DEFAULT_EPSILON)))
    bias = graph.weights[conv.input(2)].astype(np.float64) if conv.input(2) else np.zeros_like(mean)
    per_filter = factor.reshape(-1, *[1] * (weight.ndim - 1))
    return (weight * per_filter).astype(weight.dtype), ((bias - mean) * factor + shift).astype(weight.dtype)
