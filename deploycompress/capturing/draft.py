"""Drafts: graphs whose shapes are not settled yet, read from any ONNX model and completed to real graphs at the end.

A draft is a `Graph` with empty `shapes`. Constant nodes are weights already, and nodes stand in execution order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TypeVar

import numpy as np
import onnx
from onnx import numpy_helper

from deploycompress.errors import ModelError
from deploycompress.graph import DEFAULT_DOMAINS, Array, Graph, Node, nodes_from_onnx, port_from_onnx

BATCH = "N"
T = TypeVar("T")
R = TypeVar("R")


def draft_from_onnx(model: onnx.ModelProto) -> Graph:
    """Read an ONNX model without asking for shapes.

    Raises:
        ModelError: a constant is damaged, a tensor is made twice, the nodes form a cycle, or an input or output is no
            tensor.
    """
    nodes = list(nodes_from_onnx(model.graph.node))
    weights = {tensor.name: _read(tensor.name, numpy_helper.to_array, tensor) for tensor in model.graph.initializer}
    constants = {n.outputs[0]: _read(n.name, plain_constant, n) for n in nodes if is_plain_constant(n)}
    inputs = tuple(port_from_onnx(value) for value in model.graph.input if value.name not in weights)
    _refuse_tensors_made_twice([port.name for port in inputs], weights, nodes)
    weights |= {name: value for name, value in constants.items() if value is not None}
    nodes = [node for node in nodes if not (is_plain_constant(node) and node.outputs[0] in weights)]
    outputs = tuple(port_from_onnx(value) for value in model.graph.output)
    handed_through = {port.name: f"{port.name}.output" for port in outputs if port.name in {p.name for p in inputs}}
    nodes += [Node(name=new, op="Identity", inputs=(old,), outputs=(new,)) for old, new in handed_through.items()]
    return Graph(
        nodes=_sorted_nodes(nodes, {*weights, *(port.name for port in inputs)}),
        weights=weights,
        inputs=inputs,
        outputs=tuple(replace(port, name=handed_through.get(port.name, port.name)) for port in outputs),
        shapes={},
        opset=max(entry.version for entry in model.opset_import if entry.domain in DEFAULT_DOMAINS),
        ir_version=model.ir_version,
        domains={entry.domain: entry.version for entry in model.opset_import if entry.domain not in DEFAULT_DOMAINS},
    )


def is_plain_constant(node: Node) -> bool:
    """Whether a node is ONNX's Constant."""
    return node.op == "Constant" and node.is_standard and len(node.outputs) == 1


def plain_constant(node: Node) -> Array | None:
    """Read the value of a Constant node, None when it is no dense number."""
    if len(node.attributes) != 1:
        return None
    ((kind, value),) = node.attributes.items()
    if kind == "value":
        return numpy_helper.to_array(value)
    if kind in ("value_int", "value_ints"):
        return np.asarray(value, dtype=np.int64)
    if kind in ("value_float", "value_floats"):
        return np.asarray(value, dtype=np.float32)
    return None


def _read(name: str, reader: Callable[[T], R], stored: T) -> R:
    try:
        return reader(stored)
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise ModelError(f"Constant {name!r} of the model is damaged ({error}); export the model again.") from error


def _refuse_tensors_made_twice(inputs: Iterable[str], weights: Iterable[str], nodes: Iterable[Node]) -> None:
    makers = dict.fromkeys((*inputs, *weights), "an input or constant")
    for node in nodes:
        for name in filter(None, node.outputs):
            if name in makers:
                raise ModelError(
                    f"Tensor {name!r} is made by {makers[name]} and again by node {node.name!r} ({node.op}), expected "
                    "one maker; the file is damaged: export the model again."
                )
            makers[name] = f"node {node.name!r}"


def _sorted_nodes(nodes: list[Node], known: set[str]) -> tuple[Node, ...]:
    """Order nodes so that each follows what it reads, keeping the file's order where it already does."""
    ordered: list[Node] = []
    waiting = [(node, node.reads) for node in nodes]
    makers = {name for node in nodes for name in node.outputs} | known
    while waiting:
        late: list[tuple[Node, tuple[str, ...]]] = []
        for node, reads in waiting:
            if all(name in known for name in reads):
                ordered.append(node)
                known.update(node.outputs)
            else:
                late.append((node, reads))
        if len(late) == len(waiting):
            raise ModelError(_unsortable(late, makers))
        waiting = late
    return tuple(ordered)


def _unsortable(late: list[tuple[Node, tuple[str, ...]]], makers: set[str]) -> str:
    for node, reads in late:
        missing = next((name for name in reads if name not in makers), None)
        if missing is not None:
            return f"Node {node.name!r} reads {missing!r}, a tensor that nothing makes; export the model again."
    return (
        f"Node {late[0][0].name!r} ({late[0][0].op}) depends on its own result: the model's nodes form a cycle of "
        f"at most {len(late)} nodes; export the model again."
    )
