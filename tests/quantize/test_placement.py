import random
from pathlib import Path

import pytest

from deploycompress.graph import Graph
from deploycompress.quantize.layers import layers
from deploycompress.quantize.placement import place
from deploycompress.surgery.shipped import shipped_form
from tests.build import residual_net, start
from tests.quantize.runs import computed, images, in_int8, outputs, relative_rms
from tests.quantize.test_costed import mobile_net


def mixed_net() -> Graph:
    """A bit of everything: pools, a concatenation, a transposed convolution, a gate, and two matrix products."""
    net = start()
    x = net.op("Relu", net.conv("x", 8))
    y = net.op("MaxPool", net.conv(x, 8), kernel_shape=[3, 3], pads=[1] * 4)
    y = net.op("Concat", net.op("LeakyRelu", y, alpha=0.1), net.op("Relu", net.transposed(x, 8)), axis=1, width=16)
    y = net.squeeze_excite(net.conv(y, 16, group=4), 4)
    y = net.op("Mul", y, net.op("Sigmoid", net.conv(x, 16, kernel=1)))
    y = net.op("AveragePool", y, kernel_shape=[2, 2], strides=[2, 2])
    flat = net.op("Flatten", net.op("GlobalAveragePool", y), axis=1)
    return net.finish(net.linear(net.op("Relu", net.linear(flat, 12)), 5), input_shape=(3, 8, 8))


NETS = {"residual": lambda: shipped_form(residual_net()), "mobile": mobile_net, "mixed": mixed_net}


@pytest.mark.parametrize("name", NETS)
def test_any_layers_may_stay_in_float(name: str) -> None:
    """Ranges of the whole network suffice, and the result runs and is as close as with all layers in 8 bits."""
    graph, batch, draw = NETS[name](), images(), random.Random(0)
    wanted = outputs(graph, batch)
    everything = set(place(graph, ()).scaled_as)
    for share in (0.2, 0.5, 0.8):
        higher = [layer for layer in layers(graph) if draw.random() < share]

        assert set(place(graph, higher).scaled_as) <= everything
        assert relative_rms(outputs(in_int8(graph, batch=batch, higher=higher), batch), wanted) < 0.06


@pytest.mark.parametrize("name", NETS)
def test_float_layers_are_really_float(tmp_path: Path, name: str) -> None:
    graph = NETS[name]()
    convolutions = [node.input(1).removesuffix(".weight") for node in graph.nodes if node.op == "Conv"]
    for higher in (convolutions[:1], convolutions[1::2], convolutions):
        kernels = computed(in_int8(graph, higher=higher), tmp_path)

        entry = int(convolutions[0] not in higher)  # gets a channel of zeros
        shortcuts = (
            [node.op for node in graph.nodes].count("Pad") + entry - kernels["Pad"]
        )  # those are convolutions now
        assert kernels["QLinearConv"] == len(convolutions) - len(higher) + shortcuts


def test_all_kinds_of_kernels_are_used(tmp_path: Path) -> None:
    kernels = computed(in_int8(mixed_net()), tmp_path)

    for op in ("QLinearConcat", "QLinearMul", "QLinearLeakyRelu", "QLinearSigmoid", "QLinearAveragePool", "QGemm"):
        assert kernels[op], op
    assert kernels["ConvTranspose"] == 1
    assert not {"Conv", "FusedConv", "Gemm", "Mul", "Concat", "Sigmoid"} & set(kernels)
    assert kernels["MaxPool"] + kernels["NhwcMaxPool"] == 1


def test_last_product_gives_float() -> None:
    graph = shipped_form(residual_net())

    assert graph.outputs[0].name not in place(graph, ()).scaled_as


def test_nothing_stands_between_a_layer_and_its_activation() -> None:
    graph = shipped_form(residual_net())
    before = {node.input(0) for node in graph.nodes if node.op == "Relu"}

    assert not before & set(place(graph, ()).scaled_as)


def test_activation_that_shares_its_input_keeps_the_rounding_before_it(tmp_path: Path) -> None:
    """Pre-activation: what a sum gives goes on both with and without the Relu."""
    net = start()
    x = net.conv("x", 8)
    x = net.op("Add", net.conv(net.op("Relu", x), 8), x)
    graph = net.finish(net.conv(net.op("Relu", net.conv(x, 8)), 4), input_shape=(3, 8, 8))
    kernels = computed(in_int8(graph), tmp_path)

    assert kernels["QLinearConv"] == 4
    assert kernels["QLinearAdd"] == 1
