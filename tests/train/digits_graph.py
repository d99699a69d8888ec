"""The digits network as an ONNX graph, with the weights of its torch twin."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from deploycompress.graph import Graph, graph_from_onnx


def digits_graph(net: nn.Sequential) -> Graph:
    """Write a network made by `digits_net` as a graph, tensor names as in its state dict."""
    weights = {name: value.numpy() for name, value in net.state_dict().items() if "tracked" not in name}

    def norm(name: str, tensor: str) -> list[str]:
        return [tensor, *(f"{name}.{part}" for part in ("weight", "bias", "running_mean", "running_var"))]

    nodes = [
        helper.make_node("Conv", ["image", "0.weight"], ["a"], pads=[1, 1, 1, 1], kernel_shape=[3, 3]),
        helper.make_node("BatchNormalization", norm("1", "a"), ["b"]),
        helper.make_node("Relu", ["b"], ["c"]),
        helper.make_node("Conv", ["c", "3.weight"], ["d"], pads=[1, 1, 1, 1], kernel_shape=[3, 3], strides=[2, 2]),
        helper.make_node("BatchNormalization", norm("4", "d"), ["e"]),
        helper.make_node("Relu", ["e"], ["f"]),
        helper.make_node("Flatten", ["f"], ["g"]),
        helper.make_node("Gemm", ["g", "8.weight", "8.bias"], ["logits"], transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])],
        [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in weights.items()],
    )
    return graph_from_onnx(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
