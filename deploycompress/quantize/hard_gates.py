"""HardSwish and HardSigmoid between 8-bit tensors, as additions and products, which have 8-bit kernels.

ONNX Runtime goes to float and back for them, for HardSwish in two steps. But alpha x + beta, cut off at zero and one,
is an addition of beta / alpha whose codes are read with a finer scale: that there are no more codes cuts off. The codes
of a HardSigmoid stay as they are; the gate of a HardSwish has 256 values then, which moves its codes by one at times.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from deploycompress.graph import Array, Graph, Node, Shape
from deploycompress.network.qdq_pairs import DEQUANTIZE, QUANTIZE
from deploycompress.quantize.names import fresh_name, taken_names

HARD_SWISH = 1 / 6, 0.5
"""Alpha and beta of its gate."""
STEPS = 255  # from the lowest to the highest of 256 codes
ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class _Gate:
    """A HardSwish or HardSigmoid that reads codes and gives codes, and the node that writes these."""

    node: Node
    quantize: Node
    alpha: float
    beta: float


def integer_gates(graph: Graph) -> Graph:
    """Rewrite every HardSwish and HardSigmoid that stands between a DequantizeLinear and a QuantizeLinear.

    Args:
        graph: 8-bit network in the form of ONNX Runtime's processor provider.

    Returns:
        The rewritten graph; the graph itself where there is nothing to do.
    """
    producers, readers = graph.producers(), graph.readers()
    uses = graph.uses()
    lone = {name for name, found in readers.items() if len(found) == uses[name] == 1} & set(graph.shapes)
    between = (node for node in graph.nodes if node.outputs[0] in lone)
    gates = [gate for node in between if (gate := _gate(graph, node, producers, readers)) is not None]
    if not gates:
        return graph
    draft = _Draft(taken=taken_names(graph), shapes=dict(graph.shapes))
    written: dict[str, tuple[Node, ...]] = {}
    for gate in gates:
        written |= _sigmoid(graph, gate, draft) if gate.node.op == "HardSigmoid" else _swish(graph, gate, draft)
    nodes = tuple(new for node in graph.nodes for new in written.get(node.name, (node,)))
    return replace(graph.with_weights(draft.constants), nodes=nodes, shapes=draft.shapes)


def _gate(
    graph: Graph, node: Node, producers: Mapping[str, Node], readers: Mapping[str, list[tuple[Node, int]]]
) -> _Gate | None:
    if not node.is_standard or node.op not in ("HardSwish", "HardSigmoid"):
        return None
    source, (quantize, _) = producers.get(node.input(0)), readers[node.outputs[0]][0]
    if source is None or source.op != DEQUANTIZE or quantize.op != QUANTIZE:
        return None
    if graph.weights[quantize.input(2)].dtype != np.uint8:  # on x86 ONNX Runtime adds signed codes in float
        return None
    if node.op == "HardSwish":
        return _Gate(node, quantize, *HARD_SWISH)
    alpha, beta = (float(node.attributes.get(name, usual)) for name, usual in (("alpha", 0.2), ("beta", 0.5)))
    fits = alpha > 0 and beta > 0 and _ends_at_zero_and_one(graph, quantize)
    return _Gate(node, quantize, alpha, beta) if fits else None


def _ends_at_zero_and_one(graph: Graph, quantize: Node) -> bool:
    """Whether no code stands for less than zero or for more than one."""
    scale, zero_point = (graph.weights[name] for name in quantize.inputs[1:3])
    return bool(zero_point == 0 and scale * STEPS <= 1 + ROUNDING)


@dataclass(frozen=True, slots=True)
class _Draft:
    """What is added to a graph, under names that begin with the tensor that a gate gives."""

    taken: set[str]
    shapes: dict[str, Shape]
    constants: dict[str, Array] = field(default_factory=dict)

    def constant(self, gate: _Gate, part: str, value: Array) -> str:
        name = fresh_name(f"{gate.node.outputs[0]}.{part}", self.taken)
        self.constants[name] = value
        return name

    def node(self, gate: _Gate, part: str, op: str, *inputs: str, shape: Shape) -> Node:
        name = fresh_name(f"{gate.node.outputs[0]}.{part}", self.taken)
        self.shapes[name] = shape
        return Node(name=name, op=op, inputs=inputs, outputs=(name,))


def _sigmoid(graph: Graph, gate: _Gate, draft: _Draft) -> dict[str, tuple[Node, ...]]:
    """Write a HardSigmoid: a sum, whose codes are those of the result."""
    scale_name, zero_point = gate.quantize.inputs[1:3]
    scale = draft.constant(gate, "sum_scale", _wider(graph.weights[scale_name], gate))
    *before, total = _sum(graph, gate, draft)
    quantize = replace(gate.quantize, inputs=(total.outputs[0], scale, zero_point))
    draft.shapes.pop(gate.node.outputs[0], None)
    return {gate.node.name: (*before, total), gate.quantize.name: (quantize,)}


def _swish(graph: Graph, gate: _Gate, draft: _Draft) -> dict[str, tuple[Node, ...]]:
    """Write a HardSwish: a sum, whose codes stand for the gate's values, and the product with it."""
    shape = graph.shapes[gate.node.outputs[0]]
    step = np.array(1 / STEPS, np.float32)
    scales = draft.constant(gate, "sum_scale", _wider(step, gate)), draft.constant(gate, "gate_scale", step)
    lowest = draft.constant(gate, "gate_zero_point", np.array(0, np.uint8))
    *before, total = _sum(graph, gate, draft)
    codes = draft.node(gate, "gate_codes", QUANTIZE, total.outputs[0], scales[0], lowest, shape=shape)
    opened = draft.node(gate, "gate", DEQUANTIZE, codes.outputs[0], scales[1], lowest, shape=shape)
    product = replace(gate.node, op="Mul", inputs=(gate.node.input(0), opened.outputs[0]))
    return {gate.node.name: (*before, total, codes, opened, product)}


def _sum(graph: Graph, gate: _Gate, draft: _Draft) -> tuple[Node, Node]:
    """Add beta / alpha, as the highest of 256 codes."""
    parts: dict[str, Array] = {
        "offset_codes": np.array(STEPS, np.uint8),
        "offset_scale": np.array(gate.beta / gate.alpha / STEPS, np.float32),
        "offset_zero_point": np.array(0, np.uint8),
    }
    names = [draft.constant(gate, part, value) for part, value in parts.items()]
    offset = draft.node(gate, "offset", DEQUANTIZE, *names, shape=())
    shape = graph.shapes[gate.node.outputs[0]]
    return offset, draft.node(gate, "sum", "Add", gate.node.input(0), offset.outputs[0], shape=shape)


def _wider(scale: Array, gate: _Gate) -> Array:
    return np.asarray(scale / gate.alpha, np.float32)
