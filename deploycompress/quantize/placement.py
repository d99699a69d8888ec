"""Where a network is rounded to 8 bits: which nodes compute in them, and which tensors and weights carry a scale.

ONNX Runtime computes a node in integers when all it reads comes out of a DequantizeLinear and what it gives goes into a
QuantizeLinear, so pairs stand around such nodes and nowhere else: not between a layer and the Relu or Clip that only it
feeds, for the rounding behind that takes its part; and not behind a last matrix product, whose kernel gives float32.
Rounding takes the part of a Relu or Clip where no code stands for what these cut away, so with asymmetric activations
alone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from deploycompress.graph import Graph, Node
from deploycompress.measuring.integer_kernels import FLOAT_OUTPUT, LAYERS
from deploycompress.quantize.layers import layer_name, weight_axis, weight_of, why_not_int8
from deploycompress.quantize.operators import BETWEEN, is_bounding, is_carrying, is_computing


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A node with constant weights that is computed in 8 bits.

    Attributes:
        node: its name.
        weight: its weight.
        axis: axis of the weight that its outputs go along.
        bias: its bias, empty when it has none.
        source: the tensor it reads.
    """

    node: str
    weight: str
    axis: int
    bias: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """What is rounded.

    Attributes:
        nodes: names of the nodes that are computed in 8 bits.
        scaled_as: for each rounded activation, the activation whose scale it has: mostly itself.
        layers: the layers among the nodes, in their order.
    """

    nodes: frozenset[str]
    scaled_as: Mapping[str, str]
    layers: tuple[Layer, ...]


def place(graph: Graph, higher: Collection[str]) -> Placement:
    """Decide what is rounded.

    Args:
        graph: float network in the form that ships.
        higher: layers that stay in single precision, by the name of their weight without `.weight`.
    """
    layers = _layers(graph, frozenset(higher))
    chosen = {layer.node for layer in layers}
    absorbed = _absorbed(graph)
    rounded = {name for node in graph.nodes if node.name in chosen for name in _read(node, graph)}
    scaled_as: dict[str, str] = {}
    for node in graph.nodes:
        if node.name not in chosen and _is_beside(node, graph, rounded):
            chosen.add(node.name)
        if node.name in chosen:
            carries = is_carrying(node, graph)
            output = node.outputs[0] if carries else absorbed.get(node.name, node.outputs[0])
            if node.op not in FLOAT_OUTPUT or _is_read_in_8_bits(output, graph, rounded):
                rounded.add(output)
            if carries:
                scaled_as[output] = scaled_as.get(node.input(0), node.input(0))
        elif node.op in BETWEEN and node.input(0) in rounded:
            output = absorbed.get(node.name, node.outputs[0])
            rounded.update([output] if _is_wanted(output, graph) else [])
    ordered = [port.name for port in graph.inputs] + [name for node in graph.nodes for name in node.outputs]
    return Placement(
        nodes=frozenset(chosen),
        scaled_as={name: scaled_as.get(name, name) for name in ordered if name in rounded},
        layers=layers,
    )


def _layers(graph: Graph, higher: frozenset[str]) -> tuple[Layer, ...]:
    found = []
    for node in graph.nodes:
        weight = weight_of(node, graph) if node.is_standard and node.op in LAYERS else ""
        if weight and layer_name(weight) not in higher and not why_not_int8(node, graph):
            found.append(
                Layer(
                    node=node.name,
                    weight=weight,
                    axis=weight_axis(node, graph),
                    bias=node.input(2),
                    source=node.input(0),
                )
            )
    return tuple(found)


def _absorbed(graph: Graph) -> dict[str, str]:
    """Map each node that nothing but a Relu or Clip reads to what that gives."""
    uses, found = graph.uses(), {}
    producers = graph.producers()
    for node in graph.nodes:
        maker = producers.get(node.input(0))
        if maker is not None and is_bounding(node, graph) and uses[node.input(0)] == 1:
            found[maker.name] = node.outputs[0]
    return found


def _read(node: Node, graph: Graph) -> list[str]:
    """Name the activations that a node computes with; the others say where or how much."""
    inputs = [name for name in node.inputs if name and name not in graph.weights]
    return inputs if is_computing(node, graph) else inputs[:1]


def _is_beside(node: Node, graph: Graph, rounded: Collection[str]) -> bool:
    """Whether all that a node works on is rounded anyway, and it can work on that."""
    if not (is_computing(node, graph) or is_carrying(node, graph)):
        return False
    read = _read(node, graph)  # nothing, where a node works on constants alone
    return bool(read) and all(name in rounded for name in read)


def _is_wanted(tensor: str, graph: Graph) -> bool:
    """Whether a node that could compute in 8 bits reads a tensor."""
    readers = (node for node in graph.nodes if tensor in node.inputs)
    return any(is_computing(node, graph) or is_carrying(node, graph) for node in readers)


def _is_read_in_8_bits(tensor: str, graph: Graph, rounded: Collection[str]) -> bool:
    if tensor in rounded:
        return True
    readers = [node for node in graph.nodes if tensor in node.inputs]
    return any(is_computing(node, graph) and set(_read(node, graph)) - {tensor} <= set(rounded) for node in readers)
