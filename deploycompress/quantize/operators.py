"""Which nodes of a float graph can be computed in 8 bits."""

from __future__ import annotations

from deploycompress.graph import Graph, Node
from deploycompress.measuring.integer_kernels import BOUNDING, CARRYING, COMPUTING

FLOAT_LAYERS = frozenset({"ConvTranspose", "Einsum", "LSTM", "GRU", "RNN"})
"""Operators with weights that have no 8-bit kernel."""

BETWEEN = frozenset(
    {
        "ConvTranspose",
        "Elu",
        "HardSigmoid",
        "HardSwish",
        "Mish",
        "PRelu",
        "Selu",
        "Softplus",
        "Tanh",
        "ThresholdedRelu",
    }
)
"""Operators without an 8-bit kernel that mostly stand between those with one (`hard_gates.py` has others do the work
of two of them). What they give is rounded for 8-bit
readers all the same: else the network would leave the layout of its 8-bit kernels, which costs more than rounding."""

QUANTIZED = frozenset({"ConvInteger", "DynamicQuantizeLinear", "MatMulNBits", "MatMulBnb4"})
QUANTIZED_PREFIXES = ("QuantizeLinear", "DequantizeLinear", "QLinear", "QGemm", "QAttention", "QEmbed", "MatMulInteger")


def is_quantized(node: Node) -> bool:
    """Whether an operator belongs to a quantised graph."""
    return node.op in QUANTIZED or node.op.startswith(QUANTIZED_PREFIXES)


def is_carrying(node: Node, graph: Graph) -> bool:
    """Whether a node gives back values of its first input, or zeros."""
    if not node.is_standard or node.op not in CARRYING or len(node.outputs) != 1:
        return False
    if node.op == "Resize":
        return node.attributes.get("mode", b"nearest") in (b"nearest", "nearest")
    if node.op == "Pad" and node.attributes.get("mode", b"constant") in (b"constant", "constant"):
        value = graph.weights.get(node.input(2))
        return not node.input(2) or (value is not None and not value.any())
    return node.op != "Gather" or node.input(0) not in graph.weights


def is_computing(node: Node, graph: Graph) -> bool:
    """Whether a node has an 8-bit kernel of its own for what it reads."""
    reads_constants = any(name in graph.weights for name in node.inputs)
    return node.is_standard and node.op in COMPUTING and not reads_constants


def is_bounding(node: Node, graph: Graph) -> bool:
    """Whether a node cuts values off at constant bounds."""
    constant = all(not node.input(position) or node.input(position) in graph.weights for position in (1, 2))
    return node.is_standard and node.op in BOUNDING and constant
