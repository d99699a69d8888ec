"""What is known of a draft before it runs: element types, shapes and values, at two batch sizes side by side.

One walk over the nodes does it: values feed the inference of shapes, and shapes are values to those who ask for them.
What comes out equal at both sizes is static; what differs depends on the batch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import numpy as np
import onnx
from onnx import defs, helper, numpy_helper, shape_inference

from deploycompress.capturing.draft import BATCH
from deploycompress.capturing.evaluate import NEVER_EVALUATED, Evaluator, is_bounded
from deploycompress.errors import ModelError
from deploycompress.graph import LARGEST_SHAPE_CONSTANT, UNKNOWN_SIZE, Array, Graph, Node, Shape

BATCHES = (2, 3)
LARGEST_OF_BATCH = 4096  # elements of a value that depends on the batch

Pair = tuple[Array, Array]  # a value at each of the two batch sizes; one and the same object when it is constant
ShapePair = tuple[Shape, Shape]
TypePair = tuple[onnx.TypeProto, onnx.TypeProto]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchView:
    """What is known of a draft at the two batch sizes.

    Attributes:
        types: element type of each tensor.
        shapes: shape of each tensor at both batch sizes, where all of it is known at both.
        partial: the same for every tensor of known rank, with `UNKNOWN_SIZE` for what depends on the data.
        values: value of each computed or constant tensor that does not depend on data.
    """

    types: Mapping[str, int]
    shapes: Mapping[str, ShapePair]
    partial: Mapping[str, ShapePair]
    values: Mapping[str, Pair]


def view_at(draft: Graph, batches: tuple[int, int] = BATCHES) -> BatchView:
    """Infer shapes and evaluate everything that does not depend on data, at two batch sizes.

    Args:
        draft: what to look at; axis `BATCH` of its inputs is the batch.
        batches: the two sizes.

    Raises:
        ModelError: operators and shapes contradict each other; the message names the node.
    """
    walk = Walk(draft, batches)
    for node in draft.nodes:
        walk.visit(node)
    return walk.view()


@final
class Walk:
    """Grows with every visited node; nodes must come in execution order."""

    def __init__(self, draft: Graph, batches: tuple[int, int] = BATCHES) -> None:
        self._evaluator = Evaluator(draft.opset)
        self._versions = {"": draft.opset, **draft.domains}
        self._types: dict[str, TypePair] = {}
        self._values: dict[str, Pair] = {}
        for name, array in draft.weights.items():
            self.define(name, (array, array))
        for port in draft.inputs:
            shapes = ([size if axis == BATCH else axis for axis in port.shape] for size in batches)
            first, second = (helper.make_tensor_type_proto(port.dtype, shape) for shape in shapes)
            self._types[port.name] = (first, first if first == second else second)

    def define(self, name: str, pair: Pair) -> None:
        """Note the value of a tensor."""
        self._values[name] = pair
        first = _type_of(pair[0])
        self._types[name] = (first, first if pair[0].shape == pair[1].shape else _type_of(pair[1]))

    def value(self, name: str) -> Pair | None:
        """Give the value of a tensor, None when it depends on data."""
        return self._values.get(name)

    def shapes(self, name: str) -> ShapePair | None:
        """Give the shapes of a tensor, None unless they are known whole."""
        pair = self.partial(name)
        return None if pair is None or UNKNOWN_SIZE in (*pair[0], *pair[1]) else pair

    def partial(self, name: str) -> ShapePair | None:
        """Give the shapes of a tensor as far as they are known, None where even the rank is not."""
        pair = self._types.get(name)
        shapes = (None, None) if pair is None else (_shape_of(pair[0]), _shape_of(pair[1]))
        return None if shapes[0] is None or shapes[1] is None else (shapes[0], shapes[1])

    def visit(self, node: Node) -> None:
        """Infer what a node makes, and compute it where its inputs are known.

        Raises:
            ModelError: the node cannot work on inputs of these shapes.
        """
        for name, types in zip(node.outputs, self._inferred(node), strict=False):
            if name and types is not None:
                self._types[name] = types
        for name, pair in zip(node.outputs, self._evaluated(node), strict=False):
            if name:
                self.define(name, pair)

    def view(self) -> BatchView:
        """Give what the visited nodes made known."""
        partial = {name: pair for name in self._types if (pair := self.partial(name)) is not None}
        return BatchView(
            types={n: t[0].tensor_type.elem_type for n, t in self._types.items() if t[0].HasField("tensor_type")},
            shapes={n: p for n, p in partial.items() if UNKNOWN_SIZE not in (*p[0], *p[1])},
            partial=partial,
            values=dict(self._values),
        )

    def _inferred(self, node: Node) -> tuple[TypePair | None, ...]:
        if any(name not in self._types for name in node.reads) or not defs.has(
            node.op, self._versions.get(node.domain, 1), node.domain
        ):
            return ()
        first = self._infer(node, 0)
        depends = any(self._types[name][0] is not self._types[name][1] for name in node.reads) or any(
            pair[0] is not pair[1] for name in node.inputs if (pair := self._values.get(name)) is not None
        )
        second = self._infer(node, 1) if depends else first
        return tuple(_paired(first.get(name), second.get(name)) for name in node.outputs)

    def _infer(self, node: Node, side: int) -> Mapping[str, onnx.TypeProto]:
        version = self._versions.get(node.domain, 1)
        proto = helper.make_node(node.op, node.inputs, node.outputs, name=node.name, domain=node.domain)
        proto.attribute.extend(helper.make_attribute(key, node.attributes[key]) for key in node.attributes)
        known = {name: self._values[name][side] for name in node.inputs if name in self._values}
        small = {n: numpy_helper.from_array(v, n) for n, v in known.items() if v.size <= LARGEST_SHAPE_CONSTANT}
        try:
            return shape_inference.infer_node_outputs(
                defs.get_schema(node.op, version, node.domain),
                proto,
                {name: self._types[name][side] for name in node.reads},
                small,
                opset_imports=[helper.make_opsetid(domain, number) for domain, number in self._versions.items()],
            )
        except (shape_inference.InferenceError, onnx.checker.ValidationError) as error:
            raise ModelError(
                f"Node {node.name!r} ({node.op}) does not fit its inputs of shapes "
                f"{self._shown(node, side)}: {str(error).strip().splitlines()[0][:200]}; export the model again."
            ) from error

    def _shown(self, node: Node, side: int) -> str:
        return ", ".join(str(_shape_of(self._types[name][side])) for name in node.inputs if name)

    def _evaluated(self, node: Node) -> tuple[Pair, ...]:
        if not node.is_standard or node.op in NEVER_EVALUATED:
            return ()
        if node.op in ("Shape", "Size"):
            return self._shape_values(node)
        pairs = [self._values.get(name) for name in node.inputs if name]
        operands = [pair for pair in pairs if pair is not None]
        results = [self.shapes(name) for name in node.outputs if name]
        largest = [None if pair is None else pair[1] for pair in results]
        if len(operands) < len(pairs) or not is_bounded(node, [pair[1] for pair in operands], largest):
            return ()
        is_constant = all(pair[0] is pair[1] for pair in operands)
        if not is_constant and any(math.prod(shape) > LARGEST_OF_BATCH for shape in largest if shape is not None):
            return ()  # it cannot become a constant, and nobody names a shape with so many numbers
        first = self._evaluator.run(node, [pair[0] for pair in operands])
        second = first if is_constant else self._evaluator.run(node, [pair[1] for pair in operands])
        if first is None or second is None or len(first) != len(second):
            return ()
        return tuple(_merged(a, b) for a, b in zip(first, second, strict=True))

    def _shape_values(self, node: Node) -> tuple[Pair, ...]:
        shapes = self.partial(node.inputs[0])
        if shapes is None:
            return ()
        start, end = node.attributes.get("start", 0), node.attributes.get("end")
        first, second = (shape if node.op == "Size" else shape[start:end] for shape in shapes)
        if UNKNOWN_SIZE in (*first, *second):
            return ()
        if node.op == "Size":
            return (_merged(np.asarray(math.prod(first), np.int64), np.asarray(math.prod(second), np.int64)),)
        return (_merged(np.asarray(first, np.int64), np.asarray(second, np.int64)),)


def _merged(first: Array, second: Array) -> Pair:
    return (first, first) if first is second or np.array_equal(first, second) else (first, second)


def _paired(first: onnx.TypeProto | None, second: onnx.TypeProto | None) -> TypePair | None:
    if first is None or second is None:
        return None
    return (first, first if first is second or first == second else second)


def _type_of(array: Array) -> onnx.TypeProto:
    return helper.make_tensor_type_proto(int(helper.np_dtype_to_tensor_dtype(array.dtype)), array.shape)


def _shape_of(kind: onnx.TypeProto) -> Shape | None:
    if not kind.HasField("tensor_type") or not kind.tensor_type.HasField("shape"):
        return None
    return tuple(axis.dim_value if axis.HasField("dim_value") else UNKNOWN_SIZE for axis in kind.tensor_type.shape.dim)
