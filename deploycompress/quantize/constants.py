"""Weights as their layers read them: a transposed or renamed constant becomes a constant itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from deploycompress.graph import Array, Graph, prune_unused
from deploycompress.measuring.integer_kernels import LAYERS


def with_plain_weights(graph: Graph) -> Graph:
    """Evaluate the Transpose or Identity between a constant and a layer that multiplies with it.

    The result keeps the constant's name, by which plans name the layer, unless the constant is read elsewhere too.
    """
    uses = graph.uses()
    producers = graph.producers()
    renamed: dict[str, str] = {}
    weights: dict[str, Array] = {}
    for node in graph.nodes:
        view = producers.get(node.input(1)) if node.op in LAYERS else None
        if view is None or view.op not in ("Transpose", "Identity") or view.input(0) not in graph.weights:
            continue
        array, seen = graph.weights[view.input(0)], view.outputs[0]
        name = view.input(0) if uses[view.input(0)] == 1 else seen
        renamed[seen] = name
        weights[name] = np.transpose(array, view.attributes.get("perm")) if view.op == "Transpose" else array
    if not renamed:
        return graph
    kept = tuple(
        replace(node, inputs=tuple(renamed.get(name, name) for name in node.inputs))
        for node in graph.nodes
        if node.outputs[0] not in renamed
    )
    shapes = {name: shape for name, shape in graph.shapes.items() if name not in renamed}
    return prune_unused(replace(graph.with_weights(weights), nodes=kept, shapes=shapes))
