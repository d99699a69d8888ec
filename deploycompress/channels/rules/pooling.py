"""Rules of the poolings: they work within a channel."""

from __future__ import annotations

from deploycompress.channels.labels import LabelBuilder
from deploycompress.graph import Node


def pool(builder: LabelBuilder, node: Node) -> None:
    """Pass channels on axis 1 through."""
    labels = builder.of(node.input(0))
    if labels is not None and labels.axis != 1:
        builder.freeze(labels, f"{node.name} pools over the channels")
        return
    builder.set(node.outputs[0], labels)
