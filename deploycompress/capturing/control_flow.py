"""Takes out control flow that is none: branches whose condition is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import onnx
from onnx import helper, numpy_helper

from deploycompress.capturing.draft import is_plain_constant, plain_constant
from deploycompress.capturing.view import BatchView
from deploycompress.graph import Array, Graph, Node, attribute_to_onnx, nodes_from_onnx


def inline_known_branches(draft: Graph, view: BatchView) -> Graph:
    """Replace each If whose condition is known, at every batch size, by the branch it takes."""
    nodes: list[Node] = []
    weights: dict[str, Array] = dict(draft.weights)
    for node in draft.nodes:
        condition = view.values.get(node.input(0)) if node.op == "If" and node.is_standard else None
        if condition is None or condition[0] is not condition[1] or condition[0].size != 1:
            nodes.append(node)
            continue
        branch = node.attributes["then_branch" if bool(np.all(condition[0])) else "else_branch"]
        inlined, constants = _inlined(node, branch)
        nodes += inlined
        weights |= constants
    return draft if len(nodes) == len(draft.nodes) and weights.keys() == draft.weights.keys() else replace(
        draft, nodes=tuple(nodes), weights=weights
    )


def _inlined(node: Node, branch: onnx.GraphProto) -> tuple[list[Node], dict[str, Array]]:
    """Give a branch's nodes and constants under names that nothing else in the graph has."""
    own = [tensor.name for tensor in branch.initializer] + [name for inner in branch.node for name in inner.output]
    names = {name: f"{node.name}/{name}" for name in own if name}
    constants = {names[tensor.name]: numpy_helper.to_array(tensor) for tensor in branch.initializer}
    inlined: list[Node] = []
    for inner in nodes_from_onnx(branch.node):
        renamed = _renamed(inner, names)
        value = plain_constant(renamed) if is_plain_constant(renamed) else None
        if value is not None:
            constants[renamed.outputs[0]] = value
        else:
            inlined.append(replace(renamed, name=f"{node.name}/{inner.name}"))
    for outer, value_info in zip(node.outputs, branch.output, strict=True):
        source = names.get(value_info.name, value_info.name)
        inlined.append(Node(name=f"{node.name}/{outer}", op="Identity", inputs=(source,), outputs=(outer,)))
    return inlined, constants


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
