"""Rules of the normalisations. One whose statistics range over channels is cut through: it normalises what stays."""

from __future__ import annotations

import numpy as np

from deploycompress.channels.labels import LabelBuilder, Labels, ids_along
from deploycompress.channels.records import Reading, Role
from deploycompress.channels.rules.elementwise import join_operand
from deploycompress.channels.rules.grouping import whole_groups
from deploycompress.graph import UNKNOWN_SIZE, Node

PER_CHANNEL_SINCE = 21  # operator set from which GroupNormalization scales each channel, not each group


def batch_norm(builder: LabelBuilder, node: Node) -> None:
    """Carry channels on axis 1 with one scale, shift, mean and variance each."""
    read = ids_along(builder.of(node.input(0)), 1, builder.shape(node.input(0))[1])
    if read is None:
        builder.freeze_inputs(node, f"{node.name} normalises channels that are not on axis 1")
        return
    for name in node.inputs[1:]:
        builder.tie(node, name, 0, Role.CARRIES, read)
    builder.label(node.outputs[0], Labels(1, read))


def instance_norm(builder: LabelBuilder, node: Node) -> None:
    """Carry channels on axis 1; on a later axis (a group norm written so) each group's statistics are of what stays."""
    labels = builder.of(node.input(0))
    if labels is None or labels.axis == 1:
        batch_norm(builder, node)
        return
    _freeze_operands(builder, node)
    if labels.axis == 0:
        builder.label(node.outputs[0], labels)
    else:
        _normalise(builder, node, labels, 2)


def layer_norm(builder: LabelBuilder, node: Node) -> None:
    """Normalise from an axis on; with channels there, scale and shift shrink and the statistics are of what stays."""
    labels = builder.of(node.input(0))
    if labels is None:
        _freeze_operands(builder, node)
        return
    rank = len(builder.shape(node.input(0)))
    for name in filter(None, node.inputs[1:]):
        join_operand(builder, node, name, labels, rank=rank, role=Role.CARRIES)
    first = int(node.attributes.get("axis", -1)) % rank
    if labels.axis < first:
        builder.label(node.outputs[0], labels)
    else:
        _normalise(builder, node, labels, first)


def _normalise(builder: LabelBuilder, node: Node, labels: Labels, first: int) -> None:
    """Note that statistics range over the channels and all other axes from the first on."""
    if UNKNOWN_SIZE in builder.shape(node.input(0))[first:]:
        builder.freeze(labels, f"{node.name} normalises them with an axis whose size depends on the data")
    builder.read(node, 0, labels, Reading.NORMALISE)
    builder.label(node.outputs[0], labels)


def _freeze_operands(builder: LabelBuilder, node: Node) -> None:
    for name in node.inputs[1:]:
        builder.freeze(builder.of(name), f"{node.name} takes them as scale or shift")


def group_norm(builder: LabelBuilder, node: Node) -> None:
    """Cut whole groups, so that the statistics of the others stay as they were."""
    labels, groups = builder.of(node.input(0)), int(node.attributes["num_groups"])
    if labels is None:
        _freeze_operands(builder, node)
        return
    if labels.axis != 1 or groups == 1:
        builder.freeze(labels, f"{node.name} normalises all channels as one group, or on another axis")
        return
    units = whole_groups(builder, node, labels.ids, groups)
    scaled = np.repeat(units, len(labels.ids) // groups) if builder.graph.opset >= PER_CHANNEL_SINCE else units
    for name in node.inputs[1:]:
        builder.tie(node, name, 0, Role.CARRIES, scaled)
    builder.count(node, "num_groups", 0, units)
    builder.label(node.outputs[0], labels)
