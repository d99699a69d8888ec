"""Residual branches and gates: operators that join two ways to one tensor, of which one can go."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from deploycompress.surgery.naming import layer_of
from deploycompress.surgery.wiring import Wiring


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """A way that can go.

    Attributes:
        kind: `residual` or `gate`.
        output: tensor that goes: the joined one, or of a `Sum` of more than two the operand.
        instead: tensor that takes its place; empty when an operand goes.
        nodes: positions of the nodes that go.
    """

    kind: str
    output: str
    instead: str
    nodes: frozenset[int]


def residuals(wiring: Wiring, spelled: frozenset[int]) -> Iterator[Join]:
    """Find sums of which one operand comes from weights of its own.

    Args:
        wiring: edges of the graph.
        spelled: nodes that are part of the spelling of an activation or a norm.
    """
    for index, node in enumerate(wiring.graph.nodes):
        operands = [name for name in node.inputs if wiring.is_data(name)]
        if node.op not in ("Add", "Sum") or not node.is_standard or index in spelled:
            continue
        if len(operands) < len(node.inputs) or len(set(operands)) < max(2, len(operands)):
            continue
        if len(operands) > 2:
            yield from _operands_of_sum(wiring, index, operands)
        elif (join := _deeper_operand(wiring, index, operands[0], operands[1])) is not None:
            yield join


def gates(wiring: Wiring) -> Iterator[Join]:
    """Find products of a tensor with a smaller one that is computed from it alone."""
    for node in wiring.graph.nodes:
        if node.op != "Mul" or not node.is_standard:
            continue
        for gated, gate in (node.inputs, node.inputs[::-1]):
            nodes = _gate_nodes(wiring, node.outputs[0], gated, gate)
            if nodes:
                yield Join(kind="gate", output=node.outputs[0], instead=gated, nodes=nodes)


def _deeper_operand(wiring: Wiring, add: int, left: str, right: str) -> Join | None:
    output = wiring.graph.nodes[add].outputs[0]
    found = []
    for goes, stays in ((left, right), (right, left)):
        nodes = nodes_through(wiring, output, stays)
        region = nodes - {add}
        if wiring.have_same_shape(stays, output) and wiring.maker.get(goes) in region and layer_of(wiring, region):
            join = Join(kind="residual", output=output, instead=stays, nodes=nodes)
            found.append((_depth(wiring, region, goes), join))
    return max(found, key=lambda entry: entry[0])[1] if found else None


def _operands_of_sum(wiring: Wiring, total: int, operands: list[str]) -> Iterator[Join]:
    """Offer each operand but the shallowest, which is the skip, where another one has the shape of the sum."""
    output = wiring.graph.nodes[total].outputs[0]
    regions = {name: wiring.dead_nodes({name: 1}, {}) for name in operands}
    depth = {name: _depth(wiring, regions[name], name) for name in operands}
    skip = min(operands, key=lambda name: depth[name])
    for name in operands:
        others = [other for other in operands if other != name and wiring.have_same_shape(other, output)]
        if name != skip and others and wiring.maker.get(name) in regions[name] and layer_of(wiring, regions[name]):
            yield Join(kind="residual", output=name, instead="", nodes=regions[name])


def nodes_through(wiring: Wiring, output: str, instead: str) -> frozenset[int]:
    """Find the nodes that die when the readers of one tensor read another one instead."""
    reads = len(wiring.users.get(output, ())) + (output in wiring.outputs)
    return wiring.dead_nodes({output: reads}, {instead: max(reads, 1)})


def _depth(wiring: Wiring, region: frozenset[int], tensor: str) -> tuple[int, int]:
    """Give the fewest weighted operators on a way through a region to a tensor, and the most operators on one."""
    depths: dict[str, tuple[int, int]] = {}
    for index in sorted(region):
        entering = [depths.get(name, (0, 0)) for name in wiring.reads[index] if wiring.is_data(name)]
        if entering:
            fewest = min(weighted for weighted, _ in entering) + wiring.is_weighted(index)
            longest = max(length for _, length in entering) + 1
            depths.update(dict.fromkeys(wiring.graph.nodes[index].outputs, (fewest, longest)))
    return depths.get(tensor, (0, 0))


def _gate_nodes(wiring: Wiring, output: str, gated: str, gate: str) -> frozenset[int]:
    if not (wiring.is_data(gated) and wiring.is_data(gate)) or not wiring.have_same_shape(gated, output):
        return frozenset()
    if _size(wiring, gate) >= _size(wiring, gated):
        return frozenset()
    nodes = nodes_through(wiring, output, gated)
    made = {name for index in nodes for name in wiring.graph.nodes[index].outputs}
    entering = {name for index in nodes for name in wiring.reads[index] if wiring.is_data(name)} - made
    return nodes if entering == {gated} and wiring.maker.get(gate) in nodes else frozenset()


def _size(wiring: Wiring, tensor: str) -> int:
    """Count the elements of a tensor before it was repeated; an unknown size counts as the largest."""
    index = wiring.maker.get(tensor)
    if index is not None and wiring.graph.nodes[index].op == "Expand":
        tensor = wiring.graph.nodes[index].inputs[0]
    shape = wiring.shape(tensor)
    return 1 << 62 if shape is None else prod(shape)
