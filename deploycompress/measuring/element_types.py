"""The element type of every tensor of a graph, which a graph's records do not hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import onnx
from onnx import helper

from deploycompress.graph import Graph

SINGLE_BYTES = 4


def element_types(graph: Graph) -> Mapping[str, int]:
    """Infer the element types, in ONNX's numbering; absent is what operators give that ONNX does not know."""
    ports = [helper.make_tensor_value_info(port.name, port.dtype, None) for port in graph.inputs]
    constants = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
        for name, array in graph.weights.items()
    ]
    model = replace(graph, weights={}).to_onnx()
    bare = helper.make_model(
        helper.make_graph(model.graph.node, "types", [*ports, *constants], []), opset_imports=model.opset_import
    )
    inferred = onnx.shape_inference.infer_shapes(bare).graph
    found = {value.name: value.type.tensor_type.elem_type for value in (*inferred.input, *inferred.value_info)}
    return {name: kind for name, kind in found.items() if kind}


def element_bytes(kind: int | None) -> int:
    """Give the bytes of an element; those of single precision where the type is unknown."""
    return SINGLE_BYTES if kind is None else int(helper.tensor_dtype_to_np_dtype(kind).itemsize)
