"""Drafts: graphs whose shapes are not settled yet, read from any ONNX model and completed to real graphs at the end.

A draft is a `Graph` with empty `shapes`. Constant nodes are weights already, and nodes stand in execution order.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import onnx
from onnx import helper, numpy_helper

from deploycompress.errors import ModelError
from deploycompress.graph import (
    DEFAULT_DOMAINS,
    LARGEST_SHAPE_CONSTANT,
    Array,
    Graph,
    Node,
    Port,
    Shape,
    nodes_from_onnx,
    port_from_onnx,
)

BATCH = "N"
LARGEST_TENSOR = 1 << 30  # elements; 4 GiB as float32


def draft_from_onnx(model: onnx.ModelProto) -> Graph:
    """Read an ONNX model without asking for shapes.

    Raises:
        ModelError: a constant is damaged, the nodes form a cycle, or an input or output is no tensor.
    """
    try:
        weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        constants = {n.output[0]: _constant_value(n) for n in model.graph.node if _is_plain_constant(n)}
    except (ValueError, TypeError, IndexError) as error:
        raise ModelError(f"A constant of the model is damaged ({error}); export the model again.") from error
    weights |= {name: value for name, value in constants.items() if value is not None}
    nodes = [node for node in model.graph.node if not (_is_plain_constant(node) and node.output[0] in weights)]
    inputs = tuple(port_from_onnx(value) for value in model.graph.input if value.name not in weights)
    return Graph(
        nodes=_sorted_nodes(list(nodes_from_onnx(nodes)), {*weights, *(port.name for port in inputs)}),
        weights=weights,
        inputs=inputs,
        outputs=tuple(port_from_onnx(value) for value in model.graph.output),
        shapes={},
        opset=max(entry.version for entry in model.opset_import if entry.domain in DEFAULT_DOMAINS),
        ir_version=model.ir_version,
        domains={entry.domain: entry.version for entry in model.opset_import if entry.domain not in DEFAULT_DOMAINS},
    )


def infer_types(draft: Graph, batch: int) -> dict[str, tuple[int, Shape | None]]:
    """Infer element type and shape of every tensor at one batch size.

    Args:
        draft: what to infer on; axis `BATCH` of its inputs is the batch.
        batch: samples per batch.

    Returns:
        Element type and shape by tensor name; the shape is None where it cannot be told.

    Raises:
        ModelError: operators and shapes contradict each other.
    """
    small = {n: w for n, w in draft.weights.items() if w.size <= LARGEST_SHAPE_CONSTANT and w.dtype.kind in "iub"}
    typed = {n: Port(name=n, dtype=_element_type(w), shape=w.shape) for n, w in draft.weights.items()}
    inputs = [replace(p, shape=tuple(batch if axis == BATCH else axis for axis in p.shape)) for p in draft.inputs]
    inputs += [port for name, port in typed.items() if name not in small]
    model = replace(draft, weights=small, inputs=tuple(inputs)).to_onnx()
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    try:
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except onnx.shape_inference.InferenceError as error:
        raise ModelError(f"The model's shapes contradict each other ({error}); export it again.") from error
    found: dict[str, tuple[int, Shape | None]] = {port.name: (port.dtype, _static(port)) for port in typed.values()}
    found |= {port.name: (port.dtype, _static(port)) for port in inputs}
    for value in (*inferred.value_info, *inferred.output):
        port = port_from_onnx(value)
        shape = _static(port) if value.type.tensor_type.HasField("shape") else None
        found[value.name] = (port.dtype, shape)
    return found


def refuse_huge_tensors(draft: Graph) -> None:
    """Refuse a model that computes a tensor of absurd size, before anything allocates it.

    Raises:
        ModelError: a tensor has more than `LARGEST_TENSOR` elements at batch one.
    """
    for node in draft.nodes:  # first those that shape inference itself would fill
        sizes = draft.weights.get(node.input(0))
        if node.op == "ConstantOfShape" and sizes is not None:
            _refuse_if_huge(node.outputs[0], tuple(sizes.tolist()))
    for name, (_, shape) in infer_types(draft, batch=1).items():
        _refuse_if_huge(name, shape or ())


def _refuse_if_huge(name: str, shape: Shape) -> None:
    if math.prod(shape) > LARGEST_TENSOR:
        raise ModelError(
            f"Tensor {name!r} would have {math.prod(shape)} elements, over {LARGEST_TENSOR}; "
            "the file is damaged, or --input-shape is far too large."
        )


def _static(port: Port) -> Shape | None:
    sizes = tuple(axis for axis in port.shape if isinstance(axis, int))
    return sizes if len(sizes) == len(port.shape) else None


def _element_type(array: Array) -> int:
    return int(helper.np_dtype_to_tensor_dtype(array.dtype))


def _is_plain_constant(node: onnx.NodeProto) -> bool:
    return node.op_type == "Constant" and node.domain in DEFAULT_DOMAINS and len(node.output) == 1


def _constant_value(node: onnx.NodeProto) -> Array | None:
    attribute = node.attribute[0]
    value = helper.get_attribute_value(attribute)
    if attribute.name == "value":
        return numpy_helper.to_array(value)
    if attribute.name in ("value_int", "value_ints"):
        return np.asarray(value, dtype=np.int64)
    if attribute.name in ("value_float", "value_floats"):
        return np.asarray(value, dtype=np.float32)
    return None


def _sorted_nodes(nodes: list[Node], known: set[str]) -> tuple[Node, ...]:
    """Order nodes so that each follows what it reads, keeping the file's order where it already does."""
    ordered: list[Node] = []
    waiting = nodes
    while waiting:
        late: list[Node] = []
        for node in waiting:
            if all(name in known or not name for name in node.inputs):
                ordered.append(node)
                known.update(node.outputs)
            else:
                late.append(node)
        if len(late) == len(waiting):
            raise ModelError(f"Node {late[0].name!r} reads a tensor that nothing makes; export the model again.")
        waiting = late
    return tuple(ordered)
