"""ONNX's own node tests as graphs: what the standard says each operator gives, and what ONNX Runtime gives."""

import functools
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import numpy_helper
from onnx.backend.test.case.test_case import TestCase
from onnx.backend.test.loader import load_model_tests
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from deploycompress.graph import UNKNOWN_SIZE, Array, Graph, Node, Port
from deploycompress.network import to_torch
from deploycompress.network.arrays import array_from_tensor, tensor_from_array
from deploycompress.network.operators import OPERATORS
from deploycompress.network.steps import OLDEST_OPSET

CLAIMED = frozenset(OPERATORS) | {"Constant"}

# Largest allowed difference per element, relative to the largest expected value.
TOLERANCES: Mapping[str, float] = {"float64": 1e-5, "float32": 1e-5, "float16": 1e-3, "bfloat16": 8e-3}


@functools.cache
def node_cases() -> Mapping[str, TestCase]:
    """Load every node test that uses nothing but claimed operators."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # onnx computes its expected values with overflows on purpose
        cases = load_model_tests(kind="node")
    claimed = (case for case in cases if {node.op_type for node in case_model(case).graph.node} <= CLAIMED)
    return {case.name: case for case in claimed}


def case_model(case: TestCase) -> onnx.ModelProto:
    """Give a node test's model."""
    assert case.model is not None
    return case.model


def data_set(case: TestCase) -> tuple[list[Array], list[Array]]:
    """Give the values of a test's inputs and its expected outputs."""
    assert case.data_sets
    inputs, outputs = case.data_sets[0]
    return [_decoded(value) for value in inputs], [_decoded(value) for value in outputs]


def _decoded(value: Array | onnx.TensorProto) -> Array:
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else np.asarray(value)


def case_graph(case: TestCase) -> tuple[Graph, list[Array]]:
    """Build the graph of a node test; what must be known beforehand becomes a constant with the test's values.

    Returns:
        The graph, and the values of its remaining inputs.
    """
    model = case_model(case)
    proto = model.graph
    values = dict(zip([value.name for value in proto.input], data_set(case)[0], strict=True))
    beforehand = {
        node.input[index]
        for node in proto.node
        if node.op_type in OPERATORS
        for index in (*OPERATORS[node.op_type].static, *OPERATORS[node.op_type].statistics)
        if index < len(node.input)
    }
    weights = {name: value for name, value in values.items() if name in beforehand}
    inputs = [value for value in proto.input if value.name not in beforehand]
    graph = Graph(
        nodes=tuple(
            Node(
                name=f"{node.op_type}_{index}",
                op=node.op_type,
                inputs=tuple(node.input),
                outputs=tuple(node.output),
                attributes={a.name: onnx.helper.get_attribute_value(a) for a in node.attribute},
                domain=node.domain,
            )
            for index, node in enumerate(proto.node)
        ),
        weights=weights | {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.initializer},
        inputs=tuple(_port(value) for value in inputs),
        outputs=tuple(_port(value) for value in proto.output),
        shapes=_shapes(model),
        opset=_opset(model),
        ir_version=model.ir_version,
    )
    return graph, [values[value.name] for value in inputs]


def run_case(case: TestCase) -> list[Array]:
    """Run a node test with torch."""
    graph, inputs = case_graph(case)
    module = to_torch(graph)
    with torch.no_grad():
        results = module(*(tensor_from_array(value, "input") for value in inputs))
    results = (results,) if isinstance(results, torch.Tensor) else results
    expected = data_set(case)[1]
    for result, value in zip(results, expected, strict=True):
        assert str(result.dtype).removeprefix("torch.") == value.dtype.name
    return [array_from_tensor(result, value) for result, value in zip(results, expected, strict=True)]


def ort_outputs(case: TestCase) -> list[Array] | None:
    """Run a node test with ONNX Runtime; None where it has no implementation of it."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what it cannot run is expected here
    try:
        session = onnxruntime.InferenceSession(
            case_model(case).SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except (ort_errors.NotImplemented, ort_errors.Fail, ort_errors.InvalidGraph):
        return None
    names = [value.name for value in case_model(case).graph.input]
    inputs, expected = data_set(case)
    if any(value.dtype.name == "bfloat16" for value in (*inputs, *expected)):
        return None
    outputs: list[Array] = session.run(None, dict(zip(names, inputs, strict=True)))
    return outputs


def relative_excess(got: Array, expected: Array) -> float:
    """Give the largest difference as a multiple of what is allowed; integers, shapes and types must be the same."""
    assert got.shape == expected.shape
    assert got.dtype == expected.dtype
    if expected.dtype.name not in TOLERANCES:
        return 0.0 if np.array_equal(got, expected) else np.inf
    left, right = got.astype(np.float64), expected.astype(np.float64)
    finite = np.isfinite(right)
    assert np.array_equal(left[~finite], right[~finite], equal_nan=True)
    scale = max(float(np.abs(right[finite]).max(initial=0.0)), 1e-12)
    return float(np.abs(left[finite] - right[finite]).max(initial=0.0)) / scale / TOLERANCES[expected.dtype.name]


def _opset(model: onnx.ModelProto) -> int:
    """Give a test's opset, or the oldest that runs where its operators have not changed since."""
    written = int(model.opset_import[0].version)
    newer = max(written, OLDEST_OPSET)
    schemas = [[onnx.defs.get_schema(node.op_type, opset) for opset in (written, newer)] for node in model.graph.node]
    return newer if all(old.since_version == new.since_version for old, new in schemas) else written


def _shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    inferred = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    values: Sequence[onnx.ValueInfoProto] = [*inferred.input, *inferred.value_info, *inferred.output]
    return {
        value.name: tuple(
            axis.dim_value if axis.HasField("dim_value") else UNKNOWN_SIZE for axis in value.type.tensor_type.shape.dim
        )
        for value in values
        if value.type.tensor_type.HasField("shape")
    }


def _port(value: onnx.ValueInfoProto) -> Port:
    tensor = value.type.tensor_type
    return Port(name=value.name, dtype=tensor.elem_type, shape=tuple(axis.dim_value for axis in tensor.shape.dim))
