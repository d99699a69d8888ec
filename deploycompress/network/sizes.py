"""Finds which tensors follow from shapes alone, and makes tensors of them where others read them."""

from __future__ import annotations

import numpy as np
import torch
from onnx import TensorProto
from torch import Tensor

from deploycompress.graph import Graph, Node
from deploycompress.network.constants import Constants
from deploycompress.network.operator import Sizes
from deploycompress.network.operators.sizes import READS_SHAPES, SIZES


def find_computed_sizes(graph: Graph, constants: Constants) -> frozenset[str]:
    """Name the tensors of at most one axis that are computed from shapes and constants alone."""
    found: set[str] = set()
    for node in graph.nodes:
        if node.is_standard and node.name not in constants.folded and _follows(node, graph, constants, found):
            found.update(node.outputs)
    return frozenset(found)


def tensor_from_sizes(sizes: Sizes, device: torch.device) -> Tensor:
    """Make an int64 tensor of numbers, one axis for a tuple and none for a number."""
    if not isinstance(sizes, tuple):
        return torch.full((), sizes, dtype=torch.int64, device=device)
    if not sizes:
        return torch.empty(0, dtype=torch.int64, device=device)
    return torch.stack([tensor_from_sizes(size, device) for size in sizes])


def _follows(node: Node, graph: Graph, constants: Constants, found: set[str]) -> bool:
    if node.op in READS_SHAPES:
        return True
    if node.op not in SIZES or len(graph.shapes.get(node.outputs[0], (0, 0))) > 1:
        return False
    if node.op == "Cast" and node.attributes.get("to") != TensorProto.INT64:
        return False
    names = [name for name in node.inputs if name]
    return not found.isdisjoint(names) and all(name in found or _is_list(name, constants) for name in names)


def _is_list(name: str, constants: Constants) -> bool:
    value = constants.values.get(name)
    return value is not None and value.ndim <= 1 and bool(np.issubdtype(value.dtype, np.integer))
