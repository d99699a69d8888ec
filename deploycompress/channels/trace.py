"""Walk a graph once and find its channels: labels by rule, components, groups."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from deploycompress.channels.components import components
from deploycompress.channels.labels import LabelBuilder, Tied
from deploycompress.channels.records import (
    NO_CHANNEL,
    ChannelGroup,
    Channels,
    CountTie,
    IndexTie,
    Numbers,
    ReadTie,
    Role,
    WeightTie,
)
from deploycompress.channels.rules.table import apply_rule
from deploycompress.graph import Graph

Ties = tuple[tuple[tuple[str, int], int], ...]


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
    """List the channel groups of a graph, frozen ones included."""
    return trace_channels(graph).groups


def _agree_on_shared_weights(builder: LabelBuilder) -> None:
    readers = _uses_of_constants(builder)
    first: dict[tuple[str, int], Numbers] = {}
    uses: dict[tuple[str, int], int] = {}
    for tied in builder.tied:
        place = (tied.tensor, tied.axis)
        uses[place] = uses.get(place, 0) + 1
        if place in first:
            builder.unify(first[place], tied.ids, f"{tied.tensor} is shared with channels that must stay")
        first.setdefault(place, tied.ids)
    for place, count in uses.items():
        if readers[place[0]] > count:
            builder.freeze_ids(first[place], f"{place[0]} is shared with a node that needs it whole")


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
    reasons = _reasons(builder, root)
    signatures = _signatures(builder, root)
    number, group_of, index_in_group, groups = _form_groups(root, signatures, reasons)
    return Channels(
        groups=groups,
        ties=tuple(
            WeightTie(tensor=tied.tensor, axis=tied.axis, role=tied.role, channels=number[root[tied.ids]])
            for tied in _distinct(builder)
        ),
        counts=tuple(
            CountTie(
                node=counted.node,
                place=counted.place,
                position=counted.position,
                channels=number[root[counted.ids]],
            )
            for counted in builder.counted
        ),
        indices=tuple(
            IndexTie(node=picked.node, place=picked.place, source=number[root[picked.ids]]) for picked in builder.picked
        ),
        reads=tuple(
            ReadTie(
                node=read.node, place=read.place, axis=read.axis, reading=read.reading, channels=number[root[read.ids]]
            )
            for read in builder.reads
        ),
        axes={name: (labels.axis, number[root[labels.ids]]) for name, labels in builder.labelled.items()},
        group_of=group_of,
        index_in_group=index_in_group,
    )


def _joined(edges: Iterable[Numbers]) -> Numbers:
    return np.concatenate(list(edges))


def _reasons(builder: LabelBuilder, root: Numbers) -> dict[int, str]:
    reasons: dict[int, str] = {}
    for ids, why in builder.frozen:
        for label in np.unique(root[ids]):
            reasons.setdefault(int(label), why)
    return reasons


def _signatures(builder: LabelBuilder, root: Numbers) -> dict[int, Ties]:
    """Collect, for each channel, the weight axes tied to it, makers first, and how often it stands on each."""
    found: dict[int, dict[tuple[str, int], int]] = {}
    for makers in (True, False):
        for tied in builder.tied:
            if (tied.role == Role.MAKES) == makers:
                for label, times in zip(*np.unique(root[tied.ids], return_counts=True), strict=True):
                    found.setdefault(int(label), {})[(tied.tensor, tied.axis)] = int(times)
    found.pop(NO_CHANNEL, None)
    return {label: tuple(members.items()) for label, members in found.items()}


def _form_groups(
    root: Numbers, signatures: dict[int, Ties], reasons: dict[int, str]
) -> tuple[Numbers, Numbers, Numbers, tuple[ChannelGroup, ...]]:
    """Number the channels from one and put those with equal signature and reason in one group."""
    number = np.zeros(len(root), dtype=np.int64)
    groups: dict[tuple[Ties, str], list[int]] = {}
    for label in sorted(signatures):
        groups.setdefault((signatures[label], reasons.get(label, "")), []).append(label)
    group_of, index_in_group, records = [-1], [0], []
    taken: set[str] = set()
    for (ties, why), labels in groups.items():
        members = tuple(place for place, _ in ties)
        name = _unique(members[0][0].removesuffix(".weight"), taken)
        records.append(ChannelGroup(name=name, width=len(labels), members=members, frozen=bool(why), why=why))
        for index, label in enumerate(labels):
            number[label] = len(group_of)
            group_of.append(len(records) - 1)
            index_in_group.append(index)
    return number, np.asarray(group_of), np.asarray(index_in_group), tuple(records)


def _unique(name: str, taken: set[str]) -> str:
    candidate, suffix = name, 1
    while candidate in taken:
        suffix += 1
        candidate = f"{name}#{suffix}"
    taken.add(candidate)
    return candidate


def _distinct(builder: LabelBuilder) -> Iterator[Tied]:
    """Give each tie once; a weight that two nodes use in different ways is tied in both roles."""
    seen: set[tuple[str, int, Role]] = set()
    for tied in builder.tied:
        place = (tied.tensor, tied.axis, tied.role)
        if place not in seen:
            seen.add(place)
            yield tied
