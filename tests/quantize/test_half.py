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


def test_weights_too_small_for_half_become_zero() -> None:
    net = start()
    x = net.conv(net.op("Relu", net.conv("x", 4)), 2)
    for name in ("conv0.weight", "conv2.weight"):
        net.weights[name].flat[:6] = [4.5e-10, -4.5e-10, 2.9e-8, -3.1e-8, 5.9e-8, 7e-8]
    graph = net.finish(x, input_shape=(3, 8, 8))
    found = half(graph, higher=("conv2",))

    # What is nearer to zero than to 2**-24, the smallest number above it.
    np.testing.assert_array_equal(
        found.weights["conv0.weight"].flat[:6].astype(np.float64), [0, 0, 0, -(2**-24), 2**-24, 2**-24]
    )
    np.testing.assert_array_equal(found.weights["conv0.weight"], graph.weights["conv0.weight"].astype(np.float16))
    np.testing.assert_array_equal(found.weights["conv2.weight"], graph.weights["conv2.weight"])


def test_what_is_divided_by_stays_above_zero() -> None:
    net = start()
    small = net.weight("epsilon", np.asarray([1e-12], np.float32))
    x = net.op("Relu", net.conv("x", 4))
    graph = net.finish(net.op("Div", x, net.op("Add", x, small)), input_shape=(3, 8, 8))

    assert half(graph).weights["epsilon"] > 0


def test_layers_behind_a_transpose_are_listed_and_honoured() -> None:
    net = start(channels=12)
    turned = net.op("Transpose", net.normal("fc.weight", 4, 12), perm=[1, 0])
    graph = net.finish(net.op("MatMul", "x", turned), input_shape=(12,))
    batch = images(shape=(12,))

    assert layers(graph) == ("fc",)
    assert half(graph).weights["fc.weight"].dtype == np.float16
    kept = half(graph, higher=("fc",))
    assert kept.weights["fc.weight"].dtype == np.float32
    np.testing.assert_array_equal(outputs(kept, batch), outputs(graph, batch))


def test_two_single_layers_read_one_half_tensor() -> None:
    net = start()
    x = net.op("Relu", net.conv("x", 4))
    graph = net.finish(net.op("Relu", net.op("Mul", net.conv(x, 4), net.conv(x, 4))), input_shape=(3, 8, 8))
    found = half(graph, higher=("conv2", "conv3"))

    check(found)
    assert len({name for node in found.nodes for name in node.outputs}) == sum(len(n.outputs) for n in found.nodes)
    assert relative_rms(outputs(found, images()), outputs(graph, images())) < 3e-3
