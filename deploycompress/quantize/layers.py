"""The layers of a network: their names, their weights, and whether they can be computed in 8 bits."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from deploycompress.errors import PlanError
from deploycompress.graph import Array, Graph, Node
from deploycompress.measuring.integer_kernels import LAYERS
from deploycompress.profile_keys import did_you_mean
from deploycompress.quantize.constants import with_plain_weights
from deploycompress.quantize.operators import FLOAT_LAYERS

MOST_SHOWN = 20


def layer_name(weight: str) -> str:
    """Name a layer as plans do: its weight without `.weight`."""
    return weight.removesuffix(".weight")


def layers(graph: Graph) -> tuple[str, ...]:
    """Name the layers that lower precision is decided for, in the order of the graph."""
    plain = with_plain_weights(graph)
    return tuple(dict.fromkeys(filter(None, (layer_of(node, plain) for node in plain.nodes))))


def require_layers(names: Collection[str], graph: Graph) -> None:
    """Refuse names that no layer of a network has, so that a misspelt one does not count for nothing.

    Raises:
        PlanError: one of them is no layer.
    """
    known = layers(graph) if names else ()
    wrong = next((name for name in sorted(names) if name not in known), None)
    if wrong is None:
        return
    shown = ", ".join(known[:MOST_SHOWN]) + (f" and {len(known) - MOST_SHOWN} more" if len(known) > MOST_SHOWN else "")
    raise PlanError(
        f"There is no layer {wrong!r} to leave in single precision{did_you_mean(wrong, known)}; the network has: "
        f"{shown or 'none'}. A layer is called like its weight, without .weight."
    )


def weight_of(node: Node, graph: Graph) -> str:
    """Name the constant that a layer multiplies its data with, empty when it has none."""
    return next((name for name in node.inputs[:2] if name in graph.weights), "")


def layer_of(node: Node, graph: Graph) -> str:
    """Name the layer that a node is, empty when it is none."""
    return layer_name(weight_of(node, graph)) if node.op in LAYERS | FLOAT_LAYERS else ""


def weight_axis(node: Node, graph: Graph) -> int:
    """Give the axis of a layer's weight that its outputs go along."""
    if node.op == "Gemm":
        return 0 if node.attributes.get("transB", 0) else 1
    return 0 if node.op == "Conv" else graph.weights[node.input(1)].ndim - 1


def why_not_int8(node: Node, graph: Graph) -> str:
    """Say why a layer cannot be computed in 8 bits; empty when it can, or when it is no layer."""
    if not node.is_standard and node.domain:
        return f"{node.domain}.{node.op} is not an operator of ONNX's own"
    if node.op in FLOAT_LAYERS:
        return f"{node.op} has no 8-bit kernel"
    if node.op not in LAYERS or not weight_of(node, graph):
        return ""
    weight, bias = graph.weights.get(node.input(1)), graph.weights.get(node.input(2))
    if weight is None:
        return f"its weight is the first input of {node.op}, expected the second"
    if weight.dtype != np.float32:
        return f"its weight is {weight.dtype}, expected float32"
    if not np.isfinite(weight).all():
        return "its weight holds infinite values or NaN"
    if node.input(2) and bias is None:
        return "its bias is computed, expected a constant"
    if node.op == "Gemm":
        return _why_not_gemm(node, weight, bias)
    return ""


def _why_not_gemm(node: Node, weight: Array, bias: Array | None) -> str:
    plain = {"alpha": 1.0, "beta": 1.0, "transA": 0}
    odd = next((key for key, value in plain.items() if node.attributes.get(key, value) != value), "")
    if odd:
        return f"Gemm has {odd} = {node.attributes[odd]}, expected {plain[odd]}"
    filters = weight.shape[0 if node.attributes.get("transB", 0) else 1]
    if bias is not None and bias.shape not in ((filters,), (1, filters)):
        return f"the bias of Gemm has shape {list(bias.shape)}, expected [{filters}]"
    return ""
