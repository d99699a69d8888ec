"""Rules of the operators that combine positions along axes."""

from __future__ import annotations

from deploycompress.channels.labels import LabelBuilder, Labels
from deploycompress.channels.records import Reading
from deploycompress.graph import Node

CUT_THROUGH = {
    "ReduceMean": Reading.MEAN,
    **dict.fromkeys(("ReduceSum", "ReduceSumSquare", "ReduceL1", "ReduceL2"), Reading.SUM),
}
"""Sums and means of what stays: the parts that RMS norms, L2 norms and written-out layer norms are made of."""


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
        _reduce_channels(builder, node, labels)
        return
    removed = 0 if node.attributes.get("keepdims", 1) else sum(axis < labels.axis for axis in axes)
    builder.label(node.outputs[0], Labels(labels.axis - removed, labels.ids))


def _reduce_channels(builder: LabelBuilder, node: Node, labels: Labels) -> None:
    reading = CUT_THROUGH.get(node.op)
    if reading is None:
        builder.freeze(labels, f"{node.name} ({node.op}) reduces over the channels")
        return
    builder.read(node, 0, labels, reading)


def lp_norm(builder: LabelBuilder, node: Node) -> None:
    """Divide by the length along an axis; over channels, it is the length of what stays."""
    labels = builder.of(node.input(0))
    if labels is not None and labels.axis == int(node.attributes.get("axis", -1)) % len(builder.shape(node.input(0))):
        builder.read(node, 0, labels, Reading.SUM)
    builder.label(node.outputs[0], labels)


def along_axis(builder: LabelBuilder, node: Node) -> None:
    """Pass channels unless the operator (softmax, top k) mixes them."""
    _pass_unless_on(builder, node, int(node.attributes.get("axis", -1)))


def arg_reduce(builder: LabelBuilder, node: Node) -> None:
    """Pass channels unless it is among them that the largest is sought."""
    labels, axis = builder.of(node.input(0)), int(node.attributes.get("axis", 0))
    if labels is None:
        return
    axis %= len(builder.shape(node.input(0)))
    if labels.axis == axis:
        builder.freeze(labels, f"{node.name} seeks a channel")
        return
    removed = int(not node.attributes.get("keepdims", 1) and axis < labels.axis)
    builder.label(node.outputs[0], Labels(labels.axis - removed, labels.ids))


def cumulative(builder: LabelBuilder, node: Node) -> None:
    """Pass channels unless the sum runs over them."""
    axis = builder.constant(node.input(1))
    if axis is None:
        builder.freeze_inputs(node, f"{node.name} computes its axis")
        return
    _pass_unless_on(builder, node, int(axis.reshape(-1)[0]))


def last_two_axes(builder: LabelBuilder, node: Node) -> None:
    """Pass channels that lie before the matrix axes."""
    labels = builder.of(node.input(0))
    if labels is not None and labels.axis >= len(builder.shape(node.input(0))) - 2:
        builder.freeze(labels, f"{node.name} tells the channels apart")
        return
    builder.label(node.outputs[0], labels)


def _pass_unless_on(builder: LabelBuilder, node: Node, axis: int) -> None:
    labels = builder.of(node.input(0))
    if labels is None:
        return
    if labels.axis == axis % len(builder.shape(node.input(0))):
        builder.freeze(labels, f"{node.name} mixes the channels")
        return
    for output in node.outputs:
        builder.label(output, labels)
