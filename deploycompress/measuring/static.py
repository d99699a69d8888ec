"""What a graph costs by arithmetic alone: parameters, multiply-accumulates, bytes. No clock, no ONNX Runtime."""

from __future__ import annotations

import math
from collections.abc import Mapping

from deploycompress.graph import Array, Graph, Node
from deploycompress.measuring.element_types import element_bytes, element_types
from deploycompress.measuring.integer_kernels import fused_tensors
from deploycompress.views import ROUNDING, constant_views

_WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
_SCALED = frozenset(
    {"BatchNormalization", "InstanceNormalization", "LayerNormalization", "GroupNormalization", "PRelu"}
)
_ALIASES = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout"})
_IN_PLACE = frozenset(
    {
        "Relu",
        "Clip",
        "LeakyRelu",
        "Elu",
        "Sigmoid",
        "HardSigmoid",
        "Tanh",
        "HardSwish",
        "BatchNormalization",
        "Softplus",
    }
)


def params(graph: Graph) -> int:
    """Count the trained parameters.

    These are the floating-point constants that convolutions and matrix products (weight and bias) and norms and PReLU
    (scale and bias) read, and a constant added to a matrix product, which is how a bias looks there. Running means and
    variances are statistics, not parameters. A constant that several nodes share counts once, and one that reaches a
    node turned, cast or rounded to 8 bits counts like any other, so a network has as many in every precision.
    """
    return sum(int(graph.weights[name].size) for name in trained_constants(graph))


def trained_constants(graph: Graph) -> frozenset[str]:
    """Name the constants whose elements `params` counts."""
    producers, views = graph.producers(), constant_views(graph, rounded=True)
    read = {name for node in graph.nodes for name in _trained_inputs(node, producers)}
    seen = [views[name] for name in read if name in views]
    return frozenset(view.constant for view in seen if view.is_rounded or _is_float(graph.weights[view.constant]))


def macs(graph: Graph) -> int:
    """Count the multiply-accumulate operations of convolutions and matrix products for one sample.

    Raises:
        ModelError: a size that is needed depends on the data.
    """
    return sum(node_macs(graph, node) for node in graph.nodes)


def node_macs(graph: Graph, node: Node) -> int:
    """Count the multiply-accumulate operations of one node for one sample, zero for operators that have none.

    Raises:
        ModelError: a size that is needed depends on the data.
    """
    if not node.is_standard or node.op not in _WEIGHTED:
        return 0
    first, second = graph.static_shape_of(node.inputs[0]), graph.static_shape_of(node.inputs[1])
    if node.op == "ConvTranspose":
        return math.prod(first) * math.prod(second[1:])
    output = math.prod(graph.static_shape_of(node.outputs[0]))
    if node.op == "Conv":
        return output * math.prod(second[1:])
    if node.op == "Gemm":
        return output * first[0 if node.attributes.get("transA", 0) else 1]
    return output * first[-1]


def weights_bytes(graph: Graph) -> int:
    """Sum the bytes of all constants, trained or not."""
    return sum(int(array.nbytes) for array in graph.weights.values())


def activation_peak_bytes(graph: Graph) -> int:
    """Find the largest sum of tensors that live at once while the nodes run in order, for one sample.

    Counted are tensors that nodes compute, outputs of the graph with them; inputs belong to the caller. Activation
    functions and batch norms write over their input when nobody reads it afterwards, and reshapes share its memory.
    Scratch space of kernels is not counted, nor weights that are turned, cast or rounded: ONNX Runtime does so
    beforehand. Between 8-bit kernels there are codes and no float tensors.
    """
    fused, types = fused_tensors(graph), element_types(graph)
    storage = _storage(graph, fused)
    last_use = {storage[port.name]: len(graph.nodes) for port in graph.outputs if port.name in storage}
    for position, node in reversed(list(enumerate(graph.nodes))):
        for name in (*node.inputs, *node.outputs):
            if name in storage:
                last_use.setdefault(storage[name], position)
    sizes: dict[str, int] = {}
    for name, buffer in storage.items():
        size = element_bytes(types.get(fused.get(name, name))) * math.prod(graph.shape_of(name))
        sizes[buffer] = max(sizes.get(buffer, 0), size)
    live: set[str] = set()
    peak = 0
    for position, node in enumerate(graph.nodes):
        live.update(storage[name] for name in node.outputs if name in storage)
        peak = max(peak, sum(sizes[buffer] for buffer in live))
        live = {buffer for buffer in live if last_use[buffer] > position}
    return peak


def _storage(graph: Graph, fused: Mapping[str, str]) -> dict[str, str]:
    """Map each computed tensor to the first tensor that held its memory."""
    readers = graph.readers()
    outputs = {port.name for port in graph.outputs}
    storage: dict[str, str] = {}
    views = constant_views(graph, rounded=True)
    for node in graph.nodes:
        if all(name in views for name in node.outputs):
            continue
        source = node.input(0)
        sole_reader = len(readers.get(source, ())) == 1 and source not in outputs
        is_same = node.op in _ALIASES or (node.op in _IN_PLACE and sole_reader) or _is_fused_away(node, fused)
        shares = source in storage and is_same
        for name in filter(None, node.outputs):
            storage[name] = storage[source] if shares else name
    return storage


def _is_fused_away(node: Node, fused: Mapping[str, str]) -> bool:
    """Whether a node only turns the codes that a kernel gives or takes to float and back."""
    before, after = node.input(0), node.outputs[0]
    return node.op in ROUNDING and (fused.get(after) == before or fused.get(before) == after)


def _is_float(array: Array) -> bool:
    return array.dtype.kind == "f" or "float" in array.dtype.name


def _trained_inputs(node: Node, producers: Mapping[str, Node]) -> tuple[str, ...]:
    if not node.is_standard:
        return ()
    if node.op in _WEIGHTED:
        return node.inputs
    if node.op in _SCALED:
        return node.inputs[1:3]
    if node.op == "Add" and any(_maker(name, producers) == "MatMul" for name in node.inputs):
        return node.inputs
    return ()


def _maker(tensor: str, producers: Mapping[str, Node]) -> str:
    """Give the operator that computes a tensor, whatever changes its element type behind it."""
    while tensor in producers and producers[tensor].op in ROUNDING | {"Cast"}:
        tensor = producers[tensor].input(0)
    return producers[tensor].op if tensor in producers else ""
