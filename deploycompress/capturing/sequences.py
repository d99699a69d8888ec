"""Writes sequences of tensors as plain tensors, wherever their length and the places asked for are known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from deploycompress.capturing.control_flow import Inlined
from deploycompress.capturing.view import Walk
from deploycompress.graph import Array, Node

Sequences = Mapping[str, tuple[str, ...]]


def unpacked(node: Node, known: Sequences, walk: Walk) -> Inlined | None:
    """Give plain nodes for one that reads from a sequence whose contents are known, else None."""
    contents = known.get(node.input(0))
    weights: dict[str, Array] = {}
    nodes: tuple[Node, ...] = ()
    if node.op == "SequenceAt" and contents is not None:
        place = _place(node.input(1), walk, len(contents), default=None)
        if place is not None and place < len(contents):
            nodes = (replace(node, op="Identity", inputs=(contents[place],), attributes={}),)
    elif node.op == "SequenceLength" and contents is not None:
        name = f"{node.outputs[0]}.length"
        weights[name] = np.asarray(len(contents), np.int64)
        nodes = (replace(node, op="Identity", inputs=(name,), attributes={}),)
    elif node.op == "ConcatFromSequence" and contents:
        nodes = tuple(_concatenated(node, contents, weights))
    elif node.op == "SplitToSequence":
        nodes = tuple(_split(node, walk, weights))
    return Inlined(nodes=nodes, constants=weights, outputs=node.outputs) if nodes else None


def contents_of(node: Node, known: Sequences, walk: Walk) -> tuple[str, ...] | None:
    """Name the tensors in the sequence that a node makes, None where that depends on data."""
    match node.op:
        case "SequenceEmpty":
            return ()
        case "SequenceConstruct":
            return node.inputs
        case "SequenceInsert" if node.inputs[0] in known:
            before = known[node.inputs[0]]
            place = _place(node.input(2), walk, len(before), default=len(before))
            return None if place is None else (*before[:place], node.inputs[1], *before[place:])
        case "SequenceErase" if node.inputs[0] in known:
            before = known[node.inputs[0]]
            place = _place(node.input(1), walk, len(before), default=len(before) - 1)
            return None if place is None else (*before[:place], *before[place + 1 :])
        case "Identity":
            return known.get(node.inputs[0])
        case "SplitToSequence":
            sizes = _split_sizes(node, walk)
            return None if sizes is None else tuple(f"{node.outputs[0]}.{index}" for index in range(len(sizes)))
        case _:
            return None


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


def _split(node: Node, walk: Walk, weights: dict[str, Array]) -> Iterator[Node]:
    sizes = _split_sizes(node, walk)
    if sizes is None:
        return
    axis = int(node.attributes.get("axis", 0))
    pieces = tuple(f"{node.outputs[0]}.{index}" for index in range(len(sizes)))
    drops_axis = not node.input(1) and not node.attributes.get("keepdims", 1)
    outputs = tuple(f"{piece}.kept" for piece in pieces) if drops_axis else pieces
    name = f"{node.outputs[0]}.sizes"
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


def _split_sizes(node: Node, walk: Walk) -> tuple[int, ...] | None:
    shapes = walk.shapes(node.inputs[0])
    if shapes is None:
        return None
    axis = int(node.attributes.get("axis", 0))
    total = shapes[0][axis]
    if total != shapes[1][axis]:
        return None
    if not node.input(1):
        return (1,) * total
    wanted = _constant(node.input(1), walk)
    if wanted is None:
        return None
    if wanted.ndim:
        return tuple(int(size) for size in wanted)
    step = int(wanted)
    return tuple(min(step, total - start) for start in range(0, total, step)) if step > 0 else None


def _place(name: str, walk: Walk, length: int, *, default: int | None) -> int | None:
    if not name:
        return default
    value = _constant(name, walk)
    if value is None:
        return None
    place = int(value)
    return place + length if place < 0 else place


def _constant(name: str, walk: Walk) -> Array | None:
    pair = walk.value(name)
    return pair[0] if pair is not None and pair[0] is pair[1] else None
