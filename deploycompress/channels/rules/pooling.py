"""Rules of the poolings and resamplings: they work within a channel."""

from __future__ import annotations

from deploycompress.channels.labels import LabelBuilder
from deploycompress.graph import Node


def pool(builder: LabelBuilder, node: Node) -> None:
    """Pass channels on axis 1 through."""
    labels = builder.of(node.input(0))
    if labels is not None and labels.axis != 1:
        builder.freeze(labels, f"{node.name} pools over the channels")
        return
    builder.label(node.outputs[0], labels)


def sample(builder: LabelBuilder, node: Node) -> None:
    """Pass channels on axis 1 of the picture; what says where to look (a grid, boxes) must stay whole."""
    for name in node.inputs[1:]:
        builder.freeze(builder.of(name), f"{node.name} takes them as places")
    pool(builder, node)


def resize(builder: LabelBuilder, node: Node) -> None:
    """Pass channels on an axis that keeps its length; sizes given for all axes are recounted there."""
    labels = builder.of(node.input(0))
    if labels is None:
        return
    if builder.shape(node.outputs[0])[labels.axis] != len(labels.ids):
        builder.freeze(labels, f"{node.name} changes the number of channels")
        return
    place = 3 if node.input(3) else 2
    amounts = builder.constant(node.input(place))
    if amounts is None:
        builder.freeze(labels, f"{node.name} computes its sizes")
        return
    rank = len(builder.shape(node.input(0)))
    axes = [int(axis) % rank for axis in node.attributes.get("axes", range(rank))]
    if place == 3 and labels.axis in axes:
        builder.count(node, 3, axes.index(labels.axis), labels.ids)
    builder.label(node.outputs[0], labels)
