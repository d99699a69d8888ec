"""Rules of the operators that work position by position: what meets must be cut together."""

from __future__ import annotations

from deploycompress.channels.labels import LabelBuilder, Labels
from deploycompress.channels.records import Role
from deploycompress.graph import Node


def unary(builder: LabelBuilder, node: Node) -> None:
    """Pass the first input's labels on; further inputs are scalars such as the bounds of Clip."""
    builder.label(node.outputs[0], builder.of(node.input(0)))


def nary(builder: LabelBuilder, node: Node) -> None:
    """Unite the labels of all inputs along the one axis they share, and tie constants that reach along it."""
    rank = len(builder.shape(node.outputs[0]))
    labelled = [_aligned(builder, name, rank) for name in node.inputs if builder.of(name) is not None]
    if not labelled:
        return
    first = labelled[0]
    if any(labels.axis != first.axis for labels in labelled):
        builder.freeze_inputs(node, f"{node.name} joins tensors whose channels lie on different axes")
        return
    for name in node.inputs:
        join_operand(builder, node, name, first, rank=rank, role=Role.CARRIES)
    builder.label(node.outputs[0], first)


def join_operand(builder: LabelBuilder, node: Node, name: str, labels: Labels, *, rank: int, role: Role) -> None:
    """Let an operand meet the labels of a broadcast result of some rank: tie a constant, unite a computed one."""
    shape = builder.shape(name)
    axis = labels.axis - (rank - len(shape))
    own = builder.of(name)
    if axis < 0 or shape[axis] == 1:
        builder.freeze(own, f"{node.name} joins tensors whose channels lie on different axes")
        return
    if builder.is_constant(name):
        builder.tie(node, name, axis, role, labels.ids)
    elif own is None or own.axis != axis:
        builder.freeze(labels, f"{node.name} joins them with channels that must stay")
        builder.freeze(own, f"{node.name} joins tensors whose channels lie on different axes")
    else:
        builder.unify(own.ids, labels.ids, f"{node.name} joins channels that must stay")


def _aligned(builder: LabelBuilder, name: str, rank: int) -> Labels:
    labels = builder.of(name)
    if labels is None:
        raise KeyError(name)
    return Labels(labels.axis + rank - len(builder.shape(name)), labels.ids)
