"""Computes ahead whatever does not depend on the input: constants, and arithmetic on shapes.

Shape arithmetic is evaluated at two batch sizes. What comes out equal is a constant; what differs depends on the
batch, and only such values stay in the graph.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx
from onnx import helper
from onnx.reference import ReferenceEvaluator

from deploycompress.capturing.draft import infer_types
from deploycompress.graph import Array, Graph, Node, Shape

BATCHES = (2, 3)
LARGEST_RESULT = 1 << 24  # elements; nothing may grow the file without bound
LARGEST_UNKNOWN = 4096  # elements fed to a node whose result size is unknown
# Random by nature, or the marks that keep a quantised model quantised.
NEVER_FOLDED = frozenset(
    {
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
        "Bernoulli",
        "Multinomial",
        "QuantizeLinear",
        "DequantizeLinear",
        "If",
        "Loop",
        "Scan",
    }
)
EVALUATION_ERRORS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)

Pair = tuple[Array, Array]  # a value at each of the two batch sizes; one and the same object when it is constant


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchView:
    """What is known of a draft at the two batch sizes.

    Attributes:
        types: element type of each tensor.
        shapes: shape of each tensor at both batch sizes, where both are known.
        values: value of each computed or constant tensor that does not depend on data.
    """

    types: Mapping[str, int]
    shapes: Mapping[str, tuple[Shape, Shape]]
    values: Mapping[str, Pair]


def view_at_two_batches(draft: Graph) -> BatchView:
    """Infer shapes and evaluate everything that does not depend on data, at two batch sizes."""
    first, second = (infer_types(draft, batch) for batch in BATCHES)
    shapes = {n: (a[1], second[n][1]) for n, a in first.items() if a[1] is not None and n in second}
    known = {n: (a, b) for n, (a, b) in shapes.items() if b is not None}
    return _evaluated(draft, known, {name: kind for name, (kind, _) in first.items()})


def view_of_constants(draft: Graph) -> BatchView:
    """Evaluate what follows from constants alone, whatever the input's shape."""
    return _evaluated(draft, {}, {})


def _evaluated(draft: Graph, known: dict[str, tuple[Shape, Shape]], types: Mapping[str, int]) -> BatchView:
    values: dict[str, Pair] = {name: (weight, weight) for name, weight in draft.weights.items()}
    for node in draft.nodes:
        results = _evaluate(node, values, known, draft.opset)
        for name, pair in zip(node.outputs, results, strict=False):
            if name:
                values[name] = pair
                known[name] = (pair[0].shape, pair[1].shape)
    return BatchView(types=types, shapes=known, values=values)


def fold_constants(draft: Graph, view: BatchView) -> Graph:
    """Replace nodes by their result where it is the same at every batch size."""
    constants = {name: pair[0] for name, pair in view.values.items() if _is_constant(pair)}
    outputs = {port.name for port in draft.outputs}
    made: dict[str, Array] = {}
    kept: list[Node] = []
    for node in draft.nodes:
        results = {name: constants.get(name) for name in node.outputs if name}
        settled = {name: value for name, value in results.items() if value is not None and name not in outputs}
        if len(settled) < len(results):
            kept.append(node)
        else:
            made |= settled
    return replace(draft, nodes=tuple(kept), weights={**draft.weights, **made}) if made else draft


def _is_constant(pair: Pair) -> bool:
    return pair[0] is pair[1]


def _evaluate(
    node: Node, values: Mapping[str, Pair], shapes: Mapping[str, tuple[Shape, Shape]], opset: int
) -> tuple[Pair, ...]:
    if not node.is_standard or node.op in NEVER_FOLDED:
        return ()
    if node.op in ("Shape", "Size") and node.inputs[0] in shapes:
        return (_merged(*(_shape_value(node, shape) for shape in shapes[node.inputs[0]])),)
    operands = [values[name] for name in node.inputs if name in values]
    if len(operands) < sum(bool(name) for name in node.inputs) or not _is_bounded(node, operands, shapes):
        return ()
    feeds = [{n: values[n][side] for n in node.inputs if n} for side in (0, 1)]
    try:
        first = _run(node, feeds[0], opset)
        second = first if all(_is_constant(pair) for pair in operands) else _run(node, feeds[1], opset)
    except EVALUATION_ERRORS:  # the reference evaluator lacks some operators: then the node simply stays
        return ()
    return tuple(_merged(a, b) for a, b in zip(first, second, strict=True))


def _merged(first: Array, second: Array) -> Pair:
    return (first, first) if first is second or np.array_equal(first, second) else (first, second)


def _shape_value(node: Node, shape: Shape) -> Array:
    if node.op == "Size":
        return np.asarray(math.prod(shape), dtype=np.int64)
    return np.asarray(shape[node.attributes.get("start", 0) : node.attributes.get("end")], dtype=np.int64)


def _is_bounded(node: Node, operands: list[Pair], shapes: Mapping[str, tuple[Shape, Shape]]) -> bool:
    """Tell whether evaluating a node cannot explode: its result is known to be small, or so are its operands."""
    known = [shapes.get(name) for name in node.outputs if name]
    sizes = [math.prod(shape[1]) for shape in known if shape is not None]
    if len(sizes) == len(known):
        largest = max(LARGEST_RESULT, sum(pair[1].size for pair in operands))
        return all(size <= largest for size in sizes)
    if node.op in ("ConstantOfShape", "Expand", "Tile"):
        counts = operands[-1][1].astype(np.float64)
        grown = operands[0][1].size if node.op != "ConstantOfShape" else 1
        return bool(np.prod(counts) * grown <= LARGEST_RESULT)
    if node.op == "Range":
        start, limit, step = (float(pair[1]) for pair in operands)
        return step != 0 and (limit - start) / step <= LARGEST_RESULT
    is_growing = node.op in ("Resize", "Upsample", "Pad", "OneHot", "EyeLike")
    return not is_growing and all(pair[1].size <= LARGEST_UNKNOWN for pair in operands)


def _run(node: Node, feeds: Mapping[str, Array], opset: int) -> list[Array]:
    proto = helper.make_node(node.op, node.inputs, node.outputs, name=node.name, domain=node.domain)
    proto.attribute.extend(helper.make_attribute(key, value) for key, value in node.attributes.items())
    inputs = [_untyped(name) for name in feeds]
    graph = helper.make_graph([proto], "node", inputs, [_untyped(name) for name in node.outputs if name])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    results = ReferenceEvaluator(model).run(None, dict(feeds))
    return [np.asarray(result) for result in results]


def _untyped(name: str) -> onnx.ValueInfoProto:
    return onnx.ValueInfoProto(name=name)
