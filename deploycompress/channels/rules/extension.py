"""Rules of the operators that join or repeat tensors."""

from __future__ import annotations

import numpy as np

from deploycompress.channels.labels import LabelBuilder, Labels, ids_along, no_labels
from deploycompress.channels.records import Numbers
from deploycompress.channels.rules.elementwise import nary
from deploycompress.channels.rules.selection import integers
from deploycompress.graph import Node


def concat(builder: LabelBuilder, node: Node) -> None:
    """Join channel after channel, or unite them when another axis is joined."""
    axis = int(node.attributes["axis"]) % len(builder.shape(node.outputs[0]))
    if {labels.axis for name in node.inputs if (labels := builder.of(name)) is not None} != {axis}:
        nary(builder, node)
        return
    parts = [ids_along(builder.of(name), axis, builder.shape(name)[axis]) for name in node.inputs]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        builder.freeze_inputs(node, f"{node.name} joins them with channels of unknown number")
    else:
        builder.label(node.outputs[0], Labels(axis, np.concatenate(known)))


def pad(builder: LabelBuilder, node: Node) -> None:
    """Padding along the channel axis makes channels; their number is recounted."""
    labels, amounts = builder.of(node.input(0)), builder.constant(node.input(1))
    if labels is None:
        return
    mode = node.attributes.get("mode", b"constant")
    rank = len(builder.shape(node.input(0)))
    axes = integers(builder, node.input(3)) if node.input(3) else list(range(rank))
    if amounts is None or axes is None:
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
    builder.label(node.outputs[0], labels)


def _padding(builder: LabelBuilder, amount: int) -> Numbers:
    return builder.fresh(amount) if amount else no_labels(0)


def expand(builder: LabelBuilder, node: Node) -> None:
    """Repeat along axes of length one; a size given for the channel axis is recounted."""
    labels = builder.moved(node, 0)
    if labels is None:
        return
    rank = len(builder.shape(node.outputs[0]))
    axis = labels.axis + rank - len(builder.shape(node.input(0)))
    lengths = builder.shape(node.input(1))
    place = axis - (rank - lengths[0])
    if place >= 0 and not _count_in_target(builder, node, place, labels):
        builder.freeze(labels, f"{node.name} computes its target shape")
        return
    builder.label(node.outputs[0], Labels(axis, labels.ids))


def _count_in_target(builder: LabelBuilder, node: Node, place: int, labels: Labels) -> bool:
    """Tie the target's entry for the channel axis; tell whether it is known.

    A target with the batch in it is joined from parts, of which the one that counts channels is constant.
    """
    source, operand = node, 1
    joined = builder.producer(node.input(1))
    if joined is not None and joined.op == "Concat" and builder.has_one_use(joined.outputs[0]):
        ends = np.cumsum([builder.shape(part)[0] for part in joined.inputs])
        operand = int(np.searchsorted(ends, place, side="right"))
        source, place = joined, place - int(ends[operand - 1] if operand else 0)
    target = builder.constant(source.input(operand))
    if target is None:
        return False
    if target[place] > 1:
        builder.count(source, operand, place, labels.ids)
    return True


def tile(builder: LabelBuilder, node: Node) -> None:
    """Repeat the whole tensor along its axes, the channels with it."""
    labels, repeats = builder.moved(node, 0), builder.constant(node.input(1))
    if labels is None:
        return
    if repeats is None:
        builder.freeze(labels, f"{node.name} computes how often it repeats")
        return
    builder.label(node.outputs[0], Labels(labels.axis, np.tile(labels.ids, int(repeats[labels.axis]))))
