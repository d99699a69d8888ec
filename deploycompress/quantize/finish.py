"""Turns a trainable 8-bit graph into the one that ships: weights become int8 constants, biases int32."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from deploycompress.graph import Array, Graph, Node, prune_unused
from deploycompress.measuring.integer_kernels import LAYERS
from deploycompress.network.qdq_pairs import DEQUANTIZE, QdqPair, qdq_pairs
from deploycompress.quantize.affine import Affine, bias_codes, codes, scale_for_bias, widened
from deploycompress.quantize.names import fresh_name, taken_names


@dataclass(frozen=True, slots=True)
class _Biased:
    """A layer with a constant float bias: its node, and the pairs of its input and its weight."""

    node: Node
    source: QdqPair
    weight: QdqPair


def fold_pairs(graph: Graph, *, quantized_bias: bool = True) -> Graph:
    """Round every weight that stands before a pair, and every bias of a layer whose input and weight are rounded.

    Scales of weights are taken as they are, but where a bias would overflow (`affine.scale_for_bias, widened`).

    Args:
        graph: trainable form, as `write.write_pairs` makes it.
        quantized_bias: whether biases are rounded.
    """
    pairs = {pair.rounded: pair for pair in qdq_pairs(graph)}
    weights = {pair.rounded: pair for pair in pairs.values() if pair.is_weight}
    nodes_with_bias = graph.nodes if quantized_bias else ()
    biased = [found for node in nodes_with_bias if (found := _biased(node, graph, pairs, weights)) is not None]
    scales = _scales(graph, weights, biased)
    constants: dict[str, Array] = {}
    shapes = dict(graph.shapes)
    taken = taken_names(graph)
    bias_nodes = {layer.node.name: _rounded_bias(layer, graph, scales[layer.weight.rounded], taken) for layer in biased}
    nodes: list[Node] = []
    for node in graph.nodes:
        pair = weights.get(node.outputs[0])
        if pair is not None:
            affine = Affine(scale=scales[pair.rounded], zero_point=graph.weights[pair.zero_point])
            constants[node.input(0)] = codes(graph.weights[pair.value], affine, pair.axis)
            constants[pair.scale] = affine.scale
        elif node.name in bias_nodes:
            dequantize, parts = bias_nodes[node.name]
            constants |= parts
            shapes[dequantize.outputs[0]] = parts[dequantize.inputs[0]].shape
            nodes.append(dequantize)
            node = replace(node, inputs=(*node.inputs[:2], dequantize.outputs[0]))
        nodes.append(node)
    folded = {pair.value for pair in weights.values()}
    kept = tuple(node for node in nodes if not (node.op == "QuantizeLinear" and node.input(0) in folded))
    shapes = {name: shape for name, shape in shapes.items() if name not in constants}
    return prune_unused(replace(graph.with_weights(constants), nodes=kept, shapes=shapes))


def _biased(node: Node, graph: Graph, pairs: Mapping[str, QdqPair], weights: Mapping[str, QdqPair]) -> _Biased | None:
    source, weight = pairs.get(node.input(0)), weights.get(node.input(1))
    if node.op not in LAYERS or source is None or weight is None or node.input(2) not in graph.weights:
        return None
    return _Biased(node=node, source=source, weight=weight)


def _scales(graph: Graph, weights: Mapping[str, QdqPair], biased: list[_Biased]) -> dict[str, Array]:
    """Give each weight's scale, wide enough for the biases of all layers that read it."""
    affines = {
        pair.rounded: Affine(scale=graph.weights[pair.scale], zero_point=graph.weights[pair.zero_point])
        for pair in weights.values()
    }
    needed: dict[str, Array] = {}
    for layer in biased:
        name, bias = layer.weight.rounded, graph.weights[layer.node.input(2)].reshape(-1)
        found = scale_for_bias(affines[name], graph.weights[layer.source.scale], bias)
        needed[name] = np.maximum(needed.get(name, found), found)
    for pair in {layer.weight.rounded: layer.weight for layer in biased}.values():
        weight = graph.weights[pair.value]
        others = tuple(i for i in range(weight.ndim) if i != pair.axis)
        is_empty = np.asarray(~weight.any(axis=others))
        affines[pair.rounded] = widened(affines[pair.rounded], needed[pair.rounded], is_empty=is_empty)
    return {name: affine.scale for name, affine in affines.items()}


def _rounded_bias(layer: _Biased, graph: Graph, weight_scale: Array, taken: set[str]) -> tuple[Node, dict[str, Array]]:
    """Make the DequantizeLinear of a layer's bias, and its constants; biases are few, so each layer has its own."""
    name = f"{layer.node.name}.{layer.node.input(2)}"
    coded, step, rounded, node_name = (
        fresh_name(f"{name}.{part}", taken) for part in ("quantized", "scale", "dequantized", DEQUANTIZE)
    )
    scale = graph.weights[layer.source.scale] * weight_scale
    codes_of_bias = bias_codes(graph.weights[layer.node.input(2)].reshape(-1), scale)
    attributes = {"axis": 0} if np.ndim(scale) else {}
    node = Node(name=node_name, op=DEQUANTIZE, inputs=(coded, step), outputs=(rounded,), attributes=attributes)
    return node, {coded: codes_of_bias, step: np.asarray(scale)}
