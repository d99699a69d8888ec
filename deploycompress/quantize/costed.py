"""The graph of a precision as far as its costs go: every operator, element type and size, but made-up scales.

The time that 8-bit kernels take does not depend on scales, so latency and memory are known without any data.
"""

from __future__ import annotations

from collections.abc import Collection

from deploycompress.graph import Graph, Node
from deploycompress.network.qdq_pairs import bounds_of
from deploycompress.precision import Precision
from deploycompress.profile_precision import Int8Format
from deploycompress.quantize.half import half
from deploycompress.quantize.layers import require_layers
from deploycompress.quantize.operators import is_carrying
from deploycompress.quantize.ranges import Ranges
from deploycompress.quantize.static import quantized

NEVER_NEGATIVE = frozenset({"Sigmoid", "HardSigmoid", "Softmax", "Abs"})


def costed_form(shipped: Graph, precision: Precision, form: Int8Format, *, higher: Collection[str] = ()) -> Graph:
    """Give the graph that would ship in a precision, with made-up scales.

    Args:
        shipped: float network in the form that ships.
        precision: arithmetic that it ships in; single precision gives the graph itself.
        form: how 8-bit graphs are written.
        higher: layers that stay in single precision, by the name of their weight without `.weight`.

    Returns:
        A graph of the same nodes, element types and shapes as the one that ships, but for nodes that stay out of half
        precision because their numbers are too large for it, which no one knows without data.

    Raises:
        ModelError: the network has a lower precision already, or cannot have it.
        PlanError: `higher` names what is no layer of the network.
    """
    require_layers(higher, shipped)
    if precision is Precision.FP32:
        return shipped
    if precision is Precision.FP16:
        return half(shipped, higher=higher)
    return quantized(shipped, _made_up(shipped), form, higher=higher)


def _made_up(graph: Graph) -> Ranges:
    """Make up ranges that are never negative where values never are: there, Relu and Clip vanish."""
    limits: dict[str, tuple[float, float]] = {port.name: (-1.0, 1.0) for port in graph.inputs}
    for node in graph.nodes:
        limits |= dict.fromkeys(filter(None, node.outputs), _range(node, graph, limits))
    return Ranges(limits=limits)


def _range(node: Node, graph: Graph, limits: dict[str, tuple[float, float]]) -> tuple[float, float]:
    low, high = bounds_of(node, graph)
    if node.op in NEVER_NEGATIVE:
        low = 0.0
    elif is_carrying(node, graph) or node.op in ("GlobalAveragePool", "AveragePool"):
        return limits.get(node.input(0), (-1.0, 1.0))
    return max(low, -1.0), min(high, 1.0)
