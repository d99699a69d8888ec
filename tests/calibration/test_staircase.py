"""Staircase networks: sizes and widths as asked, valid ONNX, and a kind for every operator with weights."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from deploycompress.calibration.layers import layer_of, typical_layers
from deploycompress.calibration.staircase import COPIES, WIDTHS, Side, Sweep, staircase_network, sweeps_of
from deploycompress.channels.kinds import kind_of
from deploycompress.graph import Graph
from deploycompress.measuring.static import macs
from deploycompress.profile import Runtime
from tests.build import start
from tests.calibration.networks import depthwise_net, wide_net

RUNTIME = Runtime(providers=("CPUExecutionProvider",))


def every_kind() -> Graph:
    """Build a network with all kinds but the product of matrices."""
    net = start(0)
    x = net.conv("x", 64, kernel=1)
    x = net.conv(x, 64)
    x = net.conv(x, 64, kernel=5, stride=2)
    x = net.depthwise(x)
    x = net.conv(x, 64, group=8)
    x = net.transposed(x, 32)
    pooled = net.op("Flatten", net.op("GlobalAveragePool", x), axis=1)
    return net.finish(net.linear(pooled, 10), input_shape=(3, 16, 16))


def product_net() -> Graph:
    net = start(0)
    net.width["x"] = 24
    weight = net.weight("w", np.zeros((24, 48), np.float32))
    turned = net.op("Transpose", net.weight("v", np.zeros((16, 48), np.float32)), perm=[1, 0])
    return net.finish(net.op("MatMul", net.op("MatMul", "x", weight), turned), input_shape=(7, 24))


def test_every_kind_has_its_name() -> None:
    graph = every_kind()
    kinds = [kind for node in graph.nodes if (kind := kind_of(graph, node))]
    assert kinds == ["conv1x1", "conv3x3", "conv5x5", "depthwise3x3", "grouped3x3", "conv_transpose", "gemm"]
    products = product_net()
    assert [kind_of(products, node) for node in products.nodes if node.op != "Transpose"] == ["matmul", "matmul"]


def test_the_arithmetic_of_layers_is_that_of_the_graph() -> None:
    for graph in (every_kind(), product_net(), wide_net(), depthwise_net()):
        layers = [layer for node in graph.nodes if (layer := layer_of(graph, node))]
        assert sum(layer.macs for layer in layers) == macs(graph)
        assert sum(typical.share for typical in typical_layers(graph)) == pytest.approx(1)


def test_the_heaviest_layer_of_a_kind_is_typical() -> None:
    first, *_ = typical_layers(wide_net())
    assert (first.layer.kind, first.layer.inputs, first.layer.size) == ("conv3x3", 32, (8, 8))


@pytest.mark.parametrize(
    "sweep",
    [
        sweep
        for graph in (every_kind(), product_net())
        for typical in typical_layers(graph)
        for sweep in sweeps_of(typical.layer)
    ],
    ids=lambda sweep: f"{sweep.layer.kind}-{sweep.side}",
)
def test_networks_have_the_widths_that_were_asked_for(sweep: Sweep) -> None:
    for width in (sweep.widths[0], 64):
        graph = staircase_network(sweep, width, RUNTIME)
        onnx.checker.check_model(graph.to_onnx(), full_check=True)
        layers = [layer for node in graph.nodes if (layer := layer_of(graph, node))]
        assert len(layers) == COPIES
        for layer in layers:
            assert layer.kind == sweep.layer.kind
            assert (layer.inputs if sweep.side is not Side.OUTPUT else layer.outputs) == width
            if sweep.side is not Side.BOTH:
                assert (layer.outputs if sweep.side is Side.INPUT else layer.inputs) == sweep.fixed
            if sweep.layer.kind != "conv_transpose":
                assert layer.output_size == sweep.size


def test_sides_that_are_one_are_swept_once() -> None:
    sweeps = {typical.layer.kind: sweeps_of(typical.layer) for typical in typical_layers(every_kind())}
    assert [sweep.side for sweep in sweeps["depthwise3x3"]] == [Side.BOTH]
    assert [sweep.side for sweep in sweeps["conv3x3"]] == [Side.INPUT, Side.OUTPUT]
    assert sweeps["depthwise3x3"][0].widths == WIDTHS
    assert all(width % 8 == 0 for width in sweeps["grouped3x3"][0].widths)


def test_large_images_are_made_smaller() -> None:
    net = start(0)
    x = net.conv(net.conv("x", 64), 64)
    graph = net.finish(x, input_shape=(3, 224, 224))
    sweep = sweeps_of(typical_layers(graph)[0].layer)[0]
    assert sweep.size == (14, 14)
