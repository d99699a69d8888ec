"""Computes single ONNX nodes on known operands, as the standard's own reference says, within bounds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import final

import numpy as np
import onnx
from onnx import helper
from onnx.reference import ReferenceEvaluator

from deploycompress.graph import Array, Node, Shape, attribute_to_onnx

LARGEST_RESULT = 1 << 24  # elements; nothing may grow the file without bound
LARGEST_UNKNOWN = 4096  # elements fed to a node whose result size is unknown
# Random by nature, the marks that keep a quantised model quantised, control flow, and what is no tensor.
NEVER_EVALUATED = frozenset(
    {
        "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli", "Multinomial",
        "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear",
        "If", "Loop", "Scan",
        "SequenceEmpty", "SequenceConstruct", "SequenceInsert", "SequenceErase", "SequenceAt", "SequenceLength",
        "SequenceMap", "SplitToSequence", "ConcatFromSequence", "Optional", "OptionalGetElement", "OptionalHasElement",
    }
)  # fmt: skip
EVALUATION_ERRORS = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)


@final
class Evaluator:
    """Runs nodes one by one; nodes that are alike share what had to be prepared for them."""

    def __init__(self, opset: int) -> None:
        self._opset = opset
        self._prepared: dict[bytes, ReferenceEvaluator] = {}

    def run(self, node: Node, operands: Sequence[Array]) -> list[Array] | None:
        """Compute a node's outputs, or give None where the reference cannot.

        Args:
            node: operator of ONNX's own set.
            operands: values of the inputs that are not omitted, in order.
        """
        names = iter(f"i{position}" for position in range(len(operands)))
        inputs = [next(names) if name else "" for name in node.inputs]
        outputs = [f"o{position}" if name else "" for position, name in enumerate(node.outputs)]
        proto = helper.make_node(node.op, inputs, outputs)
        proto.attribute.extend(attribute_to_onnx(key, node.attributes[key]) for key in sorted(node.attributes))
        try:
            prepared = self._prepare(proto)
            feeds = {f"i{position}": operand for position, operand in enumerate(operands)}
            results = prepared.run(None, feeds)
        except EVALUATION_ERRORS:  # the reference lacks some operators: then the node simply stays
            return None
        return [np.asarray(result) for result in results]

    def _prepare(self, proto: onnx.NodeProto) -> ReferenceEvaluator:
        key = bytes(proto.SerializeToString(deterministic=True))
        if key not in self._prepared:
            sides = (proto.input, proto.output)
            inputs, outputs = ([onnx.ValueInfoProto(name=name) for name in names if name] for names in sides)
            graph = helper.make_graph([proto], "node", inputs, outputs)
            model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self._opset)])
            self._prepared[key] = ReferenceEvaluator(model)
        return self._prepared[key]


def is_bounded(node: Node, operands: Sequence[Array], results: Sequence[Shape | None]) -> bool:
    """Tell whether evaluating a node cannot explode: its results are known to be small, or so are its operands.

    Args:
        node: what would be evaluated.
        operands: values of its inputs.
        results: shape of each output, None where it is unknown.
    """
    known = [math.prod(shape) for shape in results if shape is not None]
    if len(known) == len(results):
        largest = max(LARGEST_RESULT, sum(operand.size for operand in operands))
        return all(size <= largest for size in known)
    if node.op in ("ConstantOfShape", "Expand", "Tile"):
        grown = operands[0].size if node.op != "ConstantOfShape" else 1
        return bool(np.prod(operands[-1].astype(np.float64)) * grown <= LARGEST_RESULT)
    if node.op == "Range":
        start, limit, step = (float(operand) for operand in operands)
        return step != 0 and (limit - start) / step <= LARGEST_RESULT
    is_growing = node.op in ("Resize", "Upsample", "Pad", "OneHot", "EyeLike")
    return not is_growing and all(operand.size <= LARGEST_UNKNOWN for operand in operands)
