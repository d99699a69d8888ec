"""Cuts channels by slicing constants alone: no export, no shape inference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from deploycompress.channels.records import Channels, CountTie, IndexTie
from deploycompress.errors import PlanError
from deploycompress.graph import Array, Graph, Node, Shape
from deploycompress.surgery.masks import Mask
from deploycompress.views import constant_views


def cut_channels(graph: Graph, channels: Channels, kept: Mask) -> Graph:
    """Cut channels out of every constant tied to them, and recount what counts them.

    Args:
        graph: what to cut.
        channels: what `trace_channels(graph)` gave.
        kept: whether each channel stays, by channel number, shape [count + 1].

    Returns:
        A smaller graph with the same inputs and outputs that shares all untouched constants.
    """
    if kept.all():
        return graph
    recounted, nodes = _recount(graph, channels.counts, kept)
    weights = {
        **graph.weights,
        **_cut_weights(graph, channels, kept),
        **recounted,
        **_renumbered(graph, channels.indices, kept),
    }
    shapes = {**_cut_shapes(graph.shapes, channels, kept), **_shapes_of_views(graph, weights)}
    return replace(graph, nodes=nodes, weights=weights, shapes=shapes)


def selections(graph: Graph, channels: Channels, kept: Mask) -> dict[str, list[Array | None]]:
    """Give, for each constant that shrinks, the positions kept along each of its axes; None for all of them."""
    found: dict[str, list[Array | None]] = {}
    for tie in channels.ties:
        keep = kept[tie.channels]
        if tie.tensor not in graph.weights:
            raise PlanError(f"The channels were traced on another graph: this one has no constant {tie.tensor!r}.")
        if not keep.all():
            axes = found.setdefault(tie.tensor, [None] * graph.weights[tie.tensor].ndim)
            axes[tie.axis] = np.flatnonzero(keep)
    return found


def _cut_weights(graph: Graph, channels: Channels, kept: Mask) -> dict[str, Array]:
    return {name: _taken(graph.weights[name], axes) for name, axes in selections(graph, channels, kept).items()}


def _taken(array: Array, axes: list[Array | None]) -> Array:
    """Take positions axis by axis, the one that shrinks most first: less is copied than by one joint selection."""
    order = sorted(
        range(array.ndim), key=lambda axis: len(kept) / array.shape[axis] if (kept := axes[axis]) is not None else 2
    )
    for axis in order:
        positions = axes[axis]
        if positions is not None:
            array = array.take(positions, axis=axis)
    return array


def _cut_shapes(shapes: Mapping[str, Shape], channels: Channels, kept: Mask) -> dict[str, Shape]:
    cut = dict(shapes)
    for name, (axis, numbers) in channels.axes.items():
        shape = list(cut[name])
        shape[axis] = int(kept[numbers].sum())
        cut[name] = tuple(shape)
    return cut


def _shapes_of_views(graph: Graph, weights: Mapping[str, Array]) -> dict[str, Shape]:
    return {
        name: tuple(weights[view.constant].shape[axis] for axis in view.order)
        for name, view in constant_views(graph).items()
        if name in graph.shapes
    }


def _recount(graph: Graph, counts: tuple[CountTie, ...], kept: Mask) -> tuple[dict[str, Array], tuple[Node, ...]]:
    """Write the number of channels that stay into every integer that counts them."""
    nodes = {node.name: node for node in graph.nodes}
    constants: dict[str, Array] = {}
    for tie in counts:
        value = int(kept[tie.channels].sum())
        node = nodes[tie.node]
        if isinstance(tie.place, str):
            nodes[tie.node] = replace(node, attributes=_with_count(node, tie.place, tie.position, value))
            continue
        name = node.inputs[tie.place]
        constant = constants.get(name, graph.weights[name]).copy()
        constant[tie.position] = value
        constants[name] = constant
    return constants, tuple(nodes[node.name] for node in graph.nodes)


def _renumbered(graph: Graph, indices: tuple[IndexTie, ...], kept: Mask) -> dict[str, Array]:
    nodes = {node.name: node for node in graph.nodes}
    found: dict[str, Array] = {}
    for tie in indices:
        name, stays = nodes[tie.node].inputs[tie.place], kept[tie.channels]
        old = graph.weights[name]
        new_number = np.cumsum(stays) - 1
        found[name] = new_number[old[stays[old]] if old.ndim else old].astype(old.dtype)
    return found


def _with_count(node: Node, key: str, position: int, value: int) -> Mapping[str, object]:
    old = node.attributes[key]
    if isinstance(old, int):
        return {**node.attributes, key: value}
    return {**node.attributes, key: [value if index == position else entry for index, entry in enumerate(old)]}
