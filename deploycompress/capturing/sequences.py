"""Writes sequences of tensors as plain tensors, wherever their length and the places asked for are known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from deploycompress.capturing.view import BatchView
from deploycompress.graph import Array, Graph, Node

Sequences = Mapping[str, tuple[str, ...]]


def unpack_sequences(draft: Graph, view: BatchView) -> Graph:
    """Replace what reads from known sequences; the nodes that build them are left for nobody to read."""
    known: dict[str, tuple[str, ...]] = {}
    weights: dict[str, Array] = dict(draft.weights)
    nodes: list[Node] = []
    for node in draft.nodes:
        pieces = tuple(_unpacked(node, known, view, weights)) if node.is_standard else ()
        contents = _contents(node, known, view) if node.is_standard else None
        if contents is not None:
            known[node.outputs[0]] = contents
        nodes += pieces or (node,)
        if pieces and node.op == "SplitToSequence":
            nodes.append(node)  # others may read the sequence as such; if none does, it is pruned
    return replace(draft, nodes=tuple(nodes), weights=weights) if known else draft


def _contents(node: Node, known: Sequences, view: BatchView) -> tuple[str, ...] | None:
    match node.op:
        case "SequenceEmpty":
            return ()
        case "SequenceConstruct":
            return node.inputs
        case "SequenceInsert" if node.inputs[0] in known:
            before = known[node.inputs[0]]
            place = _place(node.input(2), view, len(before), default=len(before))
            return None if place is None else (*before[:place], node.inputs[1], *before[place:])
        case "SequenceErase" if node.inputs[0] in known:
            before = known[node.inputs[0]]
            place = _place(node.input(1), view, len(before), default=len(before) - 1)
            return None if place is None else (*before[:place], *before[place + 1 :])
        case "Identity":
            return known.get(node.inputs[0])
        case "SplitToSequence":
            sizes = _split_sizes(node, view)
            return None if sizes is None else tuple(f"{node.outputs[0]}.{index}" for index in range(len(sizes)))
        case _:
            return None


def _unpacked(node: Node, known: Sequences, view: BatchView, weights: dict[str, Array]) -> Iterator[Node]:
    contents = known.get(node.input(0))
    if node.op == "SequenceAt" and contents is not None:
        place = _place(node.input(1), view, len(contents), default=None)
        if place is not None and place < len(contents):
            yield replace(node, op="Identity", inputs=(contents[place],), attributes={})
    elif node.op == "SequenceLength" and contents is not None:
        name = f"{node.outputs[0]}.length"
        weights[name] = np.asarray(len(contents), np.int64)
        yield replace(node, op="Identity", inputs=(name,), attributes={})
    elif node.op == "ConcatFromSequence" and contents:
        yield from _concatenated(node, contents, weights)
    elif node.op == "SplitToSequence":
        yield from _split(node, view, weights)


def _concatenated(node: Node, contents: tuple[str, ...], weights: dict[str, Array]) -> Iterator[Node]:
    axis = int(node.attributes["axis"])
    parts = contents
    if node.attributes.get("new_axis", 0):
        parts = tuple(f"{node.outputs[0]}.part{index}" for index in range(len(contents)))
        for index, (source, part) in enumerate(zip(contents, parts, strict=True)):
            name = f"{part}.axes"
            weights[name] = np.asarray([axis], np.int64)
            yield Node(name=f"{node.name}.part{index}", op="Unsqueeze", inputs=(source, name), outputs=(part,))
    yield replace(node, op="Concat", inputs=parts, attributes={"axis": axis})


def _split(node: Node, view: BatchView, weights: dict[str, Array]) -> Iterator[Node]:
    sizes = _split_sizes(node, view)
    name = f"{node.outputs[0]}.sizes"
    if sizes is None or name in weights:  # already done in an earlier round
        return
    axis = int(node.attributes.get("axis", 0))
    pieces = tuple(f"{node.outputs[0]}.{index}" for index in range(len(sizes)))
    drops_axis = not node.input(1) and not node.attributes.get("keepdims", 1)
    outputs = tuple(f"{piece}.kept" for piece in pieces) if drops_axis else pieces
    weights[name] = np.asarray(sizes, np.int64)
    yield Node(
        name=f"{node.name}.split",
        op="Split",
        inputs=(node.inputs[0], name),
        outputs=outputs,
        attributes={"axis": axis},
    )
    if drops_axis:
        for piece, source in zip(pieces, outputs, strict=True):
            axes = f"{piece}.axes"
            weights[axes] = np.asarray([axis], np.int64)
            yield Node(name=f"{piece}.squeeze", op="Squeeze", inputs=(source, axes), outputs=(piece,))


def _split_sizes(node: Node, view: BatchView) -> tuple[int, ...] | None:
    shapes = view.shapes.get(node.inputs[0])
    if shapes is None:
        return None
    axis = int(node.attributes.get("axis", 0))
    total = shapes[0][axis]
    if total != shapes[1][axis]:
        return None
    if not node.input(1):
        return (1,) * total
    wanted = _constant(node.input(1), view)
    if wanted is None:
        return None
    if wanted.ndim:
        return tuple(int(size) for size in wanted)
    step = int(wanted)
    return tuple(min(step, total - start) for start in range(0, total, step)) if step > 0 else None


def _place(name: str, view: BatchView, length: int, *, default: int | None) -> int | None:
    if not name:
        return default
    value = _constant(name, view)
    if value is None:
        return None
    place = int(value)
    return place + length if place < 0 else place


def _constant(name: str, view: BatchView) -> Array | None:
    pair = view.values.get(name)
    return pair[0] if pair is not None and pair[0] is pair[1] else None
