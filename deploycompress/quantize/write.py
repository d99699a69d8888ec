"""Writes pairs of QuantizeLinear and DequantizeLinear into a graph.

Names follow from the tensor's own: of `t` are `t.scale`, `t.zero_point`, the codes `t.quantized` and what its readers
see, `t.dequantized`. An output of the graph keeps its name: what is rounded is then called `t.computed`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from deploycompress.graph import Array, Graph, Node, Shape, prune_unused
from deploycompress.network.qdq_pairs import DEQUANTIZE, QUANTIZE
from deploycompress.quantize.affine import Affine
from deploycompress.quantize.names import fresh_name, taken_names
from deploycompress.quantize.placement import Layer, Placement


@dataclass(frozen=True, slots=True)
class _Draft:
    """A graph while it is written: what was added, and what each tensor is called where it is read rounded."""

    taken: set[str]
    weights: dict[str, Array] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)
    affine_of: dict[str, tuple[str, str]] = field(default_factory=dict)  # by activation: its scale and zero point
    rounded: dict[str, str] = field(default_factory=dict)
    weight_pairs: dict[tuple[str, int], str] = field(default_factory=dict)

    def fresh(self, name: str) -> str:
        return fresh_name(name, self.taken)


def write_pairs(
    graph: Graph, placement: Placement, activations: Mapping[str, Affine], weights: Mapping[tuple[str, int], Affine]
) -> Graph:
    """Write the trainable form: float weights and activations behind pairs, float biases.

    Args:
        graph: float network.
        placement: what is rounded.
        activations: scale and zero point of each activation that has its own.
        weights: the same of each weight, by its name and the axis of its outputs.
    """
    draft = _Draft(taken=taken_names(graph))
    given = {port.name for port in graph.inputs}
    outputs = [port.name for port in graph.outputs if port.name in placement.scaled_as and port.name not in given]
    renamed = {name: draft.fresh(f"{name}.computed") for name in outputs}
    layers = {layer.node: layer for layer in placement.layers}
    nodes: list[Node] = []
    for port in graph.inputs:
        nodes += _behind(port.name, graph, placement, activations, draft, renamed)
    for node in graph.nodes:
        layer = layers.get(node.name)
        if layer is not None:
            nodes += _weight_pair(layer, graph, weights[layer.weight, layer.axis], draft)
        nodes.append(_rewired(node, layer, draft, renamed))
        for output in node.outputs:
            nodes += _behind(output, graph, placement, activations, draft, renamed)
    shapes = {renamed.get(name, name): shape for name, shape in graph.shapes.items()} | draft.shapes
    return prune_unused(replace(graph, nodes=tuple(nodes), weights={**graph.weights, **draft.weights}, shapes=shapes))


def _behind(
    tensor: str,
    graph: Graph,
    placement: Placement,
    activations: Mapping[str, Affine],
    draft: _Draft,
    renamed: Mapping[str, str],
) -> Iterator[Node]:
    owner = placement.scaled_as.get(tensor)
    if owner is None:
        return
    if owner == tensor:
        draft.affine_of[tensor] = _constants(tensor, activations[tensor], draft)
    value = renamed.get(tensor, tensor)
    rounded = tensor if tensor in renamed else draft.fresh(f"{tensor}.dequantized")
    draft.rounded[tensor] = rounded
    shape = graph.shapes.get(tensor)
    yield from _pair(value, tensor, rounded, draft.affine_of[owner], None, shape, draft)


def _weight_pair(layer: Layer, graph: Graph, affine: Affine, draft: _Draft) -> Iterator[Node]:
    key = layer.weight, layer.axis
    if key in draft.weight_pairs:
        return
    draft.weight_pairs[key] = draft.fresh(f"{layer.weight}.dequantized")
    constants = _constants(layer.weight, affine, draft)
    axis = layer.axis if affine.scale.ndim else None
    shape = tuple(graph.weights[layer.weight].shape)
    yield from _pair(layer.weight, layer.weight, draft.weight_pairs[key], constants, axis, shape, draft)


def _constants(tensor: str, affine: Affine, draft: _Draft) -> tuple[str, str]:
    names = draft.fresh(f"{tensor}.scale"), draft.fresh(f"{tensor}.zero_point")
    draft.weights.update(zip(names, (affine.scale, affine.zero_point), strict=True))
    return names


def _pair(
    value: str,
    name: str,
    rounded: str,
    affine: tuple[str, str],
    axis: int | None,
    shape: Shape | None,
    draft: _Draft,
) -> Iterator[Node]:
    coded = draft.fresh(f"{name}.quantized")
    attributes = {} if axis is None else {"axis": axis}
    if shape is not None:
        draft.shapes.update({coded: shape, rounded: shape})
    for op, source, target in ((QUANTIZE, value, coded), (DEQUANTIZE, coded, rounded)):
        node_name = draft.fresh(f"{name}.{op}")
        yield Node(name=node_name, op=op, inputs=(source, *affine), outputs=(target,), attributes=attributes)


def _rewired(node: Node, layer: Layer | None, draft: _Draft, renamed: Mapping[str, str]) -> Node:
    inputs = [draft.rounded.get(name, name) for name in node.inputs]
    if layer is not None:
        inputs[1] = draft.weight_pairs[layer.weight, layer.axis]
    return replace(node, inputs=tuple(inputs), outputs=tuple(renamed.get(name, name) for name in node.outputs))
