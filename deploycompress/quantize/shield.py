"""Keeps ONNX Runtime from rounding layers that shall stay in float.

Version 1.31 rounds the float weight of any Conv, ConvTranspose or Gemm that stands between a
DequantizeLinear and a QuantizeLinear, with one scale for all of it (`WeightBiasQuantization`), unless the bias is
computed. So the bias of such a layer becomes a DequantizeLinear of a constant, which is never folded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from deploycompress.graph import Array, Graph, Node
from deploycompress.network.qdq_pairs import DEQUANTIZE, QUANTIZE
from deploycompress.quantize.names import fresh_name, taken_names

ROUNDED_UNASKED = frozenset({"Conv", "ConvTranspose", "Gemm"})
SMALLEST_EXPONENT = -126
"""Of two, in a scale that float32 holds in full."""


def shielded(graph: Graph) -> Graph:
    """Make the biases of float layers between pairs computed ones, exactly.

    Args:
        graph: of int8 weights behind DequantizeLinear, and float weights where layers stay in float.
    """
    producers, readers = graph.producers(), graph.readers()
    outputs = {port.name for port in graph.outputs}
    nodes: list[Node] = []
    constants: dict[str, Array] = {}
    shapes, taken = dict(graph.shapes), taken_names(graph)
    for node in graph.nodes:
        if _is_exposed(node, graph, producers, readers, outputs):
            bias = _bias(node, graph)
            name = fresh_name(f"{node.name}.shielded_bias", taken)
            parts = fresh_name(f"{name}.mantissa", taken), fresh_name(f"{name}.power", taken)
            constants |= dict(zip(parts, _exact_parts(bias), strict=True))
            shapes[name] = bias.shape
            nodes.append(Node(name=name, op=DEQUANTIZE, inputs=parts, outputs=(name,), attributes={"axis": 0}))
            nodes.append(replace(node, inputs=(*node.inputs[:2], name)))
        else:
            nodes.append(node)
    return replace(graph.with_weights(constants), nodes=tuple(nodes), shapes=shapes) if constants else graph


def _is_exposed(
    node: Node,
    graph: Graph,
    producers: Mapping[str, Node],
    readers: Mapping[str, list[tuple[Node, int]]],
    outputs: set[str],
) -> bool:
    source = producers.get(node.input(0))
    if node.op not in ROUNDED_UNASKED or node.input(1) not in graph.weights:
        return False
    if source is None or source.op != DEQUANTIZE or (node.input(2) and node.input(2) not in graph.weights):
        return False
    while True:
        found = readers.get(node.outputs[0], [])
        if len(found) != 1 or node.outputs[0] in outputs:
            return False
        node = found[0][0]
        if node.op not in ("Relu", "Clip"):
            return node.op == QUANTIZE


def _bias(node: Node, graph: Graph) -> Array:
    """Give the bias of a layer, shape [channels]; zeros where it has none."""
    if node.input(2):
        return graph.weights[node.input(2)].reshape(-1)
    weight = graph.weights[node.input(1)]
    if node.op == "Conv":
        return np.zeros(weight.shape[0], np.float32)
    is_turned = node.op == "Gemm" and node.attributes.get("transB", 0)
    channels = weight.shape[0 if is_turned else 1] * int(node.attributes.get("group", 1))
    return np.zeros(channels, np.float32)


def _exact_parts(bias: Array) -> tuple[Array, Array]:
    """Write float32 numbers as an int32 times a power of two each; what float32 cannot hold in full becomes zero."""
    fraction, exponent = np.frexp(bias.astype(np.float64))
    power = np.maximum(exponent - 24, SMALLEST_EXPONENT)
    mantissa = np.rint(np.ldexp(fraction, exponent - power)).astype(np.int32)
    return mantissa, np.ldexp(1.0, power).astype(np.float32)
