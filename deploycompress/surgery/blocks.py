"""Finds everything that can be taken out of a graph whole, and names it.

A block is offered only if what is left still depends on the same inputs, has the same outputs, and has weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from deploycompress.channels.records import Channels
from deploycompress.channels.trace import trace_channels
from deploycompress.graph import Graph
from deploycompress.surgery.branches import branch_inputs, channel_positions, dead_without, kept_without, own_inputs
from deploycompress.surgery.elementary import ACTIVATIONS, Step, elementary_steps, layers
from deploycompress.surgery.joins import Join, gates, nodes_through, residuals
from deploycompress.surgery.merges import merges
from deploycompress.surgery.naming import layer_of, layer_upstream
from deploycompress.surgery.wiring import Wiring, has_subgraph, wire


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A part of a graph that can be taken out whole.

    Attributes:
        name: its first weight and its kind, such as `layer1.0.conv1/residual`; without weights, the nearest layer
            before it and its operator, such as `layer1.0.bn1/Relu`, or its kind where that is `merge`.
        kind: `residual`, `gate`, `layer`, `norm`, `activation`, `pool`, `branch`, or `merge`: an activation, perhaps
            with the layer after it, without which the layers around become one when the network ships.
        nodes: names of the nodes that go with it, in graph order.
        output: the tensor that goes.
        instead: the tensor that its readers read from then on; empty when the tensor leaves the concatenations or the
            sum that read it.
    """

    name: str
    kind: str
    nodes: tuple[str, ...]
    output: str
    instead: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    kind: str
    output: str
    instead: str
    nodes: frozenset[int]


def blocks(graph: Graph, *, channels: Channels | None = None) -> tuple[Block, ...]:
    """List everything that can be removed from a graph whole.

    Args:
        graph: where to look.
        channels: what `trace_channels(graph)` gave, to spare tracing again.

    Returns:
        Blocks in the order of their first nodes, larger ones before those inside them.

    Examples:
        >>> import deploycompress, torch
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 4, 3))
        >>> graph = deploycompress.capture(network, input_shape=(1, 3, 8, 8))
        >>> [(block.name, block.kind) for block in deploycompress.blocks(graph)]
        [('0/Relu', 'activation'), ('0/merge', 'merge')]
    """
    wiring = wire(graph)
    weighted = frozenset(index for index in range(len(graph.nodes)) if wiring.is_weighted(index))
    parts = [part for part in _parts(wiring, channels) if _may_go(wiring, weighted, part)]
    parts.sort(key=lambda part: (min(part.nodes), -len(part.nodes), part.kind))
    taken: dict[str, int] = {}
    return tuple(_named(wiring, part, taken) for part in parts)


def _parts(wiring: Wiring, channels: Channels | None) -> Iterator[_Part]:
    steps = elementary_steps(wiring)
    spelled = frozenset(index for step in steps.values() if len(step.nodes) > 1 for index in step.nodes)
    found: list[Step | Join] = [*residuals(wiring, spelled), *gates(wiring)]
    gating = {
        max(index for index in join.nodes if wiring.graph.nodes[index].outputs[0] != join.output)
        for join in found
        if join.kind == "gate"
    }
    # A gate without its squashing function is no gate any more: it goes whole, or stays.
    alone = [step for step in steps.values() if not (step.kind == "activation" and step.nodes & gating)]
    whole = list(layers(wiring, steps))
    found += [*alone, *whole, *merges(wiring, [step for step in alone if step.kind == "activation"], whole)]
    for part in found:
        instead = part.entry if isinstance(part, Step) else part.instead
        nodes = nodes_through(wiring, part.output, instead) if instead else part.nodes
        yield _Part(kind=part.kind, output=part.output, instead=instead, nodes=nodes)
    yield from _branches(wiring, channels)


def _branches(wiring: Wiring, channels: Channels | None) -> Iterator[_Part]:
    candidates = own_inputs(wiring)
    if not candidates:
        return
    channels = channels or trace_channels(wiring.graph)
    positions = channel_positions(channels)
    for name in branch_inputs(wiring, channels, candidates):
        nodes = dead_without(wiring, channels, positions.empty(kept_without(channels, [name])))
        if nodes:
            yield _Part(kind="branch", output=name, instead="", nodes=nodes)


def _may_go(wiring: Wiring, weighted: frozenset[int], part: _Part) -> bool:
    if not part.nodes or part.output in wiring.pinned or weighted <= part.nodes:
        return False
    if any(has_subgraph(wiring.graph.nodes[index]) for index in part.nodes):
        return False
    if part.instead:
        same = wiring.sources[part.instead] == wiring.sources[part.output]
        return same and wiring.have_same_shape(part.instead, part.output)
    return part.kind == "branch" or _sum_stays_whole(wiring, part.output)


def _sum_stays_whole(wiring: Wiring, operand: str) -> bool:
    node = wiring.graph.nodes[wiring.users[operand][0]]
    left = 0
    for name in node.inputs:
        left |= 0 if name == operand else wiring.sources[name]
    return left == wiring.sources[node.outputs[0]]


def _named(wiring: Wiring, part: _Part, taken: dict[str, int]) -> Block:
    nodes = sorted(part.nodes)
    layer = layer_of(wiring, nodes)
    what = part.kind if layer or part.kind == "merge" else _operator(wiring, nodes)
    name = f"{layer or layer_upstream(wiring, part.instead or part.output)}/{what}"
    taken[name] = taken.get(name, 0) + 1
    return Block(
        name=name if taken[name] == 1 else f"{name}#{taken[name]}",
        kind=part.kind,
        nodes=tuple(wiring.graph.nodes[index].name for index in nodes),
        output=part.output,
        instead=part.instead,
    )


def _operator(wiring: Wiring, nodes: list[int]) -> str:
    operators = [wiring.graph.nodes[index].op for index in nodes]
    return next((op for op in operators if op in ACTIVATIONS or op == "Erf"), operators[-1])
