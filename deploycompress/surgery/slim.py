"""Apply a plan to a graph by slicing alone, and the masked oracle that slim graphs are held against."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from deploycompress.channels.records import Channels, CountTie, Role
from deploycompress.channels.trace import trace_channels
from deploycompress.graph import Array, Graph, Node, Shape
from deploycompress.plan import Plan
from deploycompress.surgery.masks import Mask, kept_channels


def slim(graph: Graph, plan: Plan, *, channels: Channels | None = None) -> Graph:
    """Cut the channels that a plan does not keep out of every constant tied to them.

    Args:
        graph: the graph the plan was made for.
        plan: channels to keep.
        channels: what `trace_channels(graph)` gave, to spare tracing again.

    Returns:
        A smaller graph with the same inputs and outputs; the given one is left as it was.

    Raises:
        PlanError: the plan does not fit the graph.
    """
    channels = channels or trace_channels(graph)
    kept = kept_channels(channels, plan)
    if kept.all():
        return graph
    recounted, nodes = _recount(graph, channels.counts, kept)
    return replace(
        graph,
        nodes=nodes,
        weights={**graph.weights, **_cut_weights(graph, channels, kept), **recounted},
        shapes=_cut_shapes(graph.shapes, channels, kept),
    )


def masked(graph: Graph, plan: Plan, *, channels: Channels | None = None) -> Graph:
    """Set the weights that read cut channels to zero: same size, and the same function as the slim graph.

    Raises:
        PlanError: the plan does not fit the graph.
    """
    channels = channels or trace_channels(graph)
    kept = kept_channels(channels, plan)
    zeroed: dict[str, Array] = {}
    for tie in channels.ties:
        if tie.role == Role.READS and not kept[tie.channels].all():
            weight = zeroed.get(tie.tensor, graph.weights[tie.tensor]).copy()
            weight[_at_axis(weight, tie.axis, np.flatnonzero(~kept[tie.channels]))] = 0
            zeroed[tie.tensor] = weight
    return graph.with_weights(zeroed)


def embed(graph: Graph, plan: Plan, student: Graph, *, channels: Channels | None = None) -> Graph:
    """Put a trained student's weights back in the places of the graph that its plan kept.

    This is the inverse of `slim`: `slim(embed(graph, plan, student), plan)` is the student again, and
    plans that cut further can be applied to the trained weights under the original channel numbers.

    Args:
        graph: the graph the student was cut from.
        plan: the plan that cut it.
        student: `slim(graph, plan)` with other weights.
        channels: what `trace_channels(graph)` gave, to spare tracing again.

    Raises:
        PlanError: the plan does not fit the graph.
    """
    channels = channels or trace_channels(graph)
    kept = kept_channels(channels, plan)
    selections = _selections(graph, channels, kept)
    updated: dict[str, Array] = {}
    for name, array in student.weights.items():
        if name not in graph.weights or not np.issubdtype(array.dtype, np.floating):
            continue
        if name not in selections:
            updated[name] = array
            continue
        whole = graph.weights[name].copy()
        whole[np.ix_(*selections[name])] = array
        updated[name] = whole
    return graph.with_weights(updated)


def _selections(graph: Graph, channels: Channels, kept: Mask) -> dict[str, list[Array]]:
    """Give, for each constant that shrinks, the positions kept along each of its axes."""
    found: dict[str, list[Array]] = {}
    for tie in channels.ties:
        keep = kept[tie.channels]
        if keep.all():
            continue
        shape = graph.weights[tie.tensor].shape
        axes = found.setdefault(tie.tensor, [np.arange(length) for length in shape])
        axes[tie.axis] = np.flatnonzero(keep)
    return found


def _cut_weights(graph: Graph, channels: Channels, kept: Mask) -> dict[str, Array]:
    return {name: graph.weights[name][np.ix_(*axes)] for name, axes in _selections(graph, channels, kept).items()}


def _cut_shapes(shapes: Mapping[str, Shape], channels: Channels, kept: Mask) -> dict[str, Shape]:
    cut = dict(shapes)
    for name, (axis, numbers) in channels.axes.items():
        shape = list(cut[name])
        shape[axis] = int(kept[numbers].sum())
        cut[name] = tuple(shape)
    return cut


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


def _with_count(node: Node, key: str, position: int, value: int) -> Mapping[str, object]:
    old = node.attributes[key]
    if isinstance(old, int):
        return {**node.attributes, key: value}
    return {**node.attributes, key: [value if index == position else entry for index, entry in enumerate(old)]}


def _at_axis(array: Array, axis: int, positions: Array) -> tuple[slice | Array, ...]:
    return tuple(positions if index == axis else slice(None) for index in range(array.ndim))
