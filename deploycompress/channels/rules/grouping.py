"""What grouped operators share: channels that go a whole group at a time."""

from __future__ import annotations

from deploycompress.channels.labels import LabelBuilder
from deploycompress.channels.records import Numbers
from deploycompress.graph import Node


def whole_groups(builder: LabelBuilder, node: Node, ids: Numbers, groups: int) -> Numbers:
    """Unite the channels of each group.

    Args:
        builder: what is written to.
        node: the grouped operator.
        ids: labels of its channels, shape [C].
        groups: number of groups of consecutive channels.

    Returns:
        One label for each group, shape [groups].
    """
    by_group = ids.reshape(groups, -1)
    builder.unify(by_group, by_group[:, :1], f"{node.name} works on whole groups of channels, some of which must stay")
    return by_group[:, 0]
