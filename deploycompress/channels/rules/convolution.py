"""Rules of the convolutions: they contract channels on axis 1 with a constant weight and make new ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deploycompress.channels.labels import LabelBuilder, Labels, ids_along
from deploycompress.channels.records import Numbers, Role
from deploycompress.channels.rules.grouping import whole_groups
from deploycompress.graph import Node


@dataclass(frozen=True, slots=True)
class Axes:
    """Which axis of a weight reads channels and which makes them."""

    reads: int
    makes: int


CONV = Axes(reads=1, makes=0)  # [M, C/groups, ...]
TRANSPOSED = Axes(reads=0, makes=1)  # [C, M/groups, ...]


def conv(builder: LabelBuilder, node: Node) -> None:
    """Read channels on axis 1, make as many as the weight has filters."""
    _convolve(builder, node, CONV)


def conv_transpose(builder: LabelBuilder, node: Node) -> None:
    """Do the same with the weight's first two axes exchanged."""
    _convolve(builder, node, TRANSPOSED)


def _convolve(builder: LabelBuilder, node: Node, axes: Axes) -> None:
    read = ids_along(builder.of(node.input(0)), 1, builder.shape(node.input(0))[1])
    if not builder.is_constant(node.input(1)) or read is None:
        builder.freeze_inputs(node, f"{node.name} has a computed weight, or channels that are not on axis 1")
        return
    groups = int(node.attributes.get("group", 1))
    if groups == 1:
        made = builder.fresh(builder.shape(node.input(1))[axes.makes])
        builder.tie(node, node.input(1), axes.reads, Role.READS, read)
        builder.tie(node, node.input(1), axes.makes, Role.MAKES, made)
        builder.tie(node, node.input(2), 0, Role.MAKES, made)
    elif groups >= len(read) // groups:
        made = _by_whole_groups(builder, node, read, groups)
    else:
        made = _by_place_in_group(builder, node, axes, read, groups)
    builder.label(node.outputs[0], Labels(1, made))


def _by_whole_groups(builder: LabelBuilder, node: Node, read: Numbers, groups: int) -> Numbers:
    """Let a group be cut with all it reads and makes: finer where groups outnumber their channels, as in depthwise."""
    units = whole_groups(builder, node, read, groups)
    filters = builder.shape(node.outputs[0])[1] // groups
    carried = np.repeat(units, filters)
    # axis 0 of the weight counts filters in a convolution and inputs in a transposed one
    builder.tie(node, node.input(1), 0, Role.CARRIES, np.repeat(units, builder.shape(node.input(1))[0] // groups))
    builder.tie(node, node.input(2), 0, Role.CARRIES, carried)
    builder.count(node, "group", 0, units)
    return carried


def _by_place_in_group(builder: LabelBuilder, node: Node, axes: Axes, read: Numbers, groups: int) -> Numbers:
    """Keep the number of groups: a channel goes from every group at once."""
    by_group = read.reshape(groups, -1)
    builder.unify(by_group, by_group[:1], f"{node.name} convolves in groups of channels that must stay")
    fresh = builder.fresh(builder.shape(node.outputs[0])[1] // groups)
    made = np.tile(fresh, groups)
    is_transposed = axes.makes == 1
    builder.tie(node, node.input(1), axes.reads, Role.READS, read if is_transposed else by_group[0])
    builder.tie(node, node.input(1), axes.makes, Role.MAKES, fresh if is_transposed else made)
    builder.tie(node, node.input(2), 0, Role.MAKES, made)
    return made
