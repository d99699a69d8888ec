"""Walk a graph once and find its channels: labels by rule, components, groups."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from deploycompress.channels.components import components
from deploycompress.channels.labels import LabelBuilder
from deploycompress.channels.partition import partition
from deploycompress.channels.records import ChannelGroup, Channels, Numbers, Role, WeightTie
from deploycompress.channels.rules.table import apply_rule
from deploycompress.graph import Graph


def trace_channels(graph: Graph) -> Channels:
    """Find every channel of a graph, what is tied to it, and the groups channels form.

    Args:
        graph: a captured graph: static shapes, constants folded.

    Returns:
        All channels; those that must stay are in groups marked frozen, with the reason.
    """
    builder = LabelBuilder(graph)
    for node in graph.nodes:
        apply_rule(builder, node)
    for port in graph.outputs:
        builder.freeze(builder.of(port.name), f"output {port.name} of the graph")
    _agree_on_shared_weights(builder)
    return _resolve(builder)


def channel_groups(graph: Graph) -> tuple[ChannelGroup, ...]:
    """List the channel groups of a graph, frozen ones included.

    Examples:
        >>> import deploycompress, torch
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 4, 3))
        >>> graph = deploycompress.capture(network, input_shape=(1, 3, 8, 8))
        >>> [(group.name, group.width, group.frozen) for group in deploycompress.channel_groups(graph)]
        [('0', 8, False), ('2', 4, True)]
    """
    return trace_channels(graph).groups


def _agree_on_shared_weights(builder: LabelBuilder) -> None:
    readers = _uses_of_constants(builder)
    ties: dict[tuple[str, int], list[WeightTie]] = {}
    for tie in builder.ties:
        ties.setdefault((tie.tensor, tie.axis), []).append(tie)
    for (tensor, _), (first, *others) in ties.items():
        for other in others:
            builder.unify(first.channels, other.channels, f"{tensor} is shared with channels that must stay")
        if readers[tensor] > 1 + len(others):
            builder.freeze_ids(first.channels, f"{tensor} is shared with a node that needs it whole")
        if {Role.READS, Role.CARRIES} <= {tie.role for tie in (first, *others)}:
            builder.freeze_ids(first.channels, f"{tensor} is a weight of one node and an operand of another")


def _uses_of_constants(builder: LabelBuilder) -> dict[str, int]:
    """Count the uses of each constant, as it is or turned; control flow counts, though no rule ties what it reads."""
    uses: dict[str, int] = {}
    for node in builder.graph.nodes:
        if all(output in builder.views for output in node.outputs):
            continue
        for name in node.reads:
            if name in builder.views:
                constant = builder.views[name].constant
                uses[constant] = uses.get(constant, 0) + 1
    for port in builder.graph.outputs:
        if port.name in builder.views:
            constant = builder.views[port.name].constant
            uses[constant] = uses.get(constant, 0) + 1
    return uses


def _resolve(builder: LabelBuilder) -> Channels:
    left, right = (_joined(edges) for edges in zip(*builder.unions, strict=True)) if builder.unions else ([], [])
    root = components(builder.label_count, np.asarray(left, dtype=np.int64), np.asarray(right, dtype=np.int64))
    found = partition(root, builder.ties, builder.parts, builder.frozen)
    number = found.number[root]
    return Channels(
        groups=found.groups,
        ties=tuple(replace(tie, channels=number[tie.channels]) for tie in _distinct(builder.ties)),
        counts=tuple(replace(tie, channels=number[tie.channels]) for tie in builder.counts),
        indices=tuple(replace(tie, channels=number[tie.channels]) for tie in builder.indices),
        reads=tuple(replace(tie, channels=number[tie.channels]) for tie in builder.reads),
        axes={name: (labels.axis, number[labels.ids]) for name, labels in builder.labelled.items()},
        group_of=found.group_of,
        index_in_group=found.index_in_group,
    )


def _joined(edges: Iterable[Numbers]) -> Numbers:
    return np.concatenate(list(edges))


def _distinct(ties: Iterable[WeightTie]) -> Iterator[WeightTie]:
    """Give each tie once; a weight that two nodes use in different ways is tied in both roles."""
    seen: set[tuple[str, int, Role]] = set()
    for tie in ties:
        place = (tie.tensor, tie.axis, tie.role)
        if place not in seen:
            seen.add(place)
            yield tie
