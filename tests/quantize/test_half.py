from dataclasses import replace

import numpy as np
import onnx
import pytest

from deploycompress.errors import ModelError
from deploycompress.quantize.half import half
from deploycompress.quantize.layers import layers
from deploycompress.surgery.shipped import shipped_form
from tests.build import residual_net, start
from tests.quantize.runs import check, images, in_int8, outputs, relative_rms


def test_file_halves() -> None:
    graph = shipped_form(residual_net(width=64))

    assert len(half(graph).to_bytes()) < 0.53 * len(graph.to_bytes())


def test_inputs_and_outputs_stay_single() -> None:
    graph = shipped_form(residual_net())
    found = half(graph)

    assert [port.dtype for port in (*found.inputs, *found.outputs)] == [onnx.TensorProto.FLOAT] * 2
    assert [port.name for port in (*found.inputs, *found.outputs)] == ["x", graph.outputs[0].name]
    assert found.input_shapes == graph.input_shapes


def test_weights_are_half_and_outputs_close() -> None:
    graph, batch = shipped_form(residual_net()), images()
    found = half(graph)

    assert {array.dtype.name for array in found.weights.values() if array.ndim > 0} == {"float16", "int64"}
    assert 0 < relative_rms(outputs(found, batch), outputs(graph, batch)) < 2e-3


def test_graph_is_in_order_and_passes_the_checker() -> None:
    found = half(shipped_form(residual_net()))

    check(found)
    made = {"x", *found.weights}
    for node in found.nodes:
        assert set(node.reads) <= made
        made.update(node.outputs)


def test_higher_layers_keep_single_weights() -> None:
    graph = shipped_form(residual_net())
    name = layers(graph)[2]
    found = half(graph, higher=(name,))

    assert found.weights[f"{name}.weight"].dtype == np.float32
    assert sum(array.dtype == np.float32 for array in found.weights.values()) == 2, "the layer's weight and bias"
    assert relative_rms(outputs(found, images()), outputs(graph, images())) < 2e-3


def test_weights_too_large_for_half_stay_single() -> None:
    net = start()
    x = net.conv("x", 4)
    net.weights["conv0.weight"][0] *= np.float32(1e6)
    graph = net.finish(
        net.conv(net.op("Relu", net.op("Mul", x, net.weight("small", np.float32(1e-6) * np.ones(1, np.float32)))), 2),
        input_shape=(3, 8, 8),
    )
    found = half(graph)

    assert found.weights["conv0.weight"].dtype == np.float32
    assert found.weights["conv3.weight"].dtype == np.float16


def test_given_graph_is_left_alone() -> None:
    graph = shipped_form(residual_net())
    before = graph.digest()
    half(graph)

    assert graph.digest() == before


def test_quantised_model_is_refused() -> None:
    with pytest.raises(ModelError, match="quantised already"):
        half(in_int8(shipped_form(residual_net())))


def test_operator_set_is_kept() -> None:
    graph = replace(shipped_form(residual_net()), ir_version=7)

    assert (half(graph).opset, half(graph).ir_version) == (17, 7)
