"""Single layers that can be taken out: norms, activations and poolings alone, and whole layers around a weight.

Norms and activations that an exporter wrote as several operators are found as regions with one entry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from deploycompress.surgery.wiring import Wiring

ACTIVATIONS = frozenset(
    {
        *("Celu", "Clip", "Elu", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu", "Mish", "PRelu", "Relu", "Selu"),
        *("Sigmoid", "Softplus", "Softsign", "Swish", "Tanh", "ThresholdedRelu"),
    }
)
NORMS = frozenset(
    {
        *("BatchNormalization", "GroupNormalization", "InstanceNormalization", "LayerNormalization"),
        *("LpNormalization", "LRN", "MeanVarianceNormalization", "RMSNormalization"),
    }
)
POOLS = frozenset({"AveragePool", "LpPool", "MaxPool"})
ARITHMETIC = frozenset(
    {"Abs", "Add", "Div", "Erf", "Exp", "Log", "Max", "Min", "Mul", "Neg", "Pow", "Reciprocal", "Sqrt", "Sub"}
)
LARGEST_REGION = 16
"""Operators in the longest spelling of one activation or norm that is looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A part with one entry and one exit of the same shape.

    Attributes:
        kind: `norm`, `activation`, `pool` or `layer`.
        entry: tensor that enters it.
        output: tensor that leaves it.
        nodes: positions of its nodes in the graph.
    """

    kind: str
    entry: str
    output: str
    nodes: frozenset[int]


def elementary_steps(wiring: Wiring) -> dict[str, Step]:
    """Find norms, activations and poolings that keep the shape, by the tensor that enters them, in graph order.

    An operator that is one word of a longer spelling is not a step of its own: `Sigmoid` within SiLU.
    """
    composite = [step for index in range(len(wiring.graph.nodes)) if (step := _composite(wiring, index))]
    spelled = {index for step in composite for index in step.nodes}
    single = [
        step
        for index in range(len(wiring.graph.nodes))
        if index not in spelled and (step := _single(wiring, index)) is not None
    ]
    return {step.output: step for step in sorted([*composite, *single], key=lambda step: max(step.nodes))}


def layers(wiring: Wiring, steps: Mapping[str, Step]) -> Iterator[Step]:
    """Find weights whose output has the shape of the input, with the bias, norm and activation that only follow them.

    Args:
        wiring: edges of the graph.
        steps: what `elementary_steps` found.
    """
    by_entry: dict[str, list[Step]] = {}
    for step in steps.values():
        by_entry.setdefault(step.entry, []).append(step)
    for index, node in enumerate(wiring.graph.nodes):
        entry = _layer_entry(wiring, index)
        if entry is None:
            continue
        nodes, output, seen = {index}, node.outputs[0], set[str]()
        while (follower := _follower(wiring, by_entry, output, seen)) is not None:
            nodes |= follower.nodes
            output = follower.output
            seen.add(follower.kind)
        if wiring.have_same_shape(entry, output):
            yield Step(kind="layer", entry=entry, output=output, nodes=frozenset(nodes))


def _single(wiring: Wiring, index: int) -> Step | None:
    node = wiring.graph.nodes[index]
    kind = _kind(node.op)
    if not kind or not node.is_standard or len(node.inputs) == 0:
        return None
    entry, output = node.inputs[0], node.outputs[0]
    only_output = not any(name in wiring.users or name in wiring.outputs for name in node.outputs[1:] if name)
    others_constant = not any(wiring.is_data(name) for name in node.inputs[1:])
    if not (only_output and others_constant and wiring.is_data(entry) and wiring.have_same_shape(entry, output)):
        return None
    return Step(kind=kind, entry=entry, output=output, nodes=frozenset({index}))


def _kind(op: str) -> str:
    kinds = {"norm": NORMS, "activation": ACTIVATIONS, "pool": POOLS}
    return next((kind for kind, operators in kinds.items() if op in operators), "")


def _composite(wiring: Wiring, join: int) -> Step | None:
    """Walk back from a product or quotient of two tensors until everything comes from a single one."""
    node = wiring.graph.nodes[join]
    if node.op not in ("Mul", "Div") or not node.is_standard:
        return None
    frontier = {name for name in node.inputs if wiring.is_data(name)}
    nodes = {join}
    if len(frontier) < 2:
        return None
    while len(frontier) > 1 or _is_centred(wiring, frontier, nodes):
        latest = max(frontier, key=lambda name: wiring.maker.get(name, -1))
        index = wiring.maker.get(latest, -1)
        if index < 0 or len(nodes) == LARGEST_REGION or not _may_join(wiring, index, nodes):
            return None
        nodes.add(index)
        frontier.remove(latest)
        frontier.update(name for name in wiring.reads[index] if wiring.is_data(name))
    kind = _kind_of_composite(wiring, nodes)
    entry, output = frontier.pop(), _scaled(wiring, kind, nodes, node.outputs[0])
    if not kind or not wiring.have_same_shape(entry, output):
        return None
    return Step(kind=kind, entry=entry, output=output, nodes=frozenset(nodes))


def _may_join(wiring: Wiring, index: int, nodes: set[int]) -> bool:
    """Whether a node works position by position or takes a mean, and nothing outside reads what it makes."""
    node = wiring.graph.nodes[index]
    constants = [name for name in node.inputs if name and not wiring.is_data(name)]
    if not node.is_standard or node.op not in ARITHMETIC | ACTIVATIONS | {"ReduceMean"}:
        return False
    if node.op != "ReduceMean" and not all(_is_scalar(wiring, name) for name in constants):
        return False
    output = node.outputs[0]
    return output not in wiring.outputs and wiring.readers(output) <= nodes


def _is_centred(wiring: Wiring, frontier: set[str], nodes: set[int]) -> bool:
    """Whether the single tensor found is a norm's input less its mean, which belongs to the norm."""
    tensor = next(iter(frontier))
    index = wiring.maker.get(tensor, -1)
    is_norm = _kind_of_composite(wiring, nodes) == "norm"
    if not is_norm or index < 0 or wiring.graph.nodes[index].op != "Sub" or not _may_join(wiring, index, nodes):
        return False
    makers = {wiring.maker.get(name, -1) for name in wiring.graph.nodes[index].inputs}
    return any(found >= 0 and wiring.graph.nodes[found].op == "ReduceMean" for found in makers)


def _kind_of_composite(wiring: Wiring, nodes: set[int]) -> str:
    operators = {wiring.graph.nodes[index].op for index in nodes}
    if "ReduceMean" not in operators:
        return "activation"
    return "norm" if "Sqrt" in operators else ""


def _scaled(wiring: Wiring, kind: str, nodes: set[int], output: str) -> str:
    """Take in the constant factor, and for norms the shift, that follow."""
    for operators in (("Mul", "Div"), ("Add",)):
        index = _only_reader(wiring, output)
        if index is None or wiring.graph.nodes[index].op not in operators:
            continue
        node = wiring.graph.nodes[index]
        constant = [name for name in node.inputs if not wiring.is_data(name)]
        if len(constant) != 1:
            continue
        is_fitting = kind == "norm" or (node.op != "Add" and _is_scalar(wiring, constant[0]))
        if is_fitting and wiring.have_same_shape(node.outputs[0], output):
            nodes.add(index)
            output = node.outputs[0]
    return output


def _is_scalar(wiring: Wiring, constant: str) -> bool:
    shape = wiring.shape(constant)
    return shape is not None and all(size == 1 for size in shape)


def _layer_entry(wiring: Wiring, index: int) -> str | None:
    node = wiring.graph.nodes[index]
    if node.op not in ("Conv", "ConvTranspose", "Gemm", "MatMul") or not node.is_standard:
        return None
    data = [name for name in node.inputs if wiring.is_data(name)]
    may_come_second = node.op == "MatMul"
    if len(data) != 1 or not (may_come_second or data[0] == node.inputs[0]) or node.attributes.get("transA", 0):
        return None
    return data[0] if wiring.have_same_shape(data[0], node.outputs[0]) else None


def _follower(wiring: Wiring, by_entry: Mapping[str, list[Step]], tensor: str, seen: set[str]) -> Step | None:
    """Give the bias, norm or activation that alone reads a tensor, each at most once and the bias first."""
    if tensor in wiring.outputs or tensor in wiring.pinned:
        return None
    for step in by_entry.get(tensor, ()):
        if step.kind in ("norm", "activation") and step.kind not in seen and wiring.readers(tensor) <= step.nodes:
            return step
    index = _only_reader(wiring, tensor)
    if seen or index is None or wiring.graph.nodes[index].op != "Add":
        return None
    output = wiring.graph.nodes[index].outputs[0]
    bias = [name for name in wiring.graph.nodes[index].inputs if not wiring.is_data(name)]
    along_one_axis = len(bias) == 1 and sum(size > 1 for size in wiring.shape(bias[0]) or (2, 2)) <= 1
    if not along_one_axis or not wiring.have_same_shape(output, tensor):
        return None
    return Step(kind="bias", entry=tensor, output=output, nodes=frozenset({index}))


def _only_reader(wiring: Wiring, tensor: str) -> int | None:
    users = wiring.users.get(tensor, ())
    return users[0] if len(users) == 1 and tensor not in wiring.outputs else None
