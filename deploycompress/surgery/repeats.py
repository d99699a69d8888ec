"""Drops operators that do what was just done: where a block goes, the activation after it meets the one before it.

ONNX Runtime fuses an activation into the convolution before it, but runs one that follows an activation on its own.
"""

from __future__ import annotations

from dataclasses import replace

from deploycompress.graph import Graph, prune_unused

IDEMPOTENT = frozenset({"Relu", "Abs", "Floor", "Ceil", "Round", "Sign"})
"""Operators of one input that change nothing the second time."""


def without_repeats(graph: Graph) -> Graph:
    """Let the readers of a repeated operator read the one before it.

    Returns:
        A graph that computes the same function, to the bit.
    """
    pinned = {port.name for port in graph.outputs} | {name for node in graph.nodes for name in node.captured}
    makers = graph.producers()
    instead: dict[str, str] = {}
    nodes = []
    for node in graph.nodes:
        node = replace(node, inputs=tuple(instead.get(name, name) for name in node.inputs))
        before = makers.get(node.input(0))
        is_repeat = (
            node.op in IDEMPOTENT and before is not None and (before.op, before.domain) == (node.op, node.domain)
        )
        if is_repeat and node.outputs[0] not in pinned:
            instead[node.outputs[0]] = node.input(0)
        else:
            nodes.append(node)
    shapes = {name: shape for name, shape in graph.shapes.items() if name not in instead}
    return prune_unused(replace(graph, nodes=tuple(nodes), shapes=shapes)) if instead else graph
