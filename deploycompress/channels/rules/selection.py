"""Rules of the operators that take parts of a tensor."""

from __future__ import annotations

import numpy as np

from deploycompress.channels.labels import LabelBuilder, Labels
from deploycompress.channels.records import Numbers
from deploycompress.graph import Node


def split(builder: LabelBuilder, node: Node) -> None:
    """Hand each output its part of the channels; sizes must be constants to be recounted."""
    labels = builder.of(node.input(0))
    if labels is None:
        return
    axis = int(node.attributes.get("axis", 0)) % len(builder.shape(node.input(0)))
    if labels.axis != axis:
        for output in node.outputs:
            builder.label(output, labels)
        return
    sizes = builder.constant(node.input(1)) if node.input(1) else node.attributes.get("split")
    if sizes is None:
        builder.freeze(labels, f"{node.name} splits the channels into parts of unstated size")
        return
    bounds = np.cumsum([int(size) for size in sizes])[:-1]
    for position, (output, ids) in enumerate(zip(node.outputs, np.split(labels.ids, bounds), strict=True)):
        builder.count(node, 1 if node.input(1) else "split", position, ids)
        _set_part(builder, node, output, axis, ids)


def slice_(builder: LabelBuilder, node: Node) -> None:
    """Take a part; bounds on the channel axis are recounted, steps there freeze."""
    labels = builder.of(node.input(0))
    if labels is None:
        return
    shape = builder.shape(node.input(0))
    axes = integers(builder, node.input(3))
    if node.input(3) and axes is not None and labels.axis not in {axis % len(shape) for axis in axes}:
        builder.label(node.outputs[0], labels)
        return
    values = [builder.constant(name) for name in node.inputs[1:] if name]
    if any(value is None for value in values) or len(node.inputs) < 3:
        builder.freeze(labels, f"{node.name} computes its bounds")
        return
    starts, ends = (list(map(int, value)) for value in values[:2] if value is not None)
    steps = integers(builder, node.input(4)) or [1] * len(starts)
    for position, axis in enumerate(axes or range(len(starts))):
        if axis % len(shape) != labels.axis:
            continue
        if steps[position] != 1:
            builder.freeze(labels, f"{node.name} takes every {steps[position]}th channel")
            return
        start, end, _ = slice(starts[position], ends[position]).indices(len(labels.ids))
        builder.count(node, 1, position, labels.ids[:start])
        if ends[position] < len(labels.ids):  # beyond, it says "to the end" for any number of channels
            builder.count(node, 2, position, labels.ids[:end])
        labels = Labels(labels.axis, labels.ids[start:end])
    _set_part(builder, node, node.outputs[0], labels.axis, labels.ids)


def gather(builder: LabelBuilder, node: Node) -> None:
    """Take positions along an axis; constant indices of channels are renumbered, computed ones freeze."""
    labels = builder.moved(node, 0)
    builder.freeze(builder.of(node.input(1)), f"{node.name} takes them as places")
    if labels is None:
        return
    rank, indices = len(builder.shape(node.input(0))), builder.constant(node.input(1))
    axis = int(node.attributes.get("axis", 0)) % rank
    if labels.axis != axis:
        shift = len(builder.shape(node.input(1))) - 1 if labels.axis > axis else 0
        builder.label(node.outputs[0], Labels(labels.axis + shift, labels.ids))
        return
    if indices is None or indices.ndim > 1:
        builder.freeze(labels, f"{node.name} picks channels by computed numbers, or into several axes")
        return
    picked = labels.ids[indices]
    builder.pick(node, 1, labels.ids)
    if indices.ndim == 0:
        builder.freeze_ids(np.reshape(picked, -1), f"{node.name} takes a single channel")
        return
    _set_part(builder, node, node.outputs[0], axis, picked)


def shape_(builder: LabelBuilder, node: Node) -> None:
    """Sizes do not change with the data, but that of the channel axis changes with the plan."""
    labels = builder.of(node.input(0))
    if labels is None:
        return
    rank = len(builder.shape(node.input(0)))
    start, end, _ = slice(node.attributes.get("start", 0), node.attributes.get("end")).indices(rank)
    if start <= labels.axis < end:
        builder.freeze(labels, f"{node.name} computes with the number of channels")


def integers(builder: LabelBuilder, name: str) -> list[int] | None:
    """Read a constant of integers, or nothing when it is computed or omitted."""
    value = builder.constant(name) if name else None
    return None if value is None else [int(entry) for entry in value.reshape(-1)]


def _set_part(builder: LabelBuilder, node: Node, output: str, axis: int, ids: Numbers) -> None:
    if len(ids) == 1:
        builder.freeze_ids(ids, f"{node.name} takes a single channel")
        return
    builder.part(ids)
    builder.label(output, Labels(axis, ids))
