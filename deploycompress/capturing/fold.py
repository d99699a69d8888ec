"""Replaces by constants whatever does not depend on the input: constants of constants, and arithmetic on shapes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from deploycompress.capturing.view import BatchView
from deploycompress.graph import Array, Graph, Node

MOVED_ONLY = frozenset({"Transpose", "Identity", "Cast"})


def fold_constants(draft: Graph, view: BatchView, parameters: Collection[str] = ()) -> Graph:
    """Replace nodes by their result where it is the same at every batch size.

    A parameter that is only transposed or cast keeps its node, and with it its name and shape.

    Args:
        draft: graph to change.
        view: what is known of it.
        parameters: names of the source's own constants.
    """
    constants = {name: pair[0] for name, pair in view.values.items() if pair[0] is pair[1]}
    outputs = {port.name for port in draft.outputs}
    named = {name for name in parameters if name in draft.weights and _is_weight(draft.weights[name])}
    made: dict[str, Array] = {}
    kept: list[Node] = []
    for node in draft.nodes:
        results = {name: constants.get(name) for name in node.outputs if name}
        settled = {name: value for name, value in results.items() if value is not None and name not in outputs}
        if node.op in MOVED_ONLY and node.input(0) in named:
            named.update(node.outputs)
            kept.append(node)
        elif len(settled) < len(results):
            kept.append(node)
        else:
            made |= settled
    return replace(draft, nodes=tuple(kept), weights={**draft.weights, **made}) if made else draft


def _is_weight(array: Array) -> bool:
    return array.ndim >= 2 and (bool(np.issubdtype(array.dtype, np.floating)) or array.dtype.name == "bfloat16")
