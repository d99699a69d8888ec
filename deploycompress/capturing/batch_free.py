"""Frees a batch size that an exporter wrote into reshapes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from deploycompress.capturing.draft import BATCH
from deploycompress.capturing.settle import COPY, REST, with_sizes
from deploycompress.capturing.view import ShapePair, Walk
from deploycompress.graph import Array, Graph, Node, Shape


def free_batch(draft: Graph, batch: int) -> Graph:
    """Make a batch axis of fixed size symbolic, and let whatever repeats that size follow the batch instead.

    The walk sees the graph at the batch it was exported with and at twice that: where a reshape cannot hold twice the
    elements, the axis that the batch is the leading factor of is the one to grow.

    Args:
        draft: model whose inputs all have `batch` or `BATCH` as their first axis.
        batch: the size it was exported with.
    """
    inputs = tuple(replace(port, shape=(BATCH, *port.shape[1:])) for port in draft.inputs)
    draft = replace(draft, inputs=inputs)
    walk = Walk(draft, (batch, 2 * batch))
    weights: dict[str, Array] = {}
    nodes: list[Node] = []
    for node in draft.nodes:
        target = _freed_target(node, walk, batch)
        current = node
        if target is not None:
            name = f"{node.outputs[0]}.sizes"
            weights[name] = target
            walk.define(name, (target, target))
            current = with_sizes(node, name)
        walk.visit(current)
        nodes.append(current)
    return replace(draft, nodes=tuple(nodes), weights={**draft.weights, **weights})


def _freed_target(node: Node, walk: Walk, batch: int) -> Array | None:
    if node.op not in ("Reshape", "Expand") or not node.is_standard:
        return None
    source, target = walk.shapes(node.inputs[0]), walk.value(node.inputs[1])
    if source is None or target is None or target[0] is not target[1] or target[0].ndim != 1:
        return None
    if node.op == "Expand":
        return _freed_expand(source, target[0], batch)
    return _freed_reshape(source, target[0], allows_zero=bool(node.attributes.get("allowzero", 0)))


def _freed_expand(source: ShapePair, target: Array, batch: int) -> Array | None:
    first, second = source
    if not target.size or len(first) != target.size or target[0] != batch:
        return None
    if (first[0], second[0]) != (batch, 2 * batch):
        return None
    return np.concatenate([[1], target[1:]]).astype(np.int64)


def _freed_reshape(source: ShapePair, target: Array, *, allows_zero: bool) -> Array | None:
    first, second = source
    if np.prod(first) == np.prod(second):
        return None
    sizes = list(_written_out(first, target, allows_zero=allows_zero))
    if np.prod(sizes) != np.prod(first):
        return None
    grown = next(axis for axis, pair in enumerate(zip(first, second, strict=True)) if pair[0] != pair[1])
    place = _axis_at(sizes, int(np.prod(first[:grown])))
    if place is None:
        return None
    is_copied = place == grown and sizes[place] == first[grown]
    sizes[place] = COPY if is_copied else REST
    return np.asarray(sizes, dtype=np.int64)


def _written_out(source: Shape, target: Array, *, allows_zero: bool) -> Shape:
    sizes = [
        source[i] if size == COPY and not allows_zero and i < len(source) else int(size)
        for i, size in enumerate(target)
    ]
    if REST in sizes:
        rest = -int(np.prod(sizes))
        sizes[sizes.index(REST)] = int(np.prod(source)) // rest if rest > 0 else 0
    return tuple(sizes)


def _axis_at(sizes: list[int], offset: int) -> int | None:
    """Find the axis that the batch leads: the first with as many elements before it, else the one that holds them."""
    before = 1
    holder: int | None = None
    for axis, size in enumerate(sizes):
        if before == offset:
            return axis
        if holder is None and before * size > offset:
            holder = axis
        before *= size
    return holder
