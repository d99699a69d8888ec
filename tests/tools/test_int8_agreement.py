"""The comparison of the executor with 8-bit integers counts steps rightly, and finds what is there to be found."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from deploycompress.capturing.capture import capture
from deploycompress.graph import Graph
from deploycompress.profile_precision import Int8Format
from deploycompress.quantize.ranges import find_ranges
from deploycompress.quantize.static import quantized
from deploycompress.surgery.shipped import shipped_form
from tools.int8_agreement import agreement, compare, layers_alone, output_step, run_executor, run_runtime


@pytest.fixture(scope="module")
def shipped() -> Graph:
    return _network(nn.Hardswish())


def _network(activation: nn.Module) -> Graph:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, groups=8),
            activation,
            nn.Flatten(),
            nn.Linear(8 * 36, 5),
        )
    return shipped_form(capture(layers.eval(), input_shape=(1, 3, 8, 8)))


def _images(seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.random.default_rng(seed).standard_normal((32, 3, 8, 8)).astype(np.float32)


def test_differences_are_counted_in_steps_of_each_array() -> None:
    found = agreement(
        [np.array([1.0, 2.0]), np.array([0.0, 10.0])], [np.array([1.0, 2.5]), np.array([0.1, 40.0])], [0.5, 10.0]
    )
    assert (found.largest, found.mean, found.equal) == (3, 1.0, 0.5)


def test_the_executor_is_within_a_step_of_the_integers_of_each_layer(shipped: Graph) -> None:
    found = dict(compare(shipped, _images(0), _images(1)))
    assert found["executor, each layer alone"].largest <= 1
    assert found["executor, each layer alone"].equal > 0.999
    assert found["executor, finished graph"].largest <= 2
    assert found["executor, trainable graph, rounded biases"].largest <= 2  # the HardSwish's gate is not rounded there
    assert found["executor, trainable graph"].largest <= 3


def test_rounded_biases_are_all_that_the_finished_graph_adds_where_nothing_is_rewritten() -> None:
    found = dict(compare(_network(nn.ReLU()), _images(0), _images(1)))
    assert found["executor, trainable graph, rounded biases"] == found["executor, finished graph"]


def test_a_layer_that_computes_something_else_is_found(shipped: Graph) -> None:
    graph = quantized(shipped, find_ranges(shipped, [_images(1)]), Int8Format())
    cut, inputs = layers_alone(graph, _images(0))
    scale = next(node for node in cut.nodes if node.op == "QuantizeLinear").inputs[1]
    wrong = cut.with_weights({scale: graph.weights[scale] * np.float32(1.1)})
    mine, theirs = run_executor(wrong, inputs), run_runtime(cut, inputs)
    pairs = zip(mine, theirs, strict=True)
    apart = [agreement([one.astype(float)], [other.astype(float)], [1.0]) for one, other in pairs]
    assert apart[0].largest > 1
    assert apart[-1].largest <= 1


def test_an_output_in_floats_has_the_step_that_would_cover_it(shipped: Graph) -> None:
    graph = quantized(shipped, find_ranges(shipped, [_images(1)]), Int8Format())
    assert graph.producers()[graph.outputs[0].name].op == "Gemm"
    assert output_step(graph, np.array([-1.0, 1.55])) == pytest.approx(0.01)
