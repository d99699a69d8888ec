"""Branches of a concatenation: an input whose channels nothing else needs leaves every concatenation it is in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from deploycompress.channels.records import NO_CHANNEL, Channels, Numbers
from deploycompress.graph import Graph, Node
from deploycompress.surgery.cut import cut_channels
from deploycompress.surgery.masks import Mask
from deploycompress.surgery.wiring import Wiring, wire, without_dead


@dataclass(frozen=True, slots=True, kw_only=True)
class Positions:
    """The channel numbers of all tensors, one after the other.

    Attributes:
        tensors: names of the tensors with channels.
        numbers: their channel numbers, joined.
        starts: where each tensor's begin.
    """

    tensors: tuple[str, ...]
    numbers: Numbers
    starts: Numbers

    def empty(self, kept: Mask) -> frozenset[str]:
        """Name the tensors of which no channel stays."""
        if not self.tensors:
            return frozenset()
        stays = np.maximum.reduceat(kept[self.numbers], self.starts)
        return frozenset(self.tensors[index] for index in np.flatnonzero(~stays))


def channel_positions(channels: Channels) -> Positions:
    """Join the channel numbers of all tensors, so that questions about all of them are one operation."""
    entries = [(name, numbers) for name, (_, numbers) in channels.axes.items() if len(numbers)]
    lengths = [len(numbers) for _, numbers in entries]
    return Positions(
        tensors=tuple(name for name, _ in entries),
        numbers=np.concatenate([numbers for _, numbers in entries] or [np.zeros(0, np.int64)]),
        starts=np.cumsum([0, *lengths[:-1]]) if lengths else np.zeros(0, np.int64),
    )


def own_inputs(wiring: Wiring) -> list[str]:
    """List the tensors that come from weights of their own and that only concatenations read.

    It knows nothing of channels: it says cheaply whether tracing them can find any branch at all.
    """
    found: dict[str, None] = {}
    for node in wiring.graph.nodes:
        if node.op == "Concat" and node.is_standard and len(node.inputs) > 1:
            found.update(dict.fromkeys(name for name in node.inputs if wiring.is_data(name)))
    return [name for name in found if _has_own_weights(wiring, name)]


def branch_inputs(wiring: Wiring, channels: Channels, candidates: Iterable[str]) -> list[str]:
    """List those candidates that concatenations join along their channel axis and whose channels may all be cut."""
    frozen = np.array([True, *(channels.groups[group].frozen for group in channels.group_of[1:])])
    return [
        name
        for name in candidates
        if name in channels.axes
        and not frozen[channels.axes[name][1]].any()
        and all(_joins_channels(wiring, channels, wiring.graph.nodes[index], name) for index in wiring.users[name])
    ]


def _has_own_weights(wiring: Wiring, tensor: str) -> bool:
    concats = [index for index in wiring.users[tensor] if wiring.graph.nodes[index].op == "Concat"]
    return any(wiring.is_weighted(index) for index in wiring.dead_nodes({tensor: len(concats)}, {}))


def kept_without(channels: Channels, tensors: Iterable[str]) -> Mask:
    """Mark the channels that stay when all channels of some tensors go, shape [count + 1]."""
    kept = np.ones(channels.count + 1, dtype=np.bool_)
    for name in tensors:
        kept[channels.axes[name][1]] = False
    kept[NO_CHANNEL] = True
    return kept


def dead_without(wiring: Wiring, channels: Channels, empty: frozenset[str]) -> frozenset[int] | None:
    """Find the nodes that die when tensors that have become empty leave the concatenations they are in.

    Args:
        wiring: edges of the graph.
        channels: what was traced in it.
        empty: tensors of which no channel stays.

    Returns:
        The nodes, or nothing when something that stays needs an empty tensor, or a concatenation becomes empty.
    """
    gone: dict[str, int] = {}
    dropped: set[tuple[int, str]] = set()
    for name in empty:
        for index in wiring.readers(name):
            node = wiring.graph.nodes[index]
            if node.outputs[0] not in empty and _joins_channels(wiring, channels, node, name):
                gone[name] = gone.get(name, 0) + node.inputs.count(name)
                dropped.add((index, name))
    if not gone or not all(_stays_whole(wiring, index, empty) for index in {index for index, _ in dropped}):
        return None
    dead = wiring.dead_nodes(gone, {})
    for name in empty:
        alive = {index for index in wiring.readers(name) if index not in dead and (index, name) not in dropped}
        if alive or wiring.maker.get(name) not in dead or name in wiring.outputs:
            return None
    return dead


def cut_branches(graph: Graph, channels: Channels, kept: Mask, empty: frozenset[str]) -> Graph:
    """Cut channels and drop the concatenations' inputs that are left without any."""
    cut = cut_channels(graph, channels, kept)
    alias: dict[str, str] = {}
    nodes: list[Node] = []
    outputs = {port.name for port in graph.outputs}
    for node in cut.nodes:
        current = replace(node, inputs=tuple(alias.get(name, name) for name in node.inputs))
        if node.op == "Concat" and node.outputs[0] not in empty and empty.intersection(node.inputs):
            left = tuple(alias.get(name, name) for name in node.inputs if name not in empty)
            current = replace(current, inputs=left)
            if len(left) == 1 and node.outputs[0] not in outputs and not _is_captured(graph, node.outputs[0]):
                alias[node.outputs[0]] = left[0]
                continue
        nodes.append(current)
    return without_dead(replace(cut, nodes=tuple(nodes)))


def remove_branches(graph: Graph, channels: Channels, tensors: Iterable[str]) -> Graph | None:
    """Take tensors out of every concatenation they are in, or give nothing when that is not possible together."""
    tensors = list(tensors)
    wiring = wire(graph)
    if len(branch_inputs(wiring, channels, tensors)) < len(tensors):
        return None
    kept = kept_without(channels, tensors)
    empty = channel_positions(channels).empty(kept)
    if dead_without(wiring, channels, empty) is None:
        return None
    return cut_branches(graph, channels, kept, empty)


def _joins_channels(wiring: Wiring, channels: Channels, node: Node, name: str) -> bool:
    shape = wiring.shape(name)
    if node.op != "Concat" or not node.is_standard or shape is None or name not in channels.axes:
        return False
    return channels.axes[name][0] == int(node.attributes["axis"]) % len(shape)


def _stays_whole(wiring: Wiring, index: int, empty: frozenset[str]) -> bool:
    """Whether a concatenation depends on the same graph inputs without its empty inputs."""
    node = wiring.graph.nodes[index]
    left = 0
    for name in node.inputs:
        left |= 0 if name in empty else wiring.sources[name]
    return left == wiring.sources[node.outputs[0]]


def _is_captured(graph: Graph, tensor: str) -> bool:
    return any(tensor in node.captured for node in graph.nodes)
