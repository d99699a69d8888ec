"""Names that no tensor, constant or node of a graph has yet."""

from __future__ import annotations

from deploycompress.graph import Graph


def taken_names(graph: Graph) -> set[str]:
    """Collect every name in use."""
    tensors = {name for node in graph.nodes for name in (*node.reads, *node.outputs)}
    return tensors | set(graph.weights) | {node.name for node in graph.nodes} | {port.name for port in graph.inputs}


def fresh_name(name: str, taken: set[str]) -> str:
    """Give a name, lengthened where it is taken, and take it."""
    while name in taken:
        name += "_"
    taken.add(name)
    return name
