"""Takes out control flow that is none: branches whose condition and loops whose number of turns is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx
from onnx import helper, numpy_helper

from deploycompress.capturing.draft import is_plain_constant, plain_constant
from deploycompress.capturing.view import Walk
from deploycompress.graph import Array, Node, attribute_to_onnx, nodes_from_onnx

LARGEST_UNROLLED = 64  # turns; loops that exporters write for a fixed list are short


@dataclass(frozen=True, slots=True, kw_only=True)
class Inlined:
    """A subgraph written into the graph around it: its nodes and constants, and the new names of its outputs."""

    nodes: tuple[Node, ...]
    constants: Mapping[str, Array]
    outputs: tuple[str, ...]


def inlined_control_flow(node: Node, walk: Walk) -> Inlined | None:
    """Give the branch that an If takes or the turns of a Loop, where that is the same for all inputs, else None."""
    inlined = None
    if node.is_standard and node.op == "If":
        inlined = _inlined_branch(node, walk)
    elif node.is_standard and node.op == "Loop":
        inlined = _unrolled_loop(node, walk)
    if inlined is None:
        return None
    named = tuple(
        Node(name=f"{node.name}/{outer}", op="Identity", inputs=(source,), outputs=(outer,))
        for source, outer in zip(inlined.outputs, node.outputs, strict=True)
        if outer
    )
    return replace(inlined, nodes=(*inlined.nodes, *named))


def _inlined_branch(node: Node, walk: Walk) -> Inlined | None:
    condition = _constant(node.inputs[0], walk)
    if condition is None or condition.size != 1:
        return None
    branch = node.attributes["then_branch" if bool(np.all(condition)) else "else_branch"]
    return _inlined(branch, node.name, {})


def _unrolled_loop(node: Node, walk: Walk) -> Inlined | None:
    body: onnx.GraphProto = node.attributes["body"]
    turns = _constant(node.input(0), walk)
    states = node.inputs[2:]
    keeps_on = not node.input(1) or _is_true(_constant(node.input(1), walk))
    if turns is None or turns.size != 1 or len(body.output) != 1 + len(states) or not keeps_on:
        return None
    if int(turns.item()) > LARGEST_UNROLLED or not _stays_true(body, walk):
        return None
    nodes: list[Node] = []
    constants: dict[str, Array] = {f"{node.name}/true": np.asarray(True)}
    for turn in range(int(turns.item())):
        prefix = f"{node.name}/{turn}"
        constants[f"{prefix}/turn"] = np.asarray(turn, np.int64)
        given = (f"{prefix}/turn", f"{node.name}/true", *states)
        bound = {value.name: name for value, name in zip(body.input, given, strict=True)}
        inlined = _inlined(body, prefix, bound)
        nodes += inlined.nodes
        constants |= inlined.constants
        states = inlined.outputs[1:]
    return Inlined(nodes=tuple(nodes), constants=constants, outputs=tuple(states))


def _stays_true(body: onnx.GraphProto, walk: Walk) -> bool:
    """Tell whether a loop's condition, as its body leaves it, is the one it came with or a constant truth."""
    makers = {name: node for node in nodes_from_onnx(body.node) for name in node.outputs}
    own = {tensor.name: numpy_helper.to_array(tensor) for tensor in body.initializer}
    name = body.output[0].name
    while name in makers and makers[name].op in ("Identity", "Cast"):
        name = makers[name].inputs[0]
    if name == body.input[1].name:
        return True
    if name in makers:
        return is_plain_constant(makers[name]) and _is_true(plain_constant(makers[name]))
    return _is_true(own.get(name, _constant(name, walk)))


def _is_true(value: Array | None) -> bool:
    return value is not None and value.size == 1 and bool(np.all(value))


def _constant(name: str, walk: Walk) -> Array | None:
    pair = walk.value(name)
    return pair[0] if pair is not None and pair[0] is pair[1] else None


def _inlined(graph: onnx.GraphProto, prefix: str, bound: Mapping[str, str]) -> Inlined:
    """Give a subgraph's nodes and constants under names that nothing else has.

    Args:
        graph: the subgraph.
        prefix: what its own names begin with from now on.
        bound: what its inputs are called outside.
    """
    own = [tensor.name for tensor in graph.initializer] + [name for inner in graph.node for name in inner.output]
    names = {**bound, **{name: f"{prefix}/{name}" for name in own if name}}
    constants = {names[tensor.name]: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    nodes: list[Node] = []
    for inner in nodes_from_onnx(graph.node):
        renamed = _renamed(inner, names)
        value = plain_constant(renamed) if is_plain_constant(renamed) else None
        if value is not None:
            constants[renamed.outputs[0]] = value
        else:
            nodes.append(replace(renamed, name=f"{prefix}/{inner.name}"))
    outputs = tuple(names.get(value.name, value.name) for value in graph.output)
    return Inlined(nodes=tuple(nodes), constants=constants, outputs=outputs)


def _renamed(node: Node, names: Mapping[str, str]) -> Node:
    attributes = {
        key: _renamed_graph(value, names) if isinstance(value, onnx.GraphProto) else value
        for key, value in node.attributes.items()
    }
    return replace(
        node,
        inputs=tuple(names.get(name, name) for name in node.inputs),
        outputs=tuple(names.get(name, name) for name in node.outputs),
        attributes=attributes,
    )


def _renamed_graph(graph: onnx.GraphProto, names: Mapping[str, str]) -> onnx.GraphProto:
    """Rename what a subgraph reads from outside; names it defines itself hide the outer ones."""
    own = {value.name for value in graph.input} | {tensor.name for tensor in graph.initializer}
    own |= {name for node in graph.node for name in node.output}
    outer = {name: new for name, new in names.items() if name not in own}
    changed = onnx.GraphProto()
    changed.CopyFrom(graph)
    del changed.node[:]
    for node in nodes_from_onnx(graph.node):
        inner = _renamed(node, outer)
        proto = helper.make_node(inner.op, inner.inputs, inner.outputs, name=inner.name, domain=inner.domain)
        proto.attribute.extend(attribute_to_onnx(key, value) for key, value in inner.attributes.items())
        changed.node.append(proto)
    for value in changed.output:
        value.name = outer.get(value.name, value.name)
    return changed
