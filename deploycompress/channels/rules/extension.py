"""Rules of the operators that join or repeat tensors."""

from __future__ import annotations

import numpy as np

from deploycompress.channels.labels import LabelBuilder, Labels, ids_along, no_labels
from deploycompress.channels.records import Numbers, Role
from deploycompress.channels.rules.elementwise import join_operand
from deploycompress.channels.rules.selection import integers
from deploycompress.graph import Node


def concat(builder: LabelBuilder, node: Node) -> None:
    """Join channel after channel, or unite them when another axis is joined."""
    rank = len(builder.shape(node.outputs[0]))
    axis = int(node.attributes["axis"]) % rank
    labelled = [labels for name in node.inputs if (labels := builder.of(name)) is not None]
    if not labelled:
        return
    first = labelled[0]
    if any(labels.axis != first.axis for labels in labelled):
        builder.freeze_inputs(node, f"{node.name} joins tensors whose channels lie on different axes")
        return
    if first.axis == axis:
        parts = [ids_along(builder.of(name), axis, builder.shape(name)[axis]) for name in node.inputs]
        known = [part for part in parts if part is not None]
        if len(known) < len(parts):
            builder.freeze_inputs(node, f"{node.name} joins them with channels of unknown number")
        else:
            builder.set(node.outputs[0], Labels(axis, np.concatenate(known)))
        return
    for name in node.inputs:
        join_operand(builder, node, name, first, rank=rank, role=Role.CARRIES)
    builder.set(node.outputs[0], first)


def pad(builder: LabelBuilder, node: Node) -> None:
    """Padding along the channel axis makes channels; their number is recounted."""
    labels, amounts = builder.of(node.input(0)), builder.constant(node.input(1))
    if labels is None:
        return
    mode = node.attributes.get("mode", b"constant")
    rank = len(builder.shape(node.input(0)))
    axes = integers(builder, node.input(3)) or list(range(rank))
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


def expand(builder: LabelBuilder, node: Node) -> None:
    """Repeat along axes of length one; a size given for the channel axis is recounted."""
    labels, target = builder.moved(node, 0), builder.constant(node.input(1))
    if labels is None:
        return
    if target is None:
        builder.freeze(labels, f"{node.name} computes its target shape")
        return
    rank = len(builder.shape(node.outputs[0]))
    axis = labels.axis + rank - len(builder.shape(node.input(0)))
    place = axis - (rank - len(target))
    if place >= 0 and target[place] > 1:
        builder.count(node, 1, place, labels.ids)
    builder.set(node.outputs[0], Labels(axis, labels.ids))


def tile(builder: LabelBuilder, node: Node) -> None:
    """Repeat the whole tensor along its axes, the channels with it."""
    labels, repeats = builder.moved(node, 0), builder.constant(node.input(1))
    if labels is None:
        return
    if repeats is None:
        builder.freeze(labels, f"{node.name} computes how often it repeats")
        return
    builder.set(node.outputs[0], Labels(labels.axis, np.tile(labels.ids, int(repeats[labels.axis]))))
