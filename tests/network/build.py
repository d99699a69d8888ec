"""Small graphs for tests: by hand from nodes, or exported from a torch module."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from deploycompress.capturing.capture import capture
from deploycompress.graph import Array, Graph, graph_from_onnx


def make_graph(
    nodes: Sequence[onnx.NodeProto],
    weights: Mapping[str, Array],
    input_shape: Sequence[int | str],
    *,
    outputs: Sequence[str] = ("y",),
    opset: int = 17,
    dtype: int = TensorProto.FLOAT,
    output_dtype: int = TensorProto.FLOAT,
) -> Graph:
    """Build a graph with the one input `x`."""
    proto = helper.make_graph(
        nodes,
        "test",
        [helper.make_tensor_value_info("x", dtype, input_shape)],
        [helper.make_tensor_value_info(name, output_dtype, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
    )
    model = helper.make_model(proto, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    return graph_from_onnx(model)


def export(module: nn.Module, shape: Sequence[int]) -> Graph:
    """Make the graph of a module, batch norm and names kept, the batch axis free."""
    return capture(module, input_shape=tuple(shape))


def randomize(module: nn.Module, seed: int) -> None:
    """Give every parameter and statistic a value of its own, so that nothing is equal by chance."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if name.endswith("running_var") or (tensor.ndim == 1 and name.endswith("weight")):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
            elif tensor.is_floating_point():
                fan_in = max(tensor[0].numel(), 1) if tensor.ndim > 1 else 25
                tensor.copy_(torch.randn(tensor.shape, generator=generator) / fan_in**0.5)


def run_runtime(graph: Graph, *inputs: Array) -> list[Array]:
    """Run a graph with ONNX Runtime."""
    session = onnxruntime.InferenceSession(graph.to_bytes(), providers=["CPUExecutionProvider"])
    outputs: list[Array] = session.run(None, dict(zip([port.name for port in graph.inputs], inputs, strict=True)))
    return outputs


def relative_difference(got: Array | torch.Tensor, expected: Array) -> float:
    """Give the largest difference relative to the largest expected value."""
    found = got.detach().numpy() if isinstance(got, torch.Tensor) else got
    assert found.shape == expected.shape
    scale = float(np.abs(expected).max(initial=1e-12))
    return float(np.abs(found.astype(np.float64) - expected).max(initial=0.0)) / scale
