"""Rules of the operators that contract channels with a constant weight and make new ones."""

from __future__ import annotations

import numpy as np

from deploycompress.channels.labels import LabelBuilder, Labels, ids_along
from deploycompress.channels.records import Numbers, Role
from deploycompress.graph import Array, Node


def conv(builder: LabelBuilder, node: Node) -> None:
    """Read channels on axis 1, make as many as the weight has filters; weight [M, C/groups, ...]."""
    source, weight = builder.of(node.input(0)), builder.constant(node.input(1))
    read = ids_along(source, 1, builder.shape(node.input(0))[1])
    if weight is None or read is None:
        builder.freeze_inputs(node, f"{node.name} has a computed weight, or channels that are not on axis 1")
        return
    groups = int(node.attributes.get("group", 1))
    if groups == 1:
        made = _plain_conv(builder, node, weight, read)
    elif weight.shape[1] == 1 and groups == len(read):
        made = _depthwise_conv(builder, node, weight, read)
    else:
        made = _grouped_conv(builder, node, weight, read, groups)
    builder.set(node.outputs[0], Labels(1, made))


def _plain_conv(builder: LabelBuilder, node: Node, weight: Array, read: Numbers) -> Numbers:
    made = builder.fresh(weight.shape[0])
    builder.tie(node, node.input(1), 1, Role.READS, read)
    builder.tie(node, node.input(1), 0, Role.MAKES, made)
    builder.tie(node, node.input(2), 0, Role.MAKES, made)
    return made


def _depthwise_conv(builder: LabelBuilder, node: Node, weight: Array, read: Numbers) -> Numbers:
    carried = np.repeat(read, weight.shape[0] // len(read))
    builder.tie(node, node.input(1), 0, Role.CARRIES, carried)
    builder.tie(node, node.input(2), 0, Role.CARRIES, carried)
    builder.count(node, "group", 0, read)
    return carried


def _grouped_conv(builder: LabelBuilder, node: Node, weight: Array, read: Numbers, groups: int) -> Numbers:
    # The number of groups stays, so a channel goes from every group at once.
    by_group = read.reshape(groups, -1)
    builder.unify(by_group, by_group[:1], f"{node.name} convolves in groups of channels that must stay")
    made = np.tile(builder.fresh(weight.shape[0] // groups), groups)
    builder.tie(node, node.input(1), 1, Role.READS, by_group[0])
    builder.tie(node, node.input(1), 0, Role.MAKES, made)
    builder.tie(node, node.input(2), 0, Role.MAKES, made)
    return made


def conv_transpose(builder: LabelBuilder, node: Node) -> None:
    """Read channels on axis 1; weight [C, M/groups, ...]. Grouped ones are frozen."""
    source, weight = builder.of(node.input(0)), builder.constant(node.input(1))
    read = ids_along(source, 1, builder.shape(node.input(0))[1])
    if weight is None or read is None or int(node.attributes.get("group", 1)) != 1:
        builder.freeze_inputs(node, f"{node.name} is a transposed convolution in groups or with a computed weight")
        return
    made = builder.fresh(weight.shape[1])
    builder.tie(node, node.input(1), 0, Role.READS, read)
    builder.tie(node, node.input(1), 1, Role.MAKES, made)
    builder.tie(node, node.input(2), 0, Role.MAKES, made)
    builder.set(node.outputs[0], Labels(1, made))


def gemm(builder: LabelBuilder, node: Node) -> None:
    """Contract axis 1 of the input with a constant matrix."""
    weight, bias = builder.constant(node.input(1)), builder.constant(node.input(2))
    transposed_input = bool(node.attributes.get("transA", 0))
    contracted = 0 if transposed_input else 1
    read = ids_along(builder.of(node.input(0)), contracted, builder.shape(node.input(0))[contracted])
    if weight is None or read is None or (node.input(2) and bias is None):
        builder.freeze_inputs(node, f"{node.name} multiplies computed tensors, or channels on another axis")
        return
    reading = 1 if node.attributes.get("transB", 0) else 0
    made = builder.fresh(weight.shape[1 - reading])
    builder.tie(node, node.input(1), reading, Role.READS, read)
    builder.tie(node, node.input(1), 1 - reading, Role.MAKES, made)
    if bias is not None and bias.ndim and bias.shape[-1] > 1:
        builder.tie(node, node.input(2), bias.ndim - 1, Role.MAKES, made)
    builder.set(node.outputs[0], Labels(1, made))


def matmul(builder: LabelBuilder, node: Node) -> None:
    """Contract the last axis of the input with a constant matrix of rank two."""
    weight = builder.constant(node.input(1))
    shape = builder.shape(node.input(0))
    read = ids_along(builder.of(node.input(0)), len(shape) - 1, shape[-1])
    if weight is None or weight.ndim != 2 or read is None:
        builder.freeze_inputs(node, f"{node.name} multiplies computed tensors, or channels on another axis")
        return
    made = builder.fresh(weight.shape[1])
    builder.tie(node, node.input(1), 0, Role.READS, read)
    builder.tie(node, node.input(1), 1, Role.MAKES, made)
    builder.set(node.outputs[0], Labels(len(shape) - 1, made))
