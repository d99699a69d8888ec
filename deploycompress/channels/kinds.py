"""Kinds of operators with weights: what a device's kernels treat alike, whatever the widths."""

from __future__ import annotations

from deploycompress.graph import Graph, Node, Shape
from deploycompress.views import constant_views


def kind_of(graph: Graph, node: Node) -> str:
    """Name the kind of a convolution or a matrix product with constant weights.

    Args:
        graph: the graph that the node is of.
        node: any of its nodes.

    Returns:
        `conv3x3` and the like, `depthwise3x3` with one input channel a group, `grouped3x3` with several,
        `conv_transpose`, `gemm` or `matmul`; empty for every other operator, and where the weights are computed.
    """
    shape = weight_shape(graph, node)
    if shape is None:
        return ""
    if node.op != "Conv":
        return {"ConvTranspose": "conv_transpose", "Gemm": "gemm", "MatMul": "matmul"}[node.op]
    groups = int(node.attributes.get("group", 1))
    prefix = "conv" if groups == 1 else "depthwise" if shape[1] == 1 else "grouped"
    return prefix + "x".join(map(str, shape[2:]))


def weight_shape(graph: Graph, node: Node) -> Shape | None:
    """Give the shape of a convolution's or matrix product's constant weights as the node reads them, or nothing."""
    if not node.is_standard or node.op not in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
        return None
    found = graph.weights.get(node.input(1))
    if found is not None:
        return tuple(found.shape)
    view = constant_views(graph).get(node.input(1))
    return None if view is None else tuple(graph.weights[view.constant].shape[axis] for axis in view.order)
