"""What a graph's latency depends on: its operators and the sizes of what they read, not names nor values."""

from __future__ import annotations

import hashlib

from deploycompress.graph import Graph


def structure_digest(graph: Graph) -> str:
    """Digest operators, attributes, wiring and sizes of a graph; graphs that differ in names or weights agree."""
    numbers = {port.name: str(index) for index, port in enumerate(graph.inputs)}
    digest = hashlib.sha256()
    for node in graph.nodes:
        read = [
            f"{graph.weights[name].dtype}{graph.weights[name].shape}"
            if name in graph.weights
            else numbers.get(name, "-")
            for name in node.reads
        ]
        digest.update(repr((node.domain, node.op, sorted(node.attributes.items(), key=str), read)).encode())
        digest.update(repr([graph.shapes.get(name) for name in node.outputs]).encode())
        for name in node.outputs:
            numbers[name] = str(len(numbers))
    return digest.hexdigest()
