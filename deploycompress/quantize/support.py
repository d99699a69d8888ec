"""What of a network cannot have a lower precision, with why, and which models are refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from deploycompress.errors import ModelError
from deploycompress.graph import Graph, Node
from deploycompress.precision import Precision
from deploycompress.quantize.constants import with_plain_weights
from deploycompress.quantize.half_operators import why_not_half
from deploycompress.quantize.layers import layer_of, why_not_int8
from deploycompress.quantize.operators import is_bounding, is_quantized
from deploycompress.quantize.placement import place

NARROW = frozenset({"float16", "bfloat16"})

SMALLEST_OPSET = 13
"""From this version of ONNX's operator set on, scales go along an axis."""


def require_float(graph: Graph) -> None:
    """Refuse a model that somebody quantised already.

    Raises:
        ModelError: it is one.
    """
    done = next((node for node in graph.nodes if is_quantized(node)), None)
    if done is not None:
        raise ModelError(
            f"The model is quantised already: node {done.name!r} is {done.op}. Give the float model that it was made "
            "from; it is quantised here, after it has been compressed."
        )


def require_single(graph: Graph) -> None:
    """Refuse a model whose weights have 16 bits already.

    Raises:
        ModelError: a constant has.
    """
    narrow = next((name for name, array in graph.weights.items() if array.dtype.name in NARROW), None)
    if narrow is not None:
        raise ModelError(
            f"Constant {narrow!r} of the model is {graph.weights[narrow].dtype.name} already, expected float32; give "
            "the float32 model it was made from, or ship it in fp32, which leaves it as it is."
        )


def plain_single(shipped: Graph) -> Graph:
    """Refuse a model of lower precision already, and see its parameters through Transpose, Identity and Cast.

    Raises:
        ModelError: it is quantised, or its weights have 16 bits.
    """
    require_float(shipped)
    require_single(shipped)
    return with_plain_weights(shipped)


def require_opset(graph: Graph) -> None:
    """Refuse a model whose operator set cannot say what 8-bit graphs need.

    Raises:
        ModelError: it is older than 13.
    """
    if graph.opset < SMALLEST_OPSET:
        raise ModelError(
            f"The model uses version {graph.opset} of ONNX's operator set, and 8-bit graphs need {SMALLEST_OPSET}; "
            f"export it with opset {SMALLEST_OPSET} to 17, or ship it in fp32."
        )


def kept_single(graph: Graph, precision: Precision) -> Mapping[str, str]:
    """Name what stays in single precision because it has to, and why.

    Args:
        graph: float network in the form that ships.
        precision: what is asked for.

    Returns:
        The reason, for each layer by the name of its weight without `.weight`, and for each other node that computes
        with numbers by its own name. Equal reasons are equal texts.
    """
    if precision is Precision.FP32:
        return {}
    plain = with_plain_weights(graph)
    if precision is Precision.FP16:
        reasons = ((node, why_not_half(node, plain)) for node in plain.nodes)
        return {_name(node, plain): reason for node, reason in reasons if reason}
    return {_name(node, plain): reason for node, reason in _float_nodes(plain)}


def _float_nodes(graph: Graph) -> Iterator[tuple[Node, str]]:
    """Find what computes with float numbers beside layers in 8 bits."""
    placement = place(graph, ())
    data = {port.name for port in graph.inputs}
    for node in graph.nodes:
        if not data.intersection(node.reads):
            continue
        data.update(node.outputs)
        vanishes = is_bounding(node, graph) and node.input(0) not in placement.scaled_as
        if node.name in placement.nodes or (vanishes and node.outputs[0] in placement.scaled_as):
            continue
        reason = why_not_int8(node, graph)
        yield node, reason or f"{node.op} is computed in float here"


def _name(node: Node, graph: Graph) -> str:
    return layer_of(node, graph) or node.name
