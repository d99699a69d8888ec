"""What ONNX Runtime's CPU provider computes in 8 bits, as seen in the graphs that it rewrites (version 1.31)."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from deploycompress.graph import Graph, Node
from deploycompress.views import constant_views

LAYERS = frozenset({"Conv", "Gemm", "MatMul"})
"""Operators with weights; the rest of a network is computed in 8 bits only beside them."""

ELEMENTWISE = frozenset({"Add", "Mul"})
COMPUTING = ELEMENTWISE | {"Concat", "AveragePool", "GlobalAveragePool", "Sigmoid", "LeakyRelu", "Softmax", "MatMul"}
"""Operators on activations alone whose result has a scale of its own."""

CARRYING = frozenset(
    {
        "MaxPool",
        "Reshape",
        "Flatten",
        "Squeeze",
        "Unsqueeze",
        "Transpose",
        "Slice",
        "Gather",
        "Expand",
        "DepthToSpace",
        "SpaceToDepth",
        "Identity",
        "Resize",
        "Pad",
    }
)
"""Operators that give back values of their first input; their result keeps its scale."""

FLOAT_OUTPUT = frozenset({"Gemm", "MatMul"})
"""Operators whose 8-bit kernels give float32 as well."""

BOUNDING = frozenset({"Relu", "Clip"})
"""Activations that vanish into the rounding behind them, where it cannot tell what they cut away anyhow."""

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"


def fused_tensors(graph: Graph) -> Mapping[str, str]:
    """Map float tensors of an 8-bit graph that never are in memory to the codes that are there in their place.

    A node that reads nothing but what comes out of a DequantizeLinear, and whose result goes into a QuantizeLinear,
    becomes one kernel with both.
    """
    producers, readers = graph.producers(), graph.readers()
    outputs, constants = {port.name for port in graph.outputs}, constant_views(graph, rounded=True)
    chains = {node.name: _to_codes(node, graph, readers, outputs) for node in graph.nodes}
    integer = {node.name for node in graph.nodes if _is_integer(node, producers, constants, chains[node.name])}
    found: dict[str, str] = {}
    for node in graph.nodes:
        output = node.outputs[0]
        if node.op == DEQUANTIZE and output not in constants and output not in outputs:
            read_by = [reader.name for reader, _ in readers.get(output, ())]
            found |= {output: node.input(0)} if read_by and integer.issuperset(read_by) else {}
        elif node.name in integer:
            *between, codes = chains[node.name] or (output,)
            found |= dict.fromkeys(between, codes)
    return found


def _to_codes(
    node: Node, graph: Graph, readers: Mapping[str, list[tuple[Node, int]]], outputs: Collection[str]
) -> tuple[str, ...]:
    """List the tensors from a node's result to its codes, through what vanishes between; empty where none follow."""
    chain, bounding = [node.outputs[0]], list[Node]()
    while True:
        found = readers.get(chain[-1], [])
        if len(found) != 1 or chain[-1] in outputs:
            return ()
        reader = found[0][0]
        chain.append(reader.outputs[0])
        if reader.op == QUANTIZE:
            return tuple(chain) if all(_vanishes(one, reader, graph) for one in bounding) else ()
        if reader.op not in BOUNDING:
            return ()
        bounding.append(reader)


def _vanishes(node: Node, quantize: Node, graph: Graph) -> bool:
    """Whether no code stands for a value that a Relu or Clip cuts away."""
    scale, zero_point = graph.weights.get(quantize.input(1)), graph.weights.get(quantize.input(2))
    if scale is None or zero_point is None or scale.size != 1:
        return False
    limits = np.iinfo(zero_point.dtype)
    low, high = (float(scale.item()) * (code - int(zero_point.item())) for code in (limits.min, limits.max))
    least, most = (graph.weights.get(node.input(position)) for position in (1, 2))
    if node.op == "Relu":
        return low >= 0
    room = float(scale.item()) / 100  # of rounding
    return (least is None or low >= least.item() - room) and (most is None or high <= most.item() + room)


def _is_integer(node: Node, producers: Mapping[str, Node], constants: Collection[str], chain: tuple[str, ...]) -> bool:
    if not node.is_standard or node.op not in LAYERS | COMPUTING | CARRYING or len(node.outputs) != 1:
        return False
    read = [name for name in node.inputs if name and name not in constants]
    is_rounded = all(name in producers and producers[name].op == DEQUANTIZE for name in read)
    return bool(read) and is_rounded and (bool(chain) or node.op in FLOAT_OUTPUT)
