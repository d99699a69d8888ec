"""Writes out what only looks dynamic: known branches, loops and sequences become plain nodes."""

from __future__ import annotations

from dataclasses import replace

from deploycompress.capturing.control_flow import inlined_control_flow
from deploycompress.capturing.sequences import contents_of, unpacked
from deploycompress.capturing.view import Walk
from deploycompress.graph import Array, Graph, Node

DYNAMIC = frozenset({"If", "Loop", "SequenceAt", "SequenceLength", "ConcatFromSequence", "SplitToSequence"})


def unfold(draft: Graph) -> Graph:
    """Replace control flow and sequences by plain nodes wherever they are the same for all inputs.

    One walk does it: what a branch or a sequence held lets later conditions be known. What makes the sequences stays,
    and is dropped with everything else that nothing reads.
    """
    if not any(node.op in DYNAMIC for node in draft.nodes):
        return draft
    walk = Walk(draft)
    weights: dict[str, Array] = {}
    sequences: dict[str, tuple[str, ...]] = {}
    nodes: list[Node] = []
    waiting = list(reversed(draft.nodes))
    while waiting:
        node = waiting.pop()
        plain = inlined_control_flow(node, walk) or (unpacked(node, sequences, walk) if node.is_standard else None)
        if plain is not None:
            for name, array in plain.constants.items():
                walk.define(name, (array, array))
            weights |= plain.constants
            waiting += reversed(plain.nodes)
        contents = contents_of(node, sequences, walk) if node.is_standard else None
        if contents is not None:
            sequences[node.outputs[0]] = contents
        if plain is None or contents is not None:
            walk.visit(node)
            nodes.append(node)
    return replace(draft, nodes=tuple(nodes), weights={**draft.weights, **weights})
