"""What is left of two equal activations in a row is one, and the network computes the same to the bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from deploycompress.capturing.capture import capture
from deploycompress.surgery.blocks import blocks
from deploycompress.surgery.oracle import random_inputs, run_graph
from deploycompress.surgery.remove import remove_blocks
from deploycompress.surgery.repeats import without_repeats
from tools.cifar_resnet import resnet20


def test_removed_residual_blocks_leave_no_activation_of_their_own() -> None:
    graph = capture(resnet20().eval(), input_shape=(1, 3, 32, 32))
    residuals = [f"layer{name}.conv1/residual" for name in ("1.1", "1.2", "2.1", "3.2")]
    assert {block.name for block in blocks(graph)} >= set(residuals)
    left = remove_blocks(graph, residuals)
    clean = without_repeats(left)
    count = [node.op for node in left.nodes].count("Relu") - [node.op for node in clean.nodes].count("Relu")
    assert count == len(residuals)
    inputs = random_inputs(left, seed=0)
    for found, expected in zip(run_graph(clean, inputs), run_graph(left, inputs), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert without_repeats(clean) is clean


class Chain(nn.Module):
    def __init__(self, *parts: nn.Module) -> None:
        super().__init__()
        self.parts = nn.Sequential(nn.Conv2d(3, 4, 1), *parts)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.parts(x)
        return result


@pytest.mark.parametrize(
    ("parts", "left"),
    [
        ((nn.ReLU(), nn.ReLU(), nn.ReLU(), nn.Conv2d(4, 2, 1)), 1),
        ((nn.ReLU(), nn.Conv2d(4, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1)), 2),
        ((nn.ReLU(), nn.ReLU()), 2),  # the second gives the graph's output its name
    ],
)
def test_only_repeats_go(parts: tuple[nn.Module, ...], left: int) -> None:
    graph = capture(Chain(*parts).eval(), input_shape=(1, 3, 4, 4))
    clean = without_repeats(graph)
    assert [node.op for node in clean.nodes].count("Relu") == left
    inputs = random_inputs(graph, seed=0)
    np.testing.assert_array_equal(run_graph(clean, inputs)[0], run_graph(graph, inputs)[0])
