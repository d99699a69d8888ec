"""What follows a linear layer at once and is linear, too: where its output counts, and where an offset can go."""

from __future__ import annotations

from dataclasses import dataclass

from deploycompress.graph import Graph, Node
from deploycompress.train.linear_layer import LinearLayer

DEFAULT_EPSILON = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """A layer's surroundings.

    Attributes:
        result: the value that counts: behind the norm or the added constant where one follows, else the output.
        norm: names of scale, shift, mean and variance of the batch norm in between; empty without one.
        epsilon: of that norm.
        added: name of the constant that is added in between; empty without one.
        beside: the other operand where the result is one of two that are added; empty otherwise.
        total: that sum; empty otherwise.
    """

    result: str
    norm: tuple[str, ...]
    epsilon: float
    added: str
    beside: str
    total: str


def placement(graph: Graph, layer: LinearLayer) -> Placement:
    """Look at the readers of a layer's output."""
    readers = _only_readers(graph)
    reader = readers.get(layer.output)
    norm: tuple[str, ...] = ()
    result, added, epsilon = layer.output, "", 0.0
    if reader is not None and _is_norm(graph, reader) and _has_channels_on_axis_one(graph, layer):
        result, norm = reader.outputs[0], reader.inputs[1:5]
        epsilon = float(reader.attributes.get("epsilon", DEFAULT_EPSILON))
    elif reader is not None and reader.op == "Add" and not layer.bias and (name := _constant(graph, reader, layer)):
        result, added = reader.outputs[0], name
    beside, total = _sum(graph, readers.get(result), result)
    return Placement(result=result, norm=norm, epsilon=epsilon, added=added, beside=beside, total=total)


def _only_readers(graph: Graph) -> dict[str, Node]:
    outputs = {port.name for port in graph.outputs}
    uses = graph.uses()
    return {
        name: readers[0][0]
        for name, readers in graph.readers().items()
        if len(readers) == uses[name] == 1 and name not in outputs and readers[0][0].is_standard
    }


def _is_norm(graph: Graph, node: Node) -> bool:
    uses = graph.uses()
    is_norm = node.op == "BatchNormalization" and len(node.outputs) == 1
    return (
        is_norm
        and all(name in graph.weights for name in node.inputs[1:5])
        and all(uses[name] == 1 for name in node.inputs[1:5])
    )


def _has_channels_on_axis_one(graph: Graph, layer: LinearLayer) -> bool:
    """Whether a layer's channels lie where a batch norm looks for them; a product has them on its last axis."""
    return bool(layer.axes) or len(graph.shapes.get(layer.output, ())) == 2


def _constant(graph: Graph, node: Node, layer: LinearLayer) -> str:
    """Name the constant of one number per channel that this node alone adds to a product; empty for anything else."""
    name = next((one for one in node.inputs if one in graph.weights), "")
    outputs = graph.weights[layer.weight].shape[layer.order[0]]
    is_own = bool(name) and not layer.axes and graph.uses()[name] == 1
    return name if is_own and graph.weights[name].shape == (outputs,) else ""


def _sum(graph: Graph, node: Node | None, result: str) -> tuple[str, str]:
    if node is None or node.op != "Add" or len(set(node.inputs)) != 2:
        return "", ""
    beside = next(name for name in node.inputs if name != result)
    shape = graph.shapes.get(result)
    return (beside, node.outputs[0]) if shape is not None and graph.shapes.get(beside) == shape else ("", "")
