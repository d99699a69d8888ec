from dataclasses import replace

import numpy as np
import pytest

from deploycompress.errors import DataError, ModelError
from deploycompress.graph import Port
from deploycompress.quantize.ranges import Ranges
from deploycompress.quantize.static import quantized
from deploycompress.surgery.shipped import shipped_form
from tests.build import residual_net, start
from tests.quantize.runs import FORM, check, images, in_int8, outputs, relative_rms, session


def test_dead_channels_and_constant_activations_are_exact() -> None:
    net = start()
    zeros = net.weight("dead.weight", np.zeros((4, 3, 1, 1), np.float32))
    bias = net.weight("dead.bias", np.asarray([0.0, -1.0, -2.0, 0.0], np.float32))
    dead = net.op("Relu", net.op("Conv", "x", zeros, bias, kernel_shape=[1, 1], width=4))
    weight = net.weight("fixed.weight", np.zeros((4, 4, 1, 1), np.float32))
    shift = net.weight("fixed.bias", np.full(4, 0.7, np.float32))
    graph = net.finish(net.op("Conv", dead, weight, shift, kernel_shape=[1, 1], width=4), input_shape=(3, 8, 8))

    found = outputs(in_int8(graph), images())

    np.testing.assert_allclose(found, 0.7, rtol=1e-6)


def test_tiny_weights_beside_a_large_bias_do_not_overflow() -> None:
    net = start()
    weight = net.normal("tiny.weight", 4, 3, 1, 1)
    net.weights[weight][0] *= 1e-12
    bias = net.weight("tiny.bias", np.asarray([5.0, 0.0, 0.0, 0.0], np.float32))
    graph = net.finish(net.op("Conv", "x", weight, bias, kernel_shape=[1, 1], width=4), input_shape=(3, 8, 8))

    np.testing.assert_allclose(outputs(in_int8(graph), images())[:, 0], 5.0, atol=0.03)


def test_names_that_are_taken_are_avoided() -> None:
    net = start()
    x = net.op("Relu", net.conv("x", 8))
    net.weight("x.scale", np.ones((8, 1, 1), np.float32))
    graph = net.finish(net.op("Mul", net.conv(x, 8), "x.scale"), input_shape=(3, 8, 8))
    found = in_int8(graph)

    check(found)
    assert relative_rms(outputs(found, images()), outputs(graph, images())) < 0.05


def test_quantised_model_is_refused() -> None:
    graph = shipped_form(residual_net())
    twice = in_int8(graph)

    with pytest.raises(ModelError, match=r"is quantised already: node .* Give the float model"):
        quantized(twice, Ranges(limits={}), FORM)


def test_old_operator_set_is_refused() -> None:
    graph = shipped_form(residual_net())

    with pytest.raises(ModelError, match="version 12 of ONNX's operator set"):
        quantized(replace(graph, opset=12), Ranges(limits={}), FORM)


def test_missing_range_is_named() -> None:
    with pytest.raises(DataError, match="'x' has no range"):
        quantized(shipped_form(residual_net()), Ranges(limits={}), FORM)


def test_nothing_is_printed_or_logged(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    in_int8(shipped_form(residual_net()))
    printed = capfd.readouterr()

    assert (printed.out, printed.err) == ("", "")
    assert not caplog.records


def test_graph_that_was_given_is_left_alone() -> None:
    graph = shipped_form(residual_net())
    before = graph.digest()
    in_int8(graph)
    in_int8(graph, trainable=True)

    assert graph.digest() == before


def test_input_that_is_an_output_stays_as_it_was_given() -> None:
    net = start()
    graph = net.finish(net.conv("x", 4), input_shape=(3, 8, 8))
    both = replace(graph, outputs=(*graph.outputs, Port(name="x", dtype=1, shape=("N", 3, 8, 8))))
    found, batch = in_int8(both), images()

    np.testing.assert_array_equal(session(found).run(["x"], {"x": batch})[0], batch)
