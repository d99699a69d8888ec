"""Rules of the operators that rearrange axes: they apply themselves to the labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deploycompress.channels.labels import LabelBuilder, Labels
from deploycompress.channels.records import Numbers
from deploycompress.graph import UNKNOWN_SIZE, Node, Shape


def transpose(builder: LabelBuilder, node: Node) -> None:
    """Move the channel axis to where the permutation puts it."""
    labels = builder.of(node.input(0))
    if labels is None:
        return
    rank = len(builder.shape(node.input(0)))
    order = [int(axis) for axis in node.attributes.get("perm", range(rank - 1, -1, -1))]
    builder.label(node.outputs[0], Labels(order.index(labels.axis), labels.ids))


def squeeze(builder: LabelBuilder, node: Node) -> None:
    """Drop axes of length one; unnamed, they could come to be the channels."""
    labels, given = builder.of(node.input(0)), axes_of(builder, node)
    if labels is None:
        return
    if given is None:
        builder.freeze(labels, f"{node.name} does not say which axes it drops")
        return
    rank = len(builder.shape(node.input(0)))
    dropped = {axis % rank for axis in given}
    builder.label(node.outputs[0], Labels(labels.axis - sum(axis < labels.axis for axis in dropped), labels.ids))


def unsqueeze(builder: LabelBuilder, node: Node) -> None:
    """Insert axes of length one; the positions are those in the result."""
    labels, given = builder.of(node.input(0)), axes_of(builder, node)
    if labels is None:
        return
    if given is None:
        builder.freeze(labels, f"{node.name} computes its axes")
        return
    rank = len(builder.shape(node.outputs[0]))
    inserted = {axis % rank for axis in given}
    remaining = [axis for axis in range(rank) if axis not in inserted]
    builder.label(node.outputs[0], Labels(remaining[labels.axis], labels.ids))


def axes_of(builder: LabelBuilder, node: Node) -> Sequence[int] | None:
    """Read the `axes` of a node: its second input or, older, an attribute."""
    given = builder.constant(node.input(1)) if node.input(1) else node.attributes.get("axes")
    return None if given is None else [int(axis) for axis in np.reshape(given, -1)]


def flatten(builder: LabelBuilder, node: Node) -> None:
    """Merge axes; each channel comes out once per position of the axes merged with it."""
    labels = builder.of(node.input(0))
    if labels is not None:
        builder.label(node.outputs[0], _rearranged(builder, node, labels))


def reshape(builder: LabelBuilder, node: Node) -> None:
    """Merge and split axes, and let the target count the channels that stay."""
    labels, target = builder.of(node.input(0)), builder.constant(node.input(1))
    if labels is None:
        return
    if target is None:
        builder.freeze(labels, f"{node.name} computes its target shape")
        return
    moved = _rearranged(builder, node, labels)
    if moved is None:
        return
    copied = set() if node.attributes.get("allowzero", 0) else {axis for axis, size in enumerate(target) if size == 0}
    stays_in_place = moved.axis == labels.axis and len(moved.ids) == len(labels.ids)
    if copied & {moved.axis, labels.axis} and not stays_in_place:
        builder.freeze(labels, f"{node.name} copies a size that would no longer be the right one")
        return
    if target[moved.axis] > 0:
        builder.count(node, 1, moved.axis, moved.ids)
    builder.label(node.outputs[0], moved)


def _rearranged(builder: LabelBuilder, node: Node, labels: Labels) -> Labels | None:
    """Reshape the labels like the tensor; where they then vary along several axes, unite them along all but one.

    The axis that keeps most channels apart stays, the last of equals. A tensor that holds a single channel
    several times is frozen: no axis tells its channels apart.
    """
    before, after = builder.shape(node.input(0)), builder.shape(node.outputs[0])
    segment = _segment(before, after, labels.axis)
    if segment is None:
        builder.freeze(labels, f"{node.name} merges them with an axis whose size depends on the data")
        return None
    old, new = segment
    ids = labels.ids.reshape([-1 if axis == labels.axis else 1 for axis in old])
    grid = np.broadcast_to(ids, [before[axis] for axis in old]).reshape([after[axis] for axis in new])
    lines = {axis: _line(grid, axis) for axis in range(grid.ndim) if (grid != grid.take([0], axis=axis)).any()}
    if not lines:
        builder.freeze(labels, f"{node.name} reshapes a single channel")
        return None
    axis = max(lines, key=lambda candidate: (len(np.unique(lines[candidate])), candidate))
    if len(lines) > 1:
        builder.unify(grid, lines[axis])
    return Labels(new[axis], lines[axis].reshape(-1))


def _segment(before: Shape, after: Shape, axis: int) -> tuple[range, range] | None:
    """Find the axes among which a reshape moves the positions of one axis: those up to where both products agree.

    Nothing, if one of these sizes depends on the data.
    """
    i = j = 0
    while i < len(before) and j < len(after):
        first, second = i, j
        left, right = before[i], after[j]
        i, j = i + 1, j + 1
        while left != right:
            if UNKNOWN_SIZE in (left, right) or (i == len(before) if left < right else j == len(after)):
                return None
            if left < right:
                left, i = _times(left, before[i]), i + 1
            else:
                right, j = _times(right, after[j]), j + 1
        if first <= axis < i:
            return range(first, i), range(second, j)
    return None


def _times(product: int, size: int) -> int:
    return UNKNOWN_SIZE if size == UNKNOWN_SIZE else product * size


def _line(grid: Numbers, axis: int) -> Numbers:
    return grid[tuple(slice(None) if position == axis else slice(0, 1) for position in range(grid.ndim))]


def depth_to_space(builder: LabelBuilder, node: Node) -> None:
    """Spread blocks of channels over space: the channels that make up one block go together."""
    labels, block = builder.of(node.input(0)), int(node.attributes["blocksize"]) ** 2
    if labels is None:
        return
    if labels.axis != 1:
        builder.freeze(labels, f"{node.name} moves space into channels that are on another axis")
        return
    mode = node.attributes.get("mode", b"DCR")
    is_depth_first = mode in (b"DCR", "DCR")
    blocks = labels.ids.reshape(block, -1) if is_depth_first else labels.ids.reshape(-1, block).T
    builder.unify(blocks, blocks[:1])
    builder.label(node.outputs[0], Labels(1, blocks[0]))


def space_to_depth(builder: LabelBuilder, node: Node) -> None:
    """Gather space into channels: each channel comes out once per place in the block."""
    labels, block = builder.of(node.input(0)), int(node.attributes["blocksize"]) ** 2
    if labels is None:
        return
    if labels.axis != 1:
        builder.freeze(labels, f"{node.name} moves space into channels that are on another axis")
        return
    builder.label(node.outputs[0], Labels(1, np.tile(labels.ids, block)))
