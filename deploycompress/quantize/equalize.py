"""Cross-layer equalisation: channels of one layer get like ranges of weights, and the next layer undoes it.

Rounding with one scale for a whole weight loses channels whose weights are small. Between two layers with nothing but
positively homogeneous operators, f(s x) = s f(x) for s > 0, a channel may be divided by any s in the first layer and
multiplied by it in the second (Nagel et al. 2019, section 4.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from deploycompress.graph import Array, Graph, Node
from deploycompress.quantize.layers import layer_name, weight_of
from deploycompress.quantize.support import require_single

HOMOGENEOUS = frozenset({"Relu", "LeakyRelu", "MaxPool", "AveragePool", "GlobalAveragePool", "Identity"})
MOST_SWEEPS = 50
SETTLED = 1e-3
"""A sweep that changes no channel by more than this share is the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """Two layers, the second of which alone reads what the first one gives, through homogeneous operators.

    Attributes:
        first: a convolution with its own constant weight and bias, or none.
        second: a convolution or Gemm with its own constant weight.
    """

    first: Node
    second: Node


def equalized(graph: Graph) -> Graph:
    """Give every channel between two linked layers the same range of weights on both sides (Nagel et al. 2019, eq. 11).

    Args:
        graph: float network in the form that ships.

    Returns:
        A graph that computes the same function up to rounding. Layers without a link are as they were;
        `not_equalized` names them.

    Raises:
        ModelError: weights have 16 bits already.
    """
    require_single(graph)
    weights = {name: np.asarray(array) for name, array in graph.weights.items()}
    found, _ = _links(graph)
    for _ in range(MOST_SWEEPS):
        if max((_balance(link, weights) for link in found), default=0.0) < SETTLED:
            break
    changed = {name: array for name, array in weights.items() if array is not graph.weights[name]}
    return graph.with_weights(changed) if changed else graph


def not_equalized(graph: Graph) -> Mapping[str, str]:
    """Say of each convolution that starts no link what stands in the way; names are of weights without `.weight`."""
    return _links(graph)[1]


def _links(graph: Graph) -> tuple[list[Link], dict[str, str]]:
    uses, readers = graph.uses(), graph.readers()
    found: list[Link] = []
    refused: dict[str, str] = {}
    for node in graph.nodes:
        weight = weight_of(node, graph)
        if node.op != "Conv" or not weight or not node.is_standard:
            continue
        link = _follow(node, graph, uses, readers)
        if isinstance(link, Link):
            found.append(link)
        else:
            refused[layer_name(weight)] = link
    return found, refused


def _follow(
    first: Node, graph: Graph, uses: Mapping[str, int], readers: Mapping[str, list[tuple[Node, int]]]
) -> Link | str:
    """Walk from a layer to the one that reads it, or say why there is none."""
    own = [name for name in first.inputs[1:] if name]
    if any(name not in graph.weights or uses[name] > 1 for name in own):
        return "its weight or bias is computed or shared"
    tensor = first.outputs[0]
    while True:
        if uses.get(tensor, 0) != 1 or tensor not in readers:
            return f"{tensor!r} is read in more than one place, or is an output"
        node, position = readers[tensor][0]
        if node.op in ("Conv", "Gemm") and position == 0 and node.is_standard:
            return _joined(first, node, tensor, graph, uses)
        if not (node.is_standard and (node.op in HOMOGENEOUS or _only_drops_axes(node, graph))):
            return f"{node.op} {node.name!r} is not positively homogeneous, or not known to be"
        tensor = node.outputs[0]


def _joined(first: Node, second: Node, tensor: str, graph: Graph, uses: Mapping[str, int]) -> Link | str:
    weight = graph.weights.get(second.input(1))
    if weight is None or uses[second.input(1)] > 1 or second.attributes.get("transA", 0):
        return f"the weight of {second.name!r} is computed or shared"
    channels = graph.weights[first.input(1)].shape[0]
    if _channels(weight, second) != channels or graph.shape_of(tensor)[1] != channels:
        return f"{second.name!r} reads other channels than {first.name!r} gives"
    return Link(first=first, second=second)


def _only_drops_axes(node: Node, graph: Graph) -> bool:
    """Whether a node turns [B, C, 1, 1] into [B, C]."""
    before, after = graph.shapes.get(node.input(0), ()), graph.shapes.get(node.outputs[0], ())
    is_shaping = node.op in ("Flatten", "Reshape", "Squeeze")
    return is_shaping and len(before) > 1 and before[2:] == (1,) * len(before[2:]) and after == before[:2]


def _balance(link: Link, weights: dict[str, Array]) -> float:
    """Equalise one link; returns the largest relative change of a channel."""
    name, bias, next_name = link.first.input(1), link.first.input(2), link.second.input(1)
    first, second = weights[name], weights[next_name]
    given = np.abs(first).reshape(len(first), -1).max(axis=1, initial=0.0).astype(np.float64)
    read = np.abs(_by_group(second, link.second)).max(axis=(1, 3), initial=0.0).reshape(-1).astype(np.float64)
    is_used = (given > 0) & (read > 0)
    factor = np.where(is_used, np.sqrt(np.where(is_used, given, 1) / np.where(is_used, read, 1)), 1.0)
    weights[name] = (first / factor.reshape(-1, *[1] * (first.ndim - 1))).astype(np.float32)
    if bias:
        weights[bias] = (weights[bias] / factor).astype(np.float32)
    scaled = _by_group(second, link.second) * factor.reshape(_groups(link.second), 1, -1, 1)
    back = scaled.reshape(second.shape) if not _is_transposed(link.second) else scaled[0, :, :, 0].T
    weights[next_name] = np.ascontiguousarray(back, np.float32)
    return float(np.abs(factor - 1).max(initial=0.0))


def _by_group(weight: Array, node: Node) -> Array:
    """View a weight as [groups, outputs of a group, inputs of a group, kernel]."""
    if _is_transposed(node):
        return weight.T[None, :, :, None]
    groups = _groups(node)
    return weight.reshape(groups, weight.shape[0] // groups, weight.shape[1], -1)


def _channels(weight: Array, node: Node) -> int:
    return int(weight.shape[0 if _is_transposed(node) else 1]) * _groups(node)


def _groups(node: Node) -> int:
    return int(node.attributes.get("group", 1))


def _is_transposed(node: Node) -> bool:
    """Whether a weight has its inputs before its outputs."""
    return node.op == "Gemm" and not node.attributes.get("transB", 0)
