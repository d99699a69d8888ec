"""HardSwish and HardSigmoid become 8-bit kernels where they stand between codes, and give the codes they gave."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deploycompress.graph import Graph
from deploycompress.network.inference import run_module
from deploycompress.network.module import to_torch
from deploycompress.profile_precision import Int8Format
from deploycompress.quantize.entry_channels import padded_entries
from deploycompress.quantize.finish import fold_pairs
from deploycompress.quantize.hard_gates import integer_gates
from deploycompress.quantize.ranges import find_ranges
from deploycompress.quantize.static import finished, quantized
from tests.build import start
from tests.quantize.runs import FORM, Array, check, computed, images, in_int8, outputs

TENSORRT = Int8Format(activations="int8", symmetric_activations=True, quantized_bias=False)
IN_FLOAT = {"HardSwish", "HardSigmoid", "Mul", "Add"}


def swish() -> Graph:
    net = start()
    x = net.op("HardSwish", net.conv("x", 8))
    return net.finish(net.conv(net.op("HardSwish", net.conv(x, 8)), 4), input_shape=(3, 8, 8))


def excited(**attributes: Any) -> Graph:
    """A block that scales its channels, as MobileNetV3 does."""
    net = start()
    x = net.op("Relu", net.conv("x", 8))
    gate = net.op("HardSigmoid", net.conv(net.op("GlobalAveragePool", x), 8, kernel=1), **attributes)
    return net.finish(net.conv(net.op("Mul", x, gate), 4), input_shape=(3, 8, 8))


def both(graph: Graph) -> tuple[Graph, Graph]:
    """Give a network in 8 bits as it was before this step, and as it ships."""
    trainable = quantized(graph, find_ranges(graph, [images(64)]), FORM, trainable=True)
    return padded_entries(fold_pairs(trainable)), finished(trainable, FORM)


def codes(graph: Graph, batch: Array) -> Array:
    found: Array = outputs(graph, batch) / step(graph)
    return found.round()


def step(graph: Graph) -> float:
    last = next(node for node in graph.nodes if graph.outputs[0].name in node.outputs)
    return float(graph.weights[last.input(1)])


def test_hard_swish_is_computed_in_integers_with_nearly_the_codes_it_had(tmp_path: Path) -> None:
    plain, written = both(swish())

    check(written)
    assert not IN_FLOAT & set(computed(written, tmp_path))
    assert {name for node in written.nodes for name in node.outputs} <= set(written.shapes)
    difference = np.abs(codes(written, images(32)) - codes(plain, images(32)))
    assert difference.max() <= 2
    assert (difference == 0).mean() > 0.7


@pytest.mark.parametrize("attributes", [{}, {"alpha": 1 / 6, "beta": 0.5}, {"alpha": 0.5, "beta": 0.1}])
def test_hard_sigmoid_keeps_its_codes(attributes: Mapping[str, float], tmp_path: Path) -> None:
    plain, written = both(excited(**attributes))

    check(written)
    assert not IN_FLOAT & set(computed(written, tmp_path))
    difference = np.abs(codes(written, images(32)) - codes(plain, images(32)))
    assert difference.max() <= 1
    assert (difference == 0).mean() > 0.99


@pytest.mark.parametrize("make", [swish, excited])
def test_the_executor_computes_what_onnx_runtime_does(make: Callable[[], Graph]) -> None:
    graph, batch = both(make())[1], images(8)

    found = run_module(to_torch(graph), {"x": batch})[0]
    assert np.abs(found - outputs(graph, batch)).max() <= 1.01 * step(graph)


def test_what_is_cut_off_elsewhere_stays() -> None:
    falling = excited(alpha=-0.2)

    assert "HardSigmoid" in [node.op for node in both(falling)[1].nodes]


@pytest.mark.parametrize("form", [TENSORRT, Int8Format(activations="int8")])
def test_other_forms_keep_theirs(form: Int8Format) -> None:
    assert "HardSwish" in [node.op for node in in_int8(swish(), form).nodes]


def test_what_gives_an_output_or_is_trained_keeps_its_own() -> None:
    net = start()
    last = net.finish(net.op("HardSwish", net.conv("x", 8)), input_shape=(3, 8, 8))
    plain = fold_pairs(in_int8(last, trainable=True))

    assert integer_gates(plain) is plain
    assert "HardSwish" in [node.op for node in in_int8(swish(), trainable=True).nodes]
