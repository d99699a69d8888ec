"""What rounding explains is accepted with a warning; what it does not explain is refused."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from deploycompress.capturing.capture import capture
from deploycompress.capturing.parity import SAMPLES, random_inputs
from deploycompress.capturing.verification import TOLERANCE, verify
from deploycompress.errors import ModelError
from deploycompress.graph import Array


class Unstable(nn.Module):
    """Magnifies rounding: a sine of large numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(64, 64)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sin(3e3 * self.inner(x))


def test_a_network_more_unstable_than_the_difference_is_taken_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    network = Unstable()
    with caplog.at_level(logging.WARNING):
        graph = capture(network, input_shape=(1, 64))
    with torch.no_grad():
        inputs = random_inputs(graph.inputs, SAMPLES)
        exact = network.double()(torch.from_numpy(inputs[0]).double()).numpy().astype(np.float32)
    worst = verify(graph, lambda arrays: [_sine(network, arrays[0])], [exact])
    assert worst > TOLERANCE
    assert "unstable" in caplog.text


def _sine(network: nn.Module, batch: Array) -> Array:
    with torch.no_grad():
        return np.asarray(network(torch.from_numpy(batch).double()).numpy().astype(np.float32))


def test_a_stable_network_that_differs_is_refused() -> None:
    torch.manual_seed(0)
    network = nn.Linear(8, 4)
    graph = capture(network, input_shape=(1, 8))
    (weight,) = [name for name in graph.weights if name == "weight"]
    wrong = replace(graph, weights={**graph.weights, weight: graph.weights[weight] * np.float32(1.001)})

    def reference(arrays: list[Array]) -> list[Array]:
        with torch.no_grad():
            return [network(torch.from_numpy(arrays[0])).numpy()]

    expected = reference(random_inputs(graph.inputs, SAMPLES))
    assert verify(graph, reference, expected) <= TOLERANCE
    with pytest.raises(ModelError, match="differs from the model"):
        verify(wrong, reference, expected)
