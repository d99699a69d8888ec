"""Sorts channels into groups: those tied to the same weight axes, equally often, are interchangeable."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from deploycompress.channels.records import NO_CHANNEL, ChannelGroup, Numbers, Role, WeightTie

Place = tuple[str, int]
Frozen = Sequence[tuple[Numbers, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """Channels by number, counted from one, and their groups.

    Attributes:
        number: channel number of each label that represents its component, shape [labels]; 0 for the others.
        group_of: index of each channel's group, shape [count + 1]; -1 for number 0.
        index_in_group: position of each channel in its group, shape [count + 1].
        groups: the groups in the order of their first labels.
    """

    number: Numbers
    group_of: Numbers
    index_in_group: Numbers
    groups: tuple[ChannelGroup, ...]


def partition(root: Numbers, ties: Sequence[WeightTie], parts: Sequence[Numbers], frozen: Frozen) -> Partition:
    """Form the groups of all labels that are tied to a weight.

    Args:
        root: representative of each label, shape [labels].
        ties: which labels stand on which weight axis.
        parts: labels that make up a tensor of their own: no group reaches across its border, lest a plan empty it.
        frozen: labels that must stay, and why; the first reason counts.
    """
    signature, history = _signatures(root, ties)
    signature = _within_parts(signature, history, root, parts)
    reason, reasons = _reasons(root, frozen)
    labels = np.flatnonzero(signature)
    _, first, group = np.unique(
        signature[labels] * len(reasons) + reason[labels], return_index=True, return_inverse=True
    )
    rank = np.argsort(np.argsort(first))  # groups in the order of their first labels
    order = np.lexsort((labels, rank[group]))
    widths = np.bincount(rank[group], minlength=len(first))
    number = np.zeros(len(root), dtype=np.int64)
    number[labels[order]] = np.arange(1, len(labels) + 1)
    starts = np.cumsum(widths) - widths
    taken: dict[str, int] = {}
    return Partition(
        number=number,
        group_of=np.concatenate([[-1], np.repeat(np.arange(len(widths)), widths)]),
        index_in_group=np.concatenate([[0], np.arange(len(labels)) - np.repeat(starts, widths)]),
        groups=tuple(
            _record(history, int(signature[label]), int(width), reasons[reason[label]], taken)
            for label, width in zip(labels[np.sort(first)], widths, strict=True)
        ),
    )


def _signatures(root: Numbers, ties: Sequence[WeightTie]) -> tuple[Numbers, list[tuple[int, Place]]]:
    """Give labels the same signature when they stand equally often on the same weight axes.

    Returns:
        Signature of each representative, 0 for those on no weight, shape [labels]; and for each signature the one it
        extends and the axis it adds.
    """
    signature = np.zeros(len(root), dtype=np.int64)
    history: list[tuple[int, Place]] = [(0, ("", 0))]
    for tie in _makers_first(ties):
        found, times = np.unique(root[tie.channels], return_counts=True)
        real = found != NO_CHANNEL
        found, times = found[real], times[real]
        before, index = np.unique(signature[found] * (len(tie.channels) + 1) + times, return_inverse=True)
        signature[found] = len(history) + index
        history += [(int(old) // (len(tie.channels) + 1), (tie.tensor, tie.axis)) for old in before]
    return signature, history


def _within_parts(
    signature: Numbers, history: list[tuple[int, Place]], root: Numbers, parts: Sequence[Numbers]
) -> Numbers:
    """Tell labels of a part from those outside it, by signatures that add no weight axis."""
    signature = signature.copy()
    for ids in parts:
        found = np.unique(root[ids])
        found = found[(found != NO_CHANNEL) & (signature[found] > 0)]
        before, index = np.unique(signature[found], return_inverse=True)
        signature[found] = len(history) + index
        history += [history[old] for old in before]
    return signature


def _makers_first(ties: Sequence[WeightTie]) -> Iterator[WeightTie]:
    """Give each weight axis once, those that make channels before the others."""
    seen: set[Place] = set()
    for is_maker in (True, False):
        for tie in ties:
            if (tie.role == Role.MAKES) == is_maker and (tie.tensor, tie.axis) not in seen:
                seen.add((tie.tensor, tie.axis))
                yield tie


def _reasons(root: Numbers, frozen: Frozen) -> tuple[Numbers, list[str]]:
    texts = {"": 0}
    reason = np.zeros(len(root), dtype=np.int64)
    for ids, why in frozen:
        found = root[ids]
        reason[found[reason[found] == 0]] = texts.setdefault(why, len(texts))
    return reason, list(texts)


def _record(
    history: list[tuple[int, Place]], signature: int, width: int, why: str, taken: dict[str, int]
) -> ChannelGroup:
    members: list[Place] = []
    while signature:
        signature, place = history[signature]
        members.append(place)
    members.reverse()
    name = members[0][0].removesuffix(".weight")
    taken[name] = taken.get(name, 0) + 1
    unique = name if taken[name] == 1 else f"{name}#{taken[name]}"
    return ChannelGroup(name=unique, width=width, members=tuple(members), frozen=bool(why), why=why)
