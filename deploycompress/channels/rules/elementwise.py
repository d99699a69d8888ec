"""Rules of the operators that work position by position: what meets must be cut together."""

from __future__ import annotations

from deploycompress.channels.labels import LabelBuilder, Labels
from deploycompress.channels.records import Role
from deploycompress.graph import Node


def unary(builder: LabelBuilder, node: Node) -> None:
    """Pass the first input's labels on; further inputs are scalars such as the bounds of Clip."""
    builder.set(node.outputs[0], builder.of(node.input(0)))


def nary(builder: LabelBuilder, node: Node) -> None:
    """Unite the labels of all inputs along the one axis they share, and tie constants that reach along it."""
    rank = len(builder.shape(node.outputs[0]))
    labelled = [(name, _aligned(builder, name, rank)) for name in node.inputs if builder.of(name) is not None]
    if not labelled:
        return
    first = labelled[0][1]
    if any(labels.axis != first.axis for _, labels in labelled):
        builder.freeze_inputs(node, f"{node.name} joins tensors whose channels lie on different axes")
        return
    for name in node.inputs:
        shape = builder.shape(name)
        offset = rank - len(shape)
        if first.axis < offset or shape[first.axis - offset] == 1:
            continue
        if builder.constant(name) is not None:
            builder.tie(node, name, first.axis - offset, Role.CARRIES, first.ids)
        elif builder.of(name) is None:
            builder.freeze(first, f"{node.name} joins them with channels that must stay")
        else:
            builder.unify(_aligned(builder, name, rank).ids, first.ids, f"{node.name} joins channels that must stay")
    builder.set(node.outputs[0], first)


def _aligned(builder: LabelBuilder, name: str, rank: int) -> Labels:
    labels = builder.of(name)
    if labels is None:
        raise KeyError(name)
    return Labels(labels.axis + rank - len(builder.shape(name)), labels.ids)
