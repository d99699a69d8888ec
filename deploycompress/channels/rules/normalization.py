"""Rules of the normalisations."""

from __future__ import annotations

from deploycompress.channels.labels import LabelBuilder, Labels, ids_along
from deploycompress.channels.records import Role
from deploycompress.graph import Node


def per_channel(builder: LabelBuilder, node: Node) -> None:
    """Carry channels on axis 1 with one scale, shift, mean and variance each."""
    read = ids_along(builder.of(node.input(0)), 1, builder.shape(node.input(0))[1])
    if read is None:
        builder.freeze_inputs(node, f"{node.name} normalises channels that are not on axis 1")
        return
    for name in node.inputs[1:]:
        builder.tie(node, name, 0, Role.CARRIES, read)
    builder.set(node.outputs[0], Labels(1, read))
