"""Which tensors of a graph are rounded, and by what: its pairs of QuantizeLinear and DequantizeLinear as records.

A trainable 8-bit graph holds float weights, and behind every weight and every rounded activation a pair of nodes.
Training changes the values of their scales and zero points, which are constants of the graph by the names given here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deploycompress.graph import Graph, Node
from deploycompress.profile_precision import Int8Format

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"


@dataclass(frozen=True, slots=True, kw_only=True)
class QdqPair:
    """One QuantizeLinear and the DequantizeLinear that reads it.

    Attributes:
        value: the float tensor that is rounded: a constant of the graph, or what a node or the caller gives.
        rounded: the float tensor that its readers see.
        scale: constant with the size of a quantisation step, shape [] or [channels].
        zero_point: constant with the code that stands for zero, of the same shape; its element type is the code's.
        is_weight: whether the value is a constant, whose scale follows from the constant itself.
        axis: axis of the value whose positions have scales of their own; None for a single scale.
        is_owner: whether the scale is this value's own. What only moves or selects values (MaxPool, Flatten, Slice)
            gives its input's codes back, so the pair behind it reads its input's scale and is no owner.
        bounds: lowest and highest value that a Relu or Clip before the pair lets through, infinite where there is none.
            ONNX Runtime drops that node, and computes the layer before it in integers, as long as no code stands for a
            value outside of them: training must keep the scale within.
    """

    value: str
    rounded: str
    scale: str
    zero_point: str
    is_weight: bool
    axis: int | None
    is_owner: bool
    bounds: tuple[float, float]


def qdq_pairs(graph: Graph) -> tuple[QdqPair, ...]:
    """List the pairs of a graph, in the order of its nodes.

    A DequantizeLinear of a constant, as a finished graph has for its weights, is no pair.
    """
    producers = graph.producers()
    seen: set[str] = set()
    found: list[QdqPair] = []
    for node in graph.nodes:
        quantize = producers.get(node.input(0))
        if node.op != DEQUANTIZE or quantize is None or quantize.op != QUANTIZE:
            continue
        found.append(_pair(graph, producers, quantize, node, is_owner=node.input(1) not in seen))
        seen.add(node.input(1))
    return tuple(found)


def largest_weight_code(form: Int8Format) -> int:
    """Give the code of a weight's largest magnitude: its scale is that magnitude divided by this."""
    return 64 if form.reduced_range else 127


def bounds_of(node: Node | None, graph: Graph) -> tuple[float, float]:
    """Give the interval that a node's outputs lie in, as far as the node itself says."""
    if node is None or not node.is_standard or node.op not in ("Relu", "Clip"):
        return -float("inf"), float("inf")
    if node.op == "Relu":
        return 0.0, float("inf")
    low, high = (graph.weights.get(node.input(position)) for position in (1, 2))
    return -float("inf") if low is None else low.item(), float("inf") if high is None else high.item()


def _pair(graph: Graph, producers: Mapping[str, Node], quantize: Node, dequantize: Node, *, is_owner: bool) -> QdqPair:
    value = quantize.input(0)
    per_channel = graph.weights[quantize.input(1)].ndim > 0
    return QdqPair(
        value=value,
        rounded=dequantize.outputs[0],
        scale=quantize.input(1),
        zero_point=quantize.input(2),
        is_weight=value in graph.weights,
        axis=int(quantize.attributes.get("axis", 1)) if per_channel else None,
        is_owner=is_owner,
        bounds=bounds_of(producers.get(value), graph),
    )
