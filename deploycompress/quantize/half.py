"""Half precision: weights and arithmetic of 16 bits, inputs and outputs of 32."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np
from onnx import TensorProto

from deploycompress.graph import Array, Graph, Node, graph_from_onnx, prune_unused
from deploycompress.measuring.element_types import element_types
from deploycompress.measuring.integer_kernels import LAYERS
from deploycompress.quantize.half_operators import why_not_half
from deploycompress.quantize.layers import layer_of, require_layers
from deploycompress.quantize.operators import FLOAT_LAYERS
from deploycompress.quantize.support import plain_single

ROUNDED_TO_ZERO = 2.0**-25
"""Half of the smallest number above zero; what is not larger is nearer to zero."""


def half(shipped: Graph, *, higher: Collection[str] = (), nodes: Collection[str] = ()) -> Graph:
    """Write a network in half precision.

    Args:
        shipped: float network in the form that ships.
        higher: layers that stay in single precision, by the name of their weight without `.weight`.
        nodes: further nodes that do, by their own names, such as `overflow.overflowing` finds.

    Raises:
        ModelError: the network has a lower precision already.
        PlanError: `higher` names what is no layer of the network.
    """
    from onnxruntime.quantization.onnx_model import ONNXModel
    from onnxruntime.transformers.float16 import convert_float_to_float16

    graph = plain_single(shipped)
    require_layers(higher, graph)
    kept = {
        node.name
        for node in graph.nodes
        if node.name in nodes or layer_of(node, graph) in higher or why_not_half(node, graph)
    }
    model = convert_float_to_float16(
        _without_tiny(graph, kept).to_onnx(), keep_io_types=True, op_block_list=[], node_block_list=sorted(kept)
    )
    nodes_by_output = {tuple(proto.output): proto for proto in model.graph.node}  # it writes a Cast once per reader
    del model.graph.node[:]
    model.graph.node.extend(nodes_by_output.values())
    ordered = ONNXModel(model)
    ordered.topological_sort()  # it appends what it adds
    return _without_detours(graph_from_onnx(ordered.model))


def _without_tiny(graph: Graph, kept: Collection[str]) -> Graph:
    """Make weights zero that are nearer to zero than to any number of half precision.

    The converter raises them to the smallest number above zero: right for an epsilon that is divided by, and wrong for
    what is summed up.
    """
    layers = [node for node in graph.nodes if node.op in LAYERS | FLOAT_LAYERS]
    summed = {name for node in layers if node.name not in kept for name in node.inputs}
    elsewhere = {name for node in graph.nodes if node.op not in LAYERS | FLOAT_LAYERS for name in node.reads}
    weights: dict[str, Array] = {}
    for name in sorted(summed - elsewhere):
        array = graph.weights.get(name)
        if array is not None and array.dtype == np.float32:
            weights[name] = np.where(np.abs(array) > ROUNDED_TO_ZERO, array, np.float32(0))
    return graph.with_weights(weights)


def _without_detours(graph: Graph) -> Graph:
    """Let nodes in single precision read each other directly.

    The converter puts a Cast to half precision and one back between them, in which large numbers become infinite.
    """
    types = element_types(graph)
    lowered = {
        node.outputs[0]: node.input(0)
        for node in graph.nodes
        if _casts_to(node, TensorProto.FLOAT16) and types.get(node.input(0)) == TensorProto.FLOAT
    }
    raised = {
        node.outputs[0]: lowered[node.input(0)]
        for node in graph.nodes
        if _casts_to(node, TensorProto.FLOAT) and node.input(0) in lowered
    }
    outputs, inputs = {port.name for port in graph.outputs}, {port.name for port in graph.inputs}
    renamed = {name: source for name, source in raised.items() if name not in outputs}
    for name, source in raised.items():
        if name in outputs and source not in inputs | outputs | set(renamed):
            renamed[source] = name
    dropped = {name for name, source in raised.items() if name in renamed or renamed.get(source) == name}
    kept = [_renamed(node, renamed) for node in graph.nodes if node.outputs[0] not in dropped]
    return prune_unused(replace(graph, nodes=tuple(kept)))


def _casts_to(node: Node, kind: int) -> bool:
    return node.op == "Cast" and node.is_standard and node.attributes["to"] == kind


def _renamed(node: Node, renamed: Mapping[str, str]) -> Node:
    """Rename tensors twice: what is read in its source's stead may be named like an output by then."""

    def name_of(tensor: str) -> str:
        once = renamed.get(tensor, tensor)
        return renamed.get(once, once)

    return replace(node, inputs=tuple(map(name_of, node.inputs)), outputs=tuple(map(name_of, node.outputs)))
