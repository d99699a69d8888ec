"""Which operators have kernels of half precision, as ONNX Runtime's converter sees it."""

from __future__ import annotations

import numpy as np

from deploycompress.graph import Graph, Node

FLOAT_ONLY = frozenset(
    {"NonMaxSuppression", "TopK", "RoiAlign", "Range", "CumSum", "Min", "Max", "Upsample", "Loop", "If", "Scan"}
)

LARGEST = float(np.finfo(np.float16).max)


def why_not_half(node: Node, graph: Graph) -> str:
    """Say why a node is not computed in half precision; empty when it is."""
    if not node.is_standard:
        return f"{node.domain}.{node.op} is not an operator of ONNX's own"
    if node.op in FLOAT_ONLY:
        return f"{node.op} is not computed in half precision"
    constants = [graph.weights[name] for name in node.inputs if name in graph.weights]
    largest = max((np.abs(a).max(initial=0.0) for a in constants if a.dtype == np.float32), default=0.0)
    return "" if not largest > LARGEST else f"it holds the constant {largest:.3g}, beyond the {LARGEST:.0f} of 16 bits"
