"""Small ONNX networks for the tests of this folder."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def model_of(
    nodes: list[onnx.NodeProto],
    weights: dict[str, np.ndarray],
    input_shape: list[int | str],
    output_shape: list[int | str],
    *,
    opset: int = 17,
    ir_version: int = 8,
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, input_shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, output_shape)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = ir_version
    return model


def conv_net(
    width: int = 16, depth: int = 3, size: int = 16, *, batch: int | str = "N", opset: int = 17, ir_version: int = 8
) -> bytes:
    """Build convolutions of one width with activations, serialised."""
    generator = np.random.default_rng(0)
    nodes, weights, source = [], {}, "x"
    for layer in range(depth):
        weights[f"w{layer}"] = (generator.standard_normal((width, width, 3, 3)) / np.sqrt(9 * width)).astype(np.float32)
        target = "y" if layer == depth - 1 else f"a{layer}"
        nodes += [
            helper.make_node("Conv", [source, f"w{layer}"], [f"c{layer}"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", [f"c{layer}"], [target]),
        ]
        source = target
    shape: list[int | str] = [batch, width, size, size]
    return bytes(model_of(nodes, weights, shape, shape, opset=opset, ir_version=ir_version).SerializeToString())


def endless_net() -> bytes:
    """Build a loop that would need centuries, so that its process truly hangs in native code."""
    element = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in ("state", "next")]
    body = helper.make_graph(
        [
            helper.make_node("Tanh", ["state"], ["next"]),
            helper.make_node("Identity", ["go"], ["still"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("step", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            element[0],
        ],
        [helper.make_tensor_value_info("still", TensorProto.BOOL, []), element[1]],
    )
    nodes = [helper.make_node("Loop", ["trips", "yes", "x"], ["y"], body=body)]
    weights = {"trips": np.array(2**62, np.int64), "yes": np.array(True)}
    return bytes(model_of(nodes, weights, [1, 4], [1, 4]).SerializeToString())


def huge_net(gibibytes: int) -> bytes:
    """Build a network that holds one tensor of that many GiB while it runs."""
    nodes = [
        helper.make_node("Expand", ["x", "shape"], ["big"]),
        helper.make_node("ReduceSum", ["big"], ["y"], keepdims=1),
    ]
    weights = {"shape": np.array([gibibytes, 2**28], np.int64)}
    return bytes(model_of(nodes, weights, [1, 1], [1, 1]).SerializeToString())


def heavy_weights_net(mebibytes: int) -> bytes:
    """Build a linear layer that holds that many MiB of weights."""
    weights = {"w": np.random.default_rng(0).standard_normal((1024, 256 * mebibytes)).astype(np.float32)}
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    return bytes(model_of(nodes, weights, [1, 1024], [1, 256 * mebibytes]).SerializeToString())
