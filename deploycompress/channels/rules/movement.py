"""Rules of the operators that only move positions: they apply themselves to the labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deploycompress.channels.labels import LabelBuilder, Labels, ids_along, no_labels
from deploycompress.channels.records import Numbers
from deploycompress.graph import Node, Shape


def transpose(builder: LabelBuilder, node: Node) -> None:
    """Move the channel axis to where the permutation puts it."""
    labels = builder.of(node.input(0))
    if labels is None:
        return
    rank = len(builder.shape(node.input(0)))
    order = [int(axis) for axis in node.attributes.get("perm", range(rank - 1, -1, -1))]
    builder.set(node.outputs[0], Labels(order.index(labels.axis), labels.ids))


def squeeze(builder: LabelBuilder, node: Node) -> None:
    """Drop axes of length one."""
    labels = builder.of(node.input(0))
    if labels is None:
        return
    shape = builder.shape(node.input(0))
    given = _axes(builder, node)
    dropped = (
        {axis for axis, length in enumerate(shape) if length == 1}
        if given is None
        else {axis % len(shape) for axis in given}
    )
    builder.set(node.outputs[0], Labels(labels.axis - sum(axis < labels.axis for axis in dropped), labels.ids))


def unsqueeze(builder: LabelBuilder, node: Node) -> None:
    """Insert axes of length one; the positions are those in the result."""
    labels, given = builder.of(node.input(0)), _axes(builder, node)
    if labels is None:
        return
    if given is None:
        builder.freeze(labels, f"{node.name} computes its axes")
        return
    rank = len(builder.shape(node.outputs[0]))
    inserted = {axis % rank for axis in given}
    remaining = [axis for axis in range(rank) if axis not in inserted]
    builder.set(node.outputs[0], Labels(remaining[labels.axis], labels.ids))


def flatten(builder: LabelBuilder, node: Node) -> None:
    """Merge axes; each channel comes out once per position of the axes merged with it."""
    labels = builder.of(node.input(0))
    if labels is not None:
        builder.set(node.outputs[0], _moved(builder, node, labels))


def reshape(builder: LabelBuilder, node: Node) -> None:
    """Merge and split axes, and let the target count the channels that stay."""
    labels, target = builder.of(node.input(0)), builder.constant(node.input(1))
    if labels is None:
        return
    if target is None:
        builder.freeze(labels, f"{node.name} computes its target shape")
        return
    moved = _moved(builder, node, labels)
    if moved is None:
        return
    copies_input = target[moved.axis] == 0 and not node.attributes.get("allowzero", 0)
    kept_in_place = moved.axis == labels.axis and len(moved.ids) == len(labels.ids)
    if copies_input and not kept_in_place:
        builder.freeze(labels, f"{node.name} copies a size that would no longer be the right one")
        return
    if target[moved.axis] > 0:
        builder.count(node, 1, moved.axis, moved.ids)
    builder.set(node.outputs[0], moved)


def _moved(builder: LabelBuilder, node: Node, labels: Labels) -> Labels | None:
    """Reshape the labels like the tensor; where they then vary along several axes, unite all but the longest.

    A tensor that holds a single channel several times is frozen: no axis tells its channels apart.
    """
    before, after = builder.shape(node.input(0)), builder.shape(node.outputs[0])
    grid = _grid(labels, before).reshape(after)
    varying = [axis for axis in range(grid.ndim) if (grid != grid.take([0], axis=axis)).any()]
    if not varying:
        builder.freeze(labels, f"{node.name} reshapes a single channel")
        return None
    axis = max(varying, key=lambda candidate: after[candidate])
    line = grid[tuple(slice(None) if position == axis else slice(0, 1) for position in range(grid.ndim))]
    if len(varying) > 1:
        builder.unify(grid, line)
    return Labels(axis, line.reshape(-1))


def _grid(labels: Labels, shape: Shape) -> Numbers:
    ids = labels.ids.reshape([-1 if axis == labels.axis else 1 for axis in range(len(shape))])
    return np.broadcast_to(ids, shape)


def concat(builder: LabelBuilder, node: Node) -> None:
    """Join channel after channel, or unite them when another axis is joined."""
    rank = len(builder.shape(node.outputs[0]))
    axis = int(node.attributes["axis"]) % rank
    labelled = [labels for name in node.inputs if (labels := builder.of(name)) is not None]
    if not labelled:
        return
    if any(labels.axis != labelled[0].axis for labels in labelled):
        builder.freeze_inputs(node, f"{node.name} joins tensors whose channels lie on different axes")
        return
    parts = [
        ids_along(builder.of(name), labelled[0].axis, builder.shape(name)[labelled[0].axis]) for name in node.inputs
    ]
    found = [part for part in parts if part is not None]
    if labelled[0].axis == axis:
        builder.set(node.outputs[0], Labels(axis, np.concatenate(found)))
        return
    for part in found[1:]:
        builder.unify(part, found[0], f"{node.name} joins channels that must stay")
    builder.set(node.outputs[0], labelled[0])


def split(builder: LabelBuilder, node: Node) -> None:
    """Hand each output its part of the channels; sizes must be constants to be recounted."""
    labels = builder.of(node.input(0))
    if labels is None:
        return
    axis = int(node.attributes.get("axis", 0)) % len(builder.shape(node.input(0)))
    if labels.axis != axis:
        for output in node.outputs:
            builder.set(output, labels)
        return
    sizes = builder.constant(node.input(1)) if node.input(1) else node.attributes.get("split")
    if sizes is None:
        builder.freeze(labels, f"{node.name} splits the channels into parts of unstated size")
        return
    bounds = np.cumsum([int(size) for size in sizes])[:-1]
    for position, (output, ids) in enumerate(zip(node.outputs, np.split(labels.ids, bounds), strict=True)):
        builder.count(node, 1 if node.input(1) else "split", position, ids)
        _set_part(builder, node, output, axis, ids)


def slice_(builder: LabelBuilder, node: Node) -> None:
    """Take a part; bounds on the channel axis are recounted, steps there freeze."""
    labels = builder.of(node.input(0))
    if labels is None:
        return
    shape = builder.shape(node.input(0))
    values = [builder.constant(name) for name in node.inputs[1:] if name]
    if any(value is None for value in values) or len(node.inputs) < 3:
        builder.freeze(labels, f"{node.name} computes its bounds")
        return
    starts, ends = (list(map(int, value)) for value in values[:2] if value is not None)
    axes = _integers(builder, node.input(3)) or list(range(len(starts)))
    steps = _integers(builder, node.input(4)) or [1] * len(starts)
    for position, axis in enumerate(axes):
        if axis % len(shape) != labels.axis:
            continue
        if steps[position] != 1:
            builder.freeze(labels, f"{node.name} takes every {steps[position]}th channel")
            return
        start, end, _ = slice(starts[position], ends[position]).indices(len(labels.ids))
        builder.count(node, 1, position, labels.ids[:start])
        builder.count(node, 2, position, labels.ids[:end])
        labels = Labels(labels.axis, labels.ids[start:end])
    _set_part(builder, node, node.outputs[0], labels.axis, labels.ids)


def _set_part(builder: LabelBuilder, node: Node, output: str, axis: int, ids: Numbers) -> None:
    if len(ids) == 1:
        builder.freeze_ids(ids, f"{node.name} takes a single channel")
        return
    builder.set(output, Labels(axis, ids))


def pad(builder: LabelBuilder, node: Node) -> None:
    """Padding along the channel axis makes channels; their number is recounted."""
    labels, amounts = builder.of(node.input(0)), builder.constant(node.input(1))
    if labels is None:
        return
    mode = node.attributes.get("mode", b"constant")
    rank = len(builder.shape(node.input(0)))
    axes = _integers(builder, node.input(3)) or list(range(rank))
    if amounts is None or (node.input(3) and builder.constant(node.input(3)) is None):
        builder.freeze(labels, f"{node.name} computes its amounts")
        return
    places = {axis % rank: position for position, axis in enumerate(axes)}
    position = places.get(labels.axis)
    before, after = (0, 0) if position is None else (int(amounts[position]), int(amounts[position + len(axes)]))
    if before or after:
        if min(before, after) < 0 or mode not in (b"constant", "constant"):
            builder.freeze(labels, f"{node.name} pads channels with other channels, or crops them")
            return
        front, back = _padding(builder, before), _padding(builder, after)
        builder.count(node, 1, places[labels.axis], front)
        builder.count(node, 1, places[labels.axis] + len(axes), back)
        labels = Labels(labels.axis, np.concatenate([front, labels.ids, back]))
    builder.set(node.outputs[0], labels)


def _padding(builder: LabelBuilder, amount: int) -> Numbers:
    return builder.fresh(amount) if amount else no_labels(0)


def _axes(builder: LabelBuilder, node: Node) -> Sequence[int] | None:
    if node.input(1):
        return _integers(builder, node.input(1))
    given = node.attributes.get("axes")
    return None if given is None else [int(axis) for axis in given]


def _integers(builder: LabelBuilder, name: str) -> list[int] | None:
    value = builder.constant(name) if name else None
    return None if value is None else [int(entry) for entry in value.reshape(-1)]
