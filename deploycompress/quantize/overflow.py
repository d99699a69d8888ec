"""Which nodes of a network compute numbers that half precision cannot hold.

ONNX Runtime's CPU provider computes half precision in single, so that nothing overflows here where it would on a
device that computes in 16 bits: the numbers are looked at in single precision instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from onnx import TensorProto

from deploycompress.errors import DataError
from deploycompress.graph import Array, Graph, Node
from deploycompress.measuring.element_types import element_types
from deploycompress.quantize.running import values_seen
from deploycompress.quantize.support import plain_single

LARGEST_SAFE = 6e4
"""Of the 65504 that half precision holds; the rest is for images that reach somewhat further than those seen."""


def overflowing(shipped: Graph, batches: Iterable[Array]) -> Mapping[str, str]:
    """Name the nodes that half precision would make infinite, because a number they read or give is too large.

    Numbers inside of control flow, and sums inside of a kernel, are not seen.

    Args:
        shipped: float network with one input, in the form that ships.
        batches: normalised training images, float32 [B, C, H, W].

    Returns:
        The reason by the node's name, for `half(..., nodes=...)`.

    Raises:
        DataError: there are no batches, they do not fit, or an activation is infinite or NaN.
        ModelError: the network has a lower precision already.
    """
    graph = plain_single(shipped)
    largest = _largest(graph, batches)
    reasons = ((node.name, _reason(node, largest)) for node in graph.nodes)
    return {name: reason for name, reason in reasons if reason}


def _largest(graph: Graph, batches: Iterable[Array]) -> dict[str, float]:
    """Give the largest magnitude of every float tensor that the network reads or computes."""
    types = element_types(graph)
    made = [name for node in graph.nodes for name in node.outputs if types.get(name) == TensorProto.FLOAT]
    tensors = [name for name in made if name in graph.shapes]
    largest: dict[str, float] = {}
    for name, values in values_seen(graph, tensors, batches):
        largest[name] = max(largest.get(name, 0.0), _magnitude(name, values))
    return largest


def _magnitude(name: str, values: Array) -> float:
    found = float(np.abs(values).max(initial=0.0))
    if not np.isfinite(found):
        raise DataError(
            f"Activation {name!r} reaches {found} on the calibration images, expected finite values; check the model, "
            "and the normalisation of the images."
        )
    return found


def _reason(node: Node, largest: Mapping[str, float]) -> str:
    name = max((*node.inputs, *node.outputs), key=lambda tensor: largest.get(tensor, 0.0), default="")
    reached = largest.get(name, 0.0)
    if reached <= LARGEST_SAFE:
        return ""
    return f"{name!r} reaches {reached:.3g} on calibration images, beyond the {LARGEST_SAFE:g} that 16 bits hold safely"
