"""Rules of the operators that combine positions along axes: channels on such an axis must stay."""

from __future__ import annotations

from deploycompress.channels.labels import LabelBuilder, Labels
from deploycompress.graph import Node


def reduce(builder: LabelBuilder, node: Node) -> None:
    """Pass channels that lie on no reduced axis; `axes` is an attribute or, newer, the second input."""
    labels = builder.of(node.input(0))
    if labels is None:
        return
    rank = len(builder.shape(node.input(0)))
    given = builder.constant(node.input(1)) if node.input(1) else node.attributes.get("axes")
    if given is None or len(given) == 0:
        builder.freeze(labels, f"{node.name} reduces over all axes, or over computed ones")
        return
    axes = {int(axis) % rank for axis in given}
    if labels.axis in axes:
        builder.freeze(labels, f"{node.name} reduces over the channels")
        return
    removed = 0 if node.attributes.get("keepdims", 1) else sum(axis < labels.axis for axis in axes)
    builder.set(node.outputs[0], Labels(labels.axis - removed, labels.ids))


def along_axis(builder: LabelBuilder, node: Node) -> None:
    """Pass channels unless the operator (softmax) mixes them."""
    labels = builder.of(node.input(0))
    if labels is None:
        return
    rank = len(builder.shape(node.input(0)))
    axis = int(node.attributes.get("axis", -1 if builder.graph.opset >= 13 else 1)) % rank
    # Before opset 13 every axis from the given one on took part.
    mixes = labels.axis == axis if builder.graph.opset >= 13 else labels.axis >= axis
    if mixes:
        builder.freeze(labels, f"{node.name} mixes the channels")
        return
    builder.set(node.outputs[0], labels)
