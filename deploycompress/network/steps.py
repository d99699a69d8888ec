"""Turns the nodes of a graph into the list of torch calls that one forward pass makes."""

from __future__ import annotations

from collections.abc import Mapping

import onnx

from deploycompress.errors import ModelError
from deploycompress.graph import Graph, Node
from deploycompress.network.arrays import TORCH_TYPES
from deploycompress.network.constants import Constants
from deploycompress.network.operator import NodeContext, Operator
from deploycompress.network.operators import OPERATORS
from deploycompress.network.operators.sizes import SIZES
from deploycompress.network.running import Step, leaves_open, rehearse, starting_shapes
from deploycompress.network.sizes import find_computed_sizes

OLDEST_OPSET = 11  # before it, slice bounds, pads and clip limits were written differently


def operator_of(node: Node) -> Operator:
    """Look a node's operator up in the table.

    Raises:
        ModelError: the operator cannot be trained.
    """
    if not node.is_standard or node.op not in OPERATORS:
        domain = "" if node.is_standard else f" of domain {node.domain!r}"
        raise ModelError(
            f"Node {node.name!r} uses operator {node.op}{domain}, which has no differentiable implementation here; "
            "export the model without it, or train it elsewhere."
        )
    return OPERATORS[node.op]


def running_nodes(graph: Graph, constants: Constants) -> list[tuple[Node, Operator]]:
    """List the nodes that need to run, with their operators.

    Raises:
        ModelError: an operator is unknown, or newer or older than its implementation here.
    """
    if not OLDEST_OPSET <= graph.opset <= onnx.defs.onnx_opset_version():
        raise ModelError(
            f"The model uses ONNX opset {graph.opset}; trainable are {OLDEST_OPSET} to "
            f"{onnx.defs.onnx_opset_version()}: export it again with one of these."
        )
    computed = find_computed_sizes(graph, constants)
    found = [
        (node, SIZES[node.op] if node.op in SIZES and node.outputs[0] in computed else operator_of(node))
        for node in graph.nodes
        if node.name not in constants.folded
    ]
    for node, operator in found:
        _check_meaning(node, operator, graph.opset)
    return found


def compile_steps(graph: Graph, constants: Constants) -> tuple[Step, ...]:
    """Make a forward pass of the graph.

    Raises:
        ModelError: a node cannot be run exactly; the message names it.
    """
    for port in (*graph.inputs, *graph.outputs):
        if port.dtype not in TORCH_TYPES:
            raise ModelError(
                f"{port.name!r} has ONNX element type {port.dtype}, which torch cannot compute with; "
                "convert the model to float, double, half, bfloat16, bool or signed integers."
            )
    nodes = running_nodes(graph, constants)
    last_reader = _last_readers(graph, constants, nodes)
    computed = find_computed_sizes(graph, constants)
    shapes = dict(graph.shapes)
    read = {name for node, operator in nodes for name in dynamic_inputs(node, operator, constants)}
    held = {name: constants.values[name] for name in read if name in constants.values}
    rehearsal = starting_shapes(graph, held) if leaves_open(graph) else None
    steps = []
    for node, operator in nodes:
        context = NodeContext(
            node=node, graph=graph, constants=constants.values, shapes=shapes, computed_sizes=computed
        )
        steps.append(_compile(context, operator, constants, last_reader))
        if rehearsal is not None:
            shapes.update(rehearse(context, steps[-1], rehearsal))
    return tuple(steps)


def dynamic_inputs(node: Node, operator: Operator, constants: Constants) -> tuple[str, ...]:
    """Name the inputs that the kernel takes, aliases of constants resolved; sizes known beforehand are left empty."""
    return tuple(
        "" if index in operator.sizes and name in constants.values else constants.root(name)
        for index, name in enumerate(node.inputs)
        if index in operator.sizes or index not in operator.static
    )


def _compile(context: NodeContext, operator: Operator, constants: Constants, last_reader: Mapping[str, str]) -> Step:
    node = context.node
    inputs = dynamic_inputs(node, operator, constants)
    touched = dict.fromkeys((*inputs, *node.outputs))
    taken = [index for index in range(len(node.inputs)) if index in operator.sizes or index not in operator.static]
    as_tensors = [place for place, index in enumerate(taken) if index not in operator.sizes]
    wanted = tuple(name if name in last_reader else "" for name in node.outputs)
    return Step(
        kernel=operator.build(context),
        inputs=inputs,
        numbers=tuple(place for place in as_tensors if inputs[place] in context.computed_sizes),
        outputs=wanted,
        released=tuple(name for name in touched if last_reader.get(name) == node.name),
        uses_mode=operator.uses_mode,
        gives_tuple=len(node.outputs) > 1 or node.op == "Split",
    )


def _last_readers(graph: Graph, constants: Constants, nodes: list[tuple[Node, Operator]]) -> dict[str, str]:
    """Map each computed tensor to the node after which it can go; graph outputs stay, so theirs is empty."""
    last: dict[str, str] = {}
    for node, operator in nodes:
        for name in dynamic_inputs(node, operator, constants):
            if name and name not in constants.values:
                last[name] = node.name
    last.update({constants.root(port.name): "" for port in graph.outputs})
    return last


def _check_meaning(node: Node, operator: Operator, opset: int) -> None:
    version = onnx.defs.get_schema(node.op, opset).since_version
    if version > operator.known:
        raise ModelError(
            f"Node {node.name!r} uses {node.op} as of opset {version}; its implementation here follows opset "
            f"{operator.known}: export the model with an older opset."
        )
    unknown = sorted(set(node.attributes) - operator.attributes)
    if unknown:
        raise ModelError(
            f"Node {node.name!r} ({node.op}) has the attribute {unknown[0]!r}, which is not implemented; "
            "export the model without it."
        )
