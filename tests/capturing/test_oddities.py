"""Legal oddities of ONNX files: outputs that are inputs, names left out."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from deploycompress.capturing.capture import capture
from deploycompress.channels.trace import channel_groups


def model(
    nodes: list[onnx.NodeProto], outputs: list[str], **weights: np.ndarray[tuple[int, ...], np.dtype[np.float32]]
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "odd",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4, 6])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_an_input_handed_through_keeps_the_rest_traced() -> None:
    rng = np.random.default_rng(0)
    nodes = [helper.make_node("MatMul", ["x", "a"], ["h"]), helper.make_node("MatMul", ["h", "b"], ["y"])]
    odd = model(nodes, ["y", "x"], a=rng.standard_normal((6, 8)).astype("f"), b=rng.standard_normal((8, 3)).astype("f"))
    graph = capture(odd)
    assert [port.name for port in graph.outputs] == ["y", "x.output"]
    assert [(group.name, group.width) for group in channel_groups(graph) if not group.frozen] == [("a", 8)]


@pytest.mark.parametrize("bias", [[], [""]])
def test_a_norm_with_an_omitted_bias_does_not_end_the_process(bias: list[str]) -> None:
    nodes = [helper.make_node("LayerNormalization", ["x", "s", *bias], ["y"], axis=-1)]
    given = model(nodes, ["y"], s=np.ones(6, np.float32))
    before = given.SerializeToString(deterministic=True)
    assert capture(given).nodes[0].op == "LayerNormalization"
    assert given.SerializeToString(deterministic=True) == before


def test_a_split_with_an_omitted_output() -> None:
    sizes = numpy_helper.from_array(np.asarray([1, 2, 3]), "sizes")
    nodes = [helper.make_node("Split", ["x", "sizes"], ["a", "", "b"], axis=2)]
    given = model(nodes, ["a", "b"])
    given.graph.initializer.append(sizes)
    assert [graph_output.shape for graph_output in capture(given).outputs] == [("N", 4, 1), ("N", 4, 3)]
