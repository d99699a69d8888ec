"""Makes constants of what names sizes, so that no size depends on the batch and surgery has one place to change."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from deploycompress.capturing.draft import BATCH, infer_types
from deploycompress.capturing.fold import BATCHES, BatchView, Pair, fold_constants, view_of_constants
from deploycompress.graph import Array, Graph, Node, Shape

COPY = 0  # in a reshape target: take this size from the input
REST = -1  # in a reshape target: whatever is left


def settle_sizes(draft: Graph, view: BatchView) -> Graph:
    """Give every Reshape a constant target with `COPY` for the batch, and every Expand one with 1 for it.

    A target that cannot be written so (two entries that depend on the batch) stays as it is.
    """
    targets: dict[str, Array] = {}
    nodes: list[Node] = []
    for node in draft.nodes:
        target = _constant_target(node, view)
        if target is None or np.array_equal(target, draft.weights.get(node.input(1), ())):
            nodes.append(node)
            continue
        name = f"{node.outputs[0]}.sizes"
        targets[name] = target
        nodes.append(_with_target(node, name))
    return replace(draft, nodes=tuple(nodes), weights={**draft.weights, **targets}) if targets else draft


def free_batch(draft: Graph, batch: int) -> Graph:
    """Make a batch axis of fixed size symbolic, and the reshapes that repeat that size copy it instead.

    Args:
        draft: model whose inputs all have `batch` or `BATCH` as their first axis.
        batch: the size it was exported with.
    """
    draft = fold_constants(draft, view_of_constants(draft))
    types = infer_types(draft, batch)
    weights: dict[str, Array] = {}
    nodes: list[Node] = []
    for node in draft.nodes:
        target = draft.weights.get(node.input(1))
        shape = types.get(node.input(0), (0, None))[1]
        if node.op not in ("Reshape", "Expand") or target is None or not (_starts_with(target, batch) and shape):
            nodes.append(node)
            continue
        if shape[0] != batch:
            nodes.append(node)
            continue
        name = f"{node.outputs[0]}.sizes"
        weights[name] = np.concatenate([[COPY if node.op == "Reshape" else 1], target[1:]]).astype(np.int64)
        nodes.append(_with_target(node, name))
    inputs = tuple(replace(port, shape=(BATCH, *port.shape[1:])) for port in draft.inputs)
    return replace(draft, nodes=tuple(nodes), weights={**draft.weights, **weights}, inputs=inputs)


def _with_target(node: Node, name: str) -> Node:
    attributes = {key: value for key, value in node.attributes.items() if key != "allowzero"}  # 0 is COPY now
    return replace(node, inputs=(node.inputs[0], name), attributes=attributes)


def _starts_with(target: Array, batch: int) -> bool:
    return target.ndim == 1 and target.size > 0 and target[0] == batch


def _constant_target(node: Node, view: BatchView) -> Array | None:
    if node.op not in ("Reshape", "Expand") or not node.is_standard or node.inputs[0] not in view.shapes:
        return None
    source = view.shapes[node.inputs[0]]
    if node.op == "Expand":
        return _expand_target(source, view.values.get(node.inputs[1]))
    result = view.shapes.get(node.outputs[0]) or _reshaped(node, source, view.values.get(node.inputs[1]))
    return None if result is None else _reshape_target(source, result)


def _reshaped(node: Node, source: tuple[Shape, Shape], target: Pair | None) -> tuple[Shape, Shape] | None:
    if target is None or node.attributes.get("allowzero", 0):
        return None
    first, second = (_applied(shape, sizes) for shape, sizes in zip(source, target, strict=True))
    return None if first is None or second is None else (first, second)


def _applied(shape: Shape, target: Array) -> Shape | None:
    sizes = [shape[i] if size == COPY and i < len(shape) else int(size) for i, size in enumerate(target)]
    try:
        return np.empty(shape, dtype=np.bool_).reshape(sizes).shape
    except ValueError:
        return None


def _reshape_target(source: tuple[Shape, Shape], result: tuple[Shape, Shape]) -> Array | None:
    entries: list[int] = []
    for axis, (first, second) in enumerate(zip(*result, strict=True)):
        copied = axis < len(source[0]) and (source[0][axis], source[1][axis]) == (first, second)
        entries.append(first if first == second else COPY if copied else REST)
    # an empty axis reads as COPY, and two unknown entries cannot be told apart
    is_ambiguous = entries.count(REST) > 1 or COPY in (size for shape in result for size in shape)
    return None if is_ambiguous else np.asarray(entries, dtype=np.int64)


def _expand_target(source: tuple[Shape, Shape], target: Pair | None) -> Array | None:
    if target is None:
        return None
    offset = len(target[0]) - len(source[0])
    entries: list[int] = []
    for axis, (first, second) in enumerate(zip(*target, strict=True)):
        sizes = tuple(shape[axis - offset] for shape in source) if axis >= offset else (1, 1)
        if first != second and sizes != BATCHES:
            return None
        entries.append(int(first) if first == second else 1)
    return np.asarray(entries, dtype=np.int64)
