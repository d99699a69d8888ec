from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from deploycompress.errors import ModelError
from deploycompress.graph import Array, Graph, Node
from deploycompress.network import to_torch
from tests.network.build import make_graph

WEIGHT = np.ones((2, 2, 3, 3), np.float32)


def _graph(node: onnx.NodeProto, *, opset: int = 17, **weights: Array) -> Graph:
    node.name = "the_node"
    return make_graph([node], weights, ["batch", 2, 6, 6], opset=opset)


def test_unknown_operator_is_named() -> None:
    graph = _graph(helper.make_node("Hardmax", ["x"], ["y"]))
    with pytest.raises(ModelError, match=r"'the_node' uses operator Hardmax"):
        to_torch(graph)


def test_operator_of_another_domain_is_named() -> None:
    graph = _graph(helper.make_node("Relu", ["x"], ["y"]))
    foreign = replace(graph, nodes=(replace(graph.nodes[0], domain="com.example"),))
    with pytest.raises(ModelError, match=r"Relu of domain 'com.example'"):
        to_torch(foreign)


def test_unknown_attribute_is_refused() -> None:
    graph = _graph(helper.make_node("Relu", ["x"], ["y"]))
    odd = replace(graph, nodes=(replace(graph.nodes[0], attributes={"slope": 0.1}),))
    with pytest.raises(ModelError, match="attribute 'slope'"):
        to_torch(odd)


@pytest.mark.parametrize("opset", [10, 1000])
def test_opset_outside_the_known_is_refused(opset: int) -> None:
    graph = _graph(helper.make_node("Relu", ["x"], ["y"]))
    with pytest.raises(ModelError, match=f"opset {opset}"):
        to_torch(replace(graph, opset=opset))


def test_computed_shape_is_refused() -> None:
    cast = make_graph(
        [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.INT64)], {}, [2], output_dtype=TensorProto.INT64
    )
    reshape = Node(name="the_node", op="Reshape", inputs=("x", "shape"), outputs=("y",))
    graph = replace(
        cast,
        nodes=(replace(cast.nodes[0], outputs=("shape",)), reshape),
        shapes={"x": (2,), "shape": (2,), "y": (2,)},
    )
    with pytest.raises(ModelError, match=r"'the_node' \(Reshape, opset 17\) computes its input 1"):
        to_torch(graph)


def test_weight_of_an_element_type_torch_lacks_is_refused() -> None:
    node = helper.make_node("Gather", ["w", "x"], ["y"], name="the_node")
    table = make_graph([node], {"w": np.ones((3, 2), np.float32)}, [2], dtype=TensorProto.INT64)
    with pytest.raises(ModelError, match="'w' has element type uint32"):
        to_torch(table.with_weights({"w": np.ones((3, 2), np.uint32)}))


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (helper.make_node("MaxPool", ["x"], ["y"], kernel_shape=[2, 2], auto_pad="SOMEHOW"), "auto_pad 'SOMEHOW'"),
        (helper.make_node("Softmax", ["x"], ["y"], axis=7), "names axis 7"),
        (helper.make_node("DepthToSpace", ["x"], ["y"], blocksize=1, mode="XYZ"), "mode 'XYZ'"),
    ],
)
def test_setting_without_meaning_is_refused(node: onnx.NodeProto, message: str) -> None:
    graph = _graph(helper.make_node("Relu", ["x"], ["y"]))
    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    odd = replace(graph, nodes=(replace(graph.nodes[0], op=node.op_type, attributes=attributes),))
    with pytest.raises(ModelError, match=message):
        to_torch(odd)


def test_squeeze_of_every_unit_axis_is_refused() -> None:
    graph = make_graph([helper.make_node("Squeeze", ["x"], ["y"])], {}, ["batch", 3, 1])
    with pytest.raises(ModelError, match="depends on the batch size"):
        to_torch(graph)


def test_group_norm_that_scales_groups_is_refused() -> None:
    relu = _graph(helper.make_node("Relu", ["x"], ["y"]), opset=18)
    inputs, attributes = ("x", "s", "s"), {"num_groups": 2}
    norm = replace(relu.nodes[0], op="GroupNormalization", inputs=inputs, attributes=attributes)
    with pytest.raises(ModelError, match="scales whole groups"):
        to_torch(replace(relu, nodes=(norm,), weights={"s": np.ones(2, np.float32)}))


def test_cubic_sampling_of_volumes_is_refused() -> None:
    node = helper.make_node("GridSample", ["x", "grid"], ["y"], mode="cubic", name="the_node")
    grid = np.zeros((1, 2, 2, 2, 3), np.float32)
    graph = make_graph([node], {"grid": grid}, [1, 2, 3, 3, 3], opset=20)
    with pytest.raises(ModelError, match=r"'the_node' \(GridSample, opset 20\) samples 3 axes by 'cubic'"):
        to_torch(graph)


@pytest.mark.parametrize("op", ["ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp"])
def test_reduction_of_no_axes_that_may_change_elements_is_refused(op: str) -> None:
    graph = _graph(helper.make_node(op, ["x"], ["y"], noop_with_empty_axes=1), opset=18)
    with pytest.raises(ModelError, match="reduces no axes"):
        to_torch(graph)
