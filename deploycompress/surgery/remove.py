"""Takes blocks out of a graph, several at once; blocks inside other ones go with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from deploycompress.channels.records import Channels
from deploycompress.channels.trace import trace_channels
from deploycompress.errors import PlanError
from deploycompress.graph import Graph, Node
from deploycompress.surgery.blocks import Block, blocks
from deploycompress.surgery.branches import remove_branches
from deploycompress.surgery.nearest import nearest
from deploycompress.surgery.wiring import wire, without_dead


def remove_blocks(
    graph: Graph, names: Iterable[str], *, offered: Sequence[Block] | None = None, channels: Channels | None = None
) -> Graph:
    """Remove blocks from a graph, all at once.

    Args:
        graph: the graph the names come from.
        names: names of blocks that `blocks(graph)` lists.
        offered: what `blocks(graph)` gave, to spare finding them again.
        channels: what `trace_channels(graph)` gave, to spare tracing where only branches go.

    Returns:
        A smaller graph with the same inputs and outputs, whose shapes are exact.

    Raises:
        PlanError: the graph has no such block, or not all of them can go together.

    Examples:
        >>> import deploycompress, torch
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 4, 3))
        >>> graph = deploycompress.capture(network, input_shape=(1, 3, 8, 8))
        >>> [node.op for node in deploycompress.remove_blocks(graph, ["0/Relu"]).nodes]
        ['Conv', 'Conv']
    """
    names = list(dict.fromkeys(names))
    if not names:
        return graph
    by_name = {block.name: block for block in (blocks(graph, channels=channels) if offered is None else offered)}
    for name in names:
        if name not in by_name:
            hint = nearest(name, by_name)
            raise PlanError(
                f"The plan removes block {name!r}, which this model does not have{hint}. Make the plan from it."
            )
    chosen = _outermost([by_name[name] for name in names])
    _refuse_overlap(chosen)
    found = _without(graph, chosen, channels)
    if found is None:
        culprits = ", ".join(repr(block.name) for block in _conflict(graph, chosen, channels))
        raise PlanError(
            f"The blocks {culprits} cannot be removed together: what is left would be empty, cut off from an input, "
            "or of other sizes than its readers expect. Keep one of them."
        )
    return found


def _outermost(chosen: Sequence[Block]) -> list[Block]:
    """Leave out blocks that lie within another one; of two that are the same nodes, the later goes."""
    nodes = [frozenset(block.nodes) for block in chosen]
    return [
        block
        for index, block in enumerate(chosen)
        if not any(
            nodes[index] < other or (nodes[index] == other and position < index)
            for position, other in enumerate(nodes)
            if position != index
        )
    ]


def _refuse_overlap(chosen: Sequence[Block]) -> None:
    owner: dict[str, str] = {}
    for block in chosen:
        for node in block.nodes:
            if node in owner:
                raise PlanError(
                    f"The blocks {owner[node]!r} and {block.name!r} share {node!r}, and neither lies within the other; "
                    "remove one of them."
                )
            owner[node] = block.name


def _without(graph: Graph, chosen: Sequence[Block], channels: Channels | None) -> Graph | None:
    """Remove blocks, or give nothing when they cannot go together."""
    alias = {block.output: block.instead for block in chosen if block.instead}
    branches = [block.output for block in chosen if block.kind == "branch"]
    operands = frozenset(block.output for block in chosen if not block.instead and block.kind != "branch")
    left: Graph | None = _without_operands(graph, operands) if operands else graph
    if left is not None and alias:
        left = _renamed(left, alias)
    if left is not None and branches:
        as_given = channels if left is graph else None
        left = remove_branches(left, as_given or trace_channels(left), branches)
    return left if left is not None and _is_whole(left, graph) else None


def _without_operands(graph: Graph, operands: frozenset[str]) -> Graph | None:
    nodes = []
    for node in graph.nodes:
        if node.op != "Sum" or not operands.intersection(node.inputs):
            nodes.append(node)
            continue
        left = tuple(name for name in node.inputs if name not in operands)
        if not any(graph.shapes[name] == graph.shapes[node.outputs[0]] for name in left):
            return None
        nodes.append(replace(node, inputs=left))
    return without_dead(replace(graph, nodes=tuple(nodes)))


def _renamed(graph: Graph, alias: Mapping[str, str]) -> Graph:
    """Let the readers of each tensor read another one; what an output is read from takes the output's name."""
    resolved = {name: _end(alias, name) for name in alias}
    nodes = [replace(node, inputs=tuple(resolved.get(name, name) for name in node.inputs)) for node in graph.nodes]
    nodes = [node for node in nodes if not resolved.keys() & set(node.outputs)]
    fixed = {port.name for port in graph.outputs} | {name for node in graph.nodes for name in node.captured}
    makes = {name for node in graph.nodes for name in node.outputs}
    takes_name: dict[str, str] = {}
    copies: list[Node] = []
    for port in graph.outputs:
        source = resolved.get(port.name)
        if source is None:
            continue
        if source in makes and source not in fixed and source not in takes_name:
            takes_name[source] = port.name
        else:
            copies.append(Node(name=f"{port.name}/Identity", op="Identity", inputs=(source,), outputs=(port.name,)))
    renamed = [_with_names(node, takes_name) for node in (*nodes, *copies)]
    return without_dead(replace(graph, nodes=tuple(renamed)))


def _with_names(node: Node, names: Mapping[str, str]) -> Node:
    return replace(
        node,
        inputs=tuple(names.get(name, name) for name in node.inputs),
        outputs=tuple(names.get(name, name) for name in node.outputs),
    )


def _end(alias: Mapping[str, str], name: str) -> str:
    while name in alias:
        name = alias[name]
    return name


def _is_whole(left: Graph, graph: Graph) -> bool:
    """Whether outputs depend on the inputs they depended on, and some weights are left."""
    after, before = wire(left), wire(graph)
    same = all(after.sources.get(port.name) == before.sources[port.name] for port in graph.outputs)
    return same and any(after.is_weighted(index) for index in range(len(left.nodes)))


def _conflict(graph: Graph, chosen: Sequence[Block], channels: Channels | None) -> list[Block]:
    """Find a smallest set of blocks that cannot go together: without any one of them, the others can."""
    culprits = list(chosen)
    for block in chosen:
        fewer = [other for other in culprits if other is not block]
        if fewer and _without(graph, fewer, channels) is None:
            culprits = fewer
    return culprits
