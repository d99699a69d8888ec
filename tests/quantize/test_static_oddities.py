from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest

from deploycompress.errors import DataError, ModelError, PlanError
from deploycompress.graph import Port
from deploycompress.precision import Precision
from deploycompress.profile_precision import Int8Format
from deploycompress.quantize.bias_correction import bias_corrected
from deploycompress.quantize.costed import costed_form
from deploycompress.quantize.equalize import equalized
from deploycompress.quantize.half import half
from deploycompress.quantize.layers import layers
from deploycompress.quantize.overflow import overflowing
from deploycompress.quantize.ranges import Ranges, find_ranges
from deploycompress.quantize.static import finished, quantized
from deploycompress.quantize.support import require_single
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


def test_turned_parameter_that_is_added_stays_in_float() -> None:
    net = start()
    turned = net.op("Transpose", net.normal("position", 1, 8, 8, 4), perm=[0, 3, 1, 2], width=4)
    graph = net.finish(net.op("Relu", net.op("Add", net.conv("x", 4), turned, width=4)), input_shape=(3, 8, 8))
    batch = images()

    for found in (in_int8(graph), costed_form(graph, Precision.INT8, FORM)):
        assert Counter(node.op for node in found.nodes)["QuantizeLinear"] > 0
    assert relative_rms(outputs(in_int8(graph), batch), outputs(graph, batch)) < 0.05


@pytest.mark.parametrize("order", [(5.0, 0.001), (0.001, 5.0)])
def test_biases_of_unlike_size_beside_a_shared_kernel_come_out_right(order: tuple[float, float]) -> None:
    net = start()
    kernel = net.normal("shared.weight", 2, 3, 1, 1)
    net.weights[kernel][0] = 0
    biases = [net.weight(f"bias{value}", np.asarray([value, 0.0], np.float32)) for value in order]
    parts = [net.op("Conv", "x", kernel, bias, kernel_shape=[1, 1], width=2) for bias in biases]
    graph = net.finish(parts[0], input_shape=(3, 8, 8))
    ports = tuple(replace(graph.outputs[0], name=name) for name in parts)
    both = in_int8(replace(graph, outputs=ports))

    empty = [found[:, 0] for found in session(both).run(parts, {"x": images()})]

    steps = [float(both.weights[f"{name}.scale"]) for name in parts]
    for found, value, step in zip(empty, order, steps, strict=True):
        np.testing.assert_allclose(found, value, atol=step / 2 + 1e-6)
    codes = {name: array for name, array in both.weights.items() if array.dtype == np.int32}
    scales = [both.weights[name.removesuffix(".quantized") + ".scale"] for name in codes]
    real = sorted(float(array[0] * scale[0]) for array, scale in zip(codes.values(), scales, strict=True))
    np.testing.assert_allclose(real, sorted(order), rtol=1e-5)


@pytest.mark.parametrize("per_channel", [True, False])
def test_product_with_a_vector_runs(*, per_channel: bool) -> None:
    net = start(channels=12)
    graph = net.finish(net.op("MatMul", "x", net.normal("v.weight", 12)), input_shape=(12,))
    batch = images(shape=(12,))
    found = in_int8(graph, Int8Format(per_channel=per_channel), batch=batch)

    assert found.weights["v.weight.quantized"].dtype == np.int8
    assert relative_rms(outputs(found, batch), outputs(graph, batch)) < 0.05


@pytest.mark.parametrize("trainable", [True, False])
def test_biases_stay_in_float_where_the_form_says_so(*, trainable: bool) -> None:
    graph, form = shipped_form(residual_net()), Int8Format(activations="int8", quantized_bias=False)
    higher = layers(graph)[1:2]
    found = in_int8(graph, form, higher=higher, trainable=trainable)
    shipped = finished(found, form) if trainable else found
    kinds = Counter(array.dtype.name for array in shipped.weights.values() if array.ndim)

    assert "int32" not in kinds
    assert kinds["float32"] >= 8, "every layer's bias"
    check(shipped)
    assert relative_rms(outputs(shipped, images()), outputs(graph, images())) < 0.1
    assert any(array.dtype == np.int32 for array in in_int8(graph, higher=higher).weights.values())


@pytest.mark.parametrize("kind", [np.float16, ml_dtypes.bfloat16])
def test_weights_of_16_bits_are_refused_by_name(kind: type) -> None:
    graph = shipped_form(residual_net())
    narrow = graph.with_weights({"conv3.weight": graph.weights["conv3.weight"].astype(kind)})

    calls: tuple[Callable[[], object], ...] = (
        lambda: require_single(narrow),
        lambda: quantized(narrow, Ranges(limits={}), FORM),
        lambda: half(narrow),
        lambda: costed_form(narrow, Precision.INT8, FORM),
        lambda: costed_form(narrow, Precision.FP16, FORM),
        lambda: equalized(narrow),
        lambda: bias_corrected(narrow, [images()], FORM),
        lambda: find_ranges(narrow, [images()]),
        lambda: overflowing(narrow, [images()]),
    )
    for call in calls:
        with pytest.raises(ModelError, match=f"'conv3.weight' .* {np.dtype(kind).name} already.*float32 model it was"):
            call()
    require_single(graph)
    assert costed_form(narrow, Precision.FP32, FORM) is narrow


def test_misspelt_layers_are_refused_by_name() -> None:
    graph = shipped_form(residual_net())

    calls: tuple[Callable[[], object], ...] = (
        lambda: in_int8(graph, higher=("conv0", "linear2")),
        lambda: half(graph, higher=("linear2",)),
        lambda: costed_form(graph, Precision.INT8, FORM, higher=("linear2",)),
        lambda: costed_form(graph, Precision.FP16, FORM, higher=("linear2",)),
        lambda: costed_form(graph, Precision.FP32, FORM, higher=("linear2",)),
    )
    for call in calls:
        with pytest.raises(
            PlanError, match=r"no layer 'linear2' .*did you mean 'linear28'\?; the network has: conv0, "
        ):
            call()
