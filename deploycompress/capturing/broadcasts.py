"""Drops what only repeats: an Expand before operators that repeat by themselves, and sizes that scales can say."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from deploycompress.capturing.view import BatchView, ShapePair
from deploycompress.graph import UNKNOWN_SIZE, Array, Graph, Node

BROADCASTING = frozenset(
    {
        *("Add", "And", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Mean", "Min"),
        *("Mod", "Mul", "Or", "Pow", "Sub", "Sum", "Where", "Xor"),
    }
)


def drop_expansions(draft: Graph, view: BatchView) -> Graph:
    """Take out every Expand whose readers would broadcast its source to the same result.

    Its target depends on the batch, and often on the channels: F.normalize writes one.
    """
    readers, pinned = draft.readers(), {port.name for port in draft.outputs}
    pinned.update(name for node in draft.nodes for name in node.captured)
    alias: dict[str, str] = {}
    changed: set[str] = set()  # an operator of which two operands are expanded loses one at a time
    for node in draft.nodes:
        if node.op == "Expand" and node.is_standard and node.outputs[0] not in pinned:
            users = [user for user, _ in readers.get(node.outputs[0], [])]
            is_free = node.name not in changed and changed.isdisjoint(user.name for user in users)
            if users and is_free and all(_broadcasts(user, node, view) for user in users):
                alias[node.outputs[0]] = node.inputs[0]
                changed.update(user.name for user in users)
    if not alias:
        return draft
    nodes = [replace(n, inputs=tuple(alias.get(name, name) for name in n.inputs)) for n in draft.nodes]
    return replace(draft, nodes=tuple(node for node in nodes if node.outputs[0] not in alias))


def _broadcasts(user: Node, expand: Node, view: BatchView) -> bool:
    if user.op not in BROADCASTING or not user.is_standard:
        return False
    result = view.shapes.get(user.outputs[0])
    names = [expand.inputs[0] if name == expand.outputs[0] else name for name in user.inputs]
    operands = [view.shapes.get(name) for name in names]
    if result is None or any(shapes is None or UNKNOWN_SIZE in (*shapes[0], *shapes[1]) for shapes in operands):
        return False
    return all(
        np.broadcast_shapes(*(shapes[side] for shapes in operands if shapes is not None)) == result[side]
        for side in (0, 1)
    )


def settle_resizes(draft: Graph, view: BatchView) -> Graph:
    """Give every Resize to computed sizes the scales that lead to them; the batch has scale one."""
    weights: dict[str, Array] = {}
    nodes: list[Node] = []
    for node in draft.nodes:
        scales = _scales(node, view) if node.input(3) and node.input(3) not in draft.weights else None
        if scales is None:
            nodes.append(node)
            continue
        name = f"{node.outputs[0]}.scales"
        weights[name] = scales
        nodes.append(replace(node, inputs=(*node.inputs[:2], name)))
    return replace(draft, nodes=tuple(nodes), weights={**draft.weights, **weights}) if weights else draft


def _scales(node: Node, view: BatchView) -> Array | None:
    before, after = view.shapes.get(node.input(0)), view.shapes.get(node.outputs[0])
    if node.op != "Resize" or not node.is_standard or before is None or after is None:
        return None
    if "axes" in node.attributes or node.attributes.get("keep_aspect_ratio_policy", b"stretch") != b"stretch":
        return None
    return _ratios(before, after)


def _ratios(before: ShapePair, after: ShapePair) -> Array | None:
    ratios: list[np.float32] = []
    for sizes, results in zip(zip(*before, strict=True), zip(*after, strict=True), strict=True):
        if UNKNOWN_SIZE in (*sizes, *results) or 0 in sizes:
            return None
        ratio = np.float32(results[0] / sizes[0])
        if math.floor(sizes[0] * ratio) < results[0]:  # the quotient was rounded down
            ratio = np.nextafter(ratio, np.float32(np.inf))
        if any(math.floor(size * ratio) != result for size, result in zip(sizes, results, strict=True)):
            return None
        ratios.append(ratio)
    return np.asarray(ratios, dtype=np.float32)
