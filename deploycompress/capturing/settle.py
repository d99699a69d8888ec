"""Writes sizes and axes as constants, so that no size depends on the batch and surgery has one place to change."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from deploycompress.capturing.view import BatchView, Pair, ShapePair
from deploycompress.graph import Array, Graph, Node

COPY = 0  # in a reshape target: take this size from the input
REST = -1  # in a reshape target: whatever is left
BATCH_SIZE = "batch_size"  # the tensor that holds the batch, where a network expands something to it
OLDEST_SHAPE_SLICE = 15  # from this operator set on, Shape can give some axes alone


def settle_sizes(draft: Graph, view: BatchView, batches: tuple[int, int]) -> Graph:
    """Give reshapes, expansions, splits and squeezes constants for what they compute.

    A Reshape copies the batch or leaves it as the rest, an Expand has 1 for it or asks the graph's input, a Split and a
    Squeeze say what they do. What cannot be written so (two sizes that depend on the batch) stays as it is.
    """
    weights: dict[str, Array] = {}
    nodes: list[Node] = []
    for node in draft.nodes:
        constant = _constant_sizes(node, view, batches)
        if constant is None:
            nodes += _expanded_to_batch(node, draft, view, batches, weights)
        elif np.array_equal(constant, draft.weights.get(node.input(1), ())):
            nodes.append(node)
        else:
            name = f"{node.outputs[0]}.sizes"
            weights[name] = constant
            nodes.append(with_sizes(node, name))
    if not weights:
        return draft
    return _with_batch_size(replace(draft, nodes=tuple(nodes), weights={**draft.weights, **weights}))


def with_sizes(node: Node, name: str) -> Node:
    """Let a node read its sizes, or axes, from a constant; attributes that said the same or the opposite go."""
    implied = ("allowzero", "num_outputs")  # 0 is COPY now, and the sizes say how many there are
    attributes = {key: value for key, value in node.attributes.items() if key not in implied}
    return replace(node, inputs=(node.inputs[0], name), attributes=attributes)


def _constant_sizes(node: Node, view: BatchView, batches: tuple[int, int]) -> Array | None:
    source = view.shapes.get(node.input(0)) if node.is_standard else None
    if source is None:
        return None
    match node.op:
        case "Reshape":
            result = view.shapes.get(node.outputs[0])
            return None if result is None else _reshape_target(source, result)
        case "Expand":
            return _expand_target(source, view.values.get(node.inputs[1]), batches)
        case "Split" if not node.input(1):
            return _split_sizes(node, view)
        case "Squeeze" if not node.input(1):
            axes = [axis for axis, sizes in enumerate(zip(*source, strict=True)) if sizes == (1, 1)]
            return np.asarray(axes, dtype=np.int64)
        case _:
            return None


def _reshape_target(source: ShapePair, result: ShapePair) -> Array | None:
    entries: list[int] = []
    for axis, (first, second) in enumerate(zip(*result, strict=True)):
        copied = axis < len(source[0]) and (source[0][axis], source[1][axis]) == (first, second)
        entries.append(first if first == second else COPY if copied else REST)
    # an empty axis reads as COPY, and two unknown entries cannot be told apart
    is_ambiguous = entries.count(REST) > 1 or COPY in (size for shape in result for size in shape)
    return None if is_ambiguous else np.asarray(entries, dtype=np.int64)


def _expand_target(source: ShapePair, target: Pair | None, batches: tuple[int, int]) -> Array | None:
    if target is None:
        return None
    offset = len(target[0]) - len(source[0])
    entries: list[int] = []
    for axis, (first, second) in enumerate(zip(*target, strict=True)):
        sizes = tuple(shape[axis - offset] for shape in source) if axis >= offset else (1, 1)
        if first != second and sizes != batches:
            return None
        entries.append(int(first) if first == second else 1)
    return np.asarray(entries, dtype=np.int64)


def _split_sizes(node: Node, view: BatchView) -> Array | None:
    axis = int(node.attributes.get("axis", 0))
    shapes = [view.shapes.get(name) for name in node.outputs]
    sizes = [(pair[0][axis], pair[1][axis]) for pair in shapes if pair is not None]
    if len(sizes) < len(shapes) or any(first != second for first, second in sizes):
        return None
    return np.asarray([first for first, _ in sizes], dtype=np.int64)


def _expanded_to_batch(
    node: Node, draft: Graph, view: BatchView, batches: tuple[int, int], weights: dict[str, Array]
) -> Iterator[Node]:
    """Let an Expand along the batch (a learned token for every sample) name no other size but its own."""
    source = view.shapes.get(node.input(0))
    target = view.values.get(node.input(1)) if node.op == "Expand" and node.is_standard else None
    if source is None or target is None or draft.opset < OLDEST_SHAPE_SLICE or target[0] is target[1]:
        yield node
        return
    pairs = [(int(first), int(second)) for first, second in zip(*target, strict=True)]
    places = [axis for axis, (first, second) in enumerate(pairs) if first != second]
    maker = next((other for other in draft.nodes if node.inputs[1] in other.outputs), None)
    is_done = maker is not None and maker.op == "Concat" and BATCH_SIZE in maker.inputs
    if len(places) != 1 or pairs[places[0]] != batches or is_done:
        yield node
        return
    offset = len(pairs) - len(source[0])
    own = [source[0][axis - offset] if axis >= offset else 1 for axis in range(len(pairs))]
    kept = [1 if size == first else first for size, (first, _) in zip(own, pairs, strict=True)]
    stem = f"{node.outputs[0]}.sizes"
    parts = {f"{stem}.before": kept[: places[0]], BATCH_SIZE: [0], f"{stem}.after": kept[places[0] + 1 :]}
    weights |= {n: np.asarray(sizes, np.int64) for n, sizes in parts.items() if sizes and n != BATCH_SIZE}
    names = tuple(name for name, sizes in parts.items() if sizes)
    if names == (BATCH_SIZE,):
        yield node
        return
    yield Node(name=stem, op="Concat", inputs=names, outputs=(stem,), attributes={"axis": 0})
    yield with_sizes(node, stem)


def _with_batch_size(draft: Graph) -> Graph:
    """Read the batch from the first input that has it, where a node asks for it and none does so yet."""
    is_read = any(BATCH_SIZE in node.inputs for node in draft.nodes)
    if not is_read or any(BATCH_SIZE in node.outputs for node in draft.nodes):
        return draft
    source = next(port.name for port in draft.inputs if port.shape and isinstance(port.shape[0], str))
    asked = Node(
        name=BATCH_SIZE, op="Shape", inputs=(source,), outputs=(BATCH_SIZE,), attributes={"start": 0, "end": 1}
    )
    return replace(draft, nodes=(asked, *draft.nodes))
