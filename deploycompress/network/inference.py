"""Runs a graph module on arrays, as ONNX Runtime would be run, so that the two can be compared."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from deploycompress.graph import Array
from deploycompress.network.module import GraphModule


def run_module(module: GraphModule, inputs: Mapping[str, Array]) -> list[Array]:
    """Run a module once in evaluation mode, in float32 on the CPU.

    Args:
        module: moved to the CPU and left in evaluation mode.
        inputs: array of each graph input, by name.

    Returns:
        The graph's outputs, in order.
    """
    order = [port.name for port in module.source_graph.inputs]
    with torch.inference_mode():
        answers = module.cpu().eval()(*(torch.from_numpy(inputs[name]) for name in order))
    return [answer.numpy() for answer in (answers if isinstance(answers, tuple) else (answers,))]
