import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from deploycompress.errors import VerificationError
from deploycompress.graph import Graph, Port
from deploycompress.network.qdq_pairs import qdq_pairs
from deploycompress.profile_precision import Int8Format
from deploycompress.quantize.layers import layers
from deploycompress.quantize.ranges import find_ranges
from deploycompress.quantize.static import finished, quantized
from deploycompress.surgery.shipped import shipped_form
from tests.build import NetBuilder, residual_net, start
from tests.quantize.runs import FORM, Array, check, computed, images, in_int8, outputs, relative_rms, with_sized_outputs

FLOAT_LAYERS = {"Conv", "FusedConv", "Gemm", "MatMul", "Add", "GlobalAveragePool", "Relu", "Clip"}


def head(net: NetBuilder, x: str, size: int = 8) -> Graph:
    pooled = net.op("Flatten", net.op("GlobalAveragePool", x), axis=1)
    return net.finish(net.linear(pooled, 5), input_shape=(3, size, size))


def test_residual_network_is_computed_in_integers(tmp_path: Path) -> None:
    graph = shipped_form(residual_net())
    found = computed(in_int8(graph), tmp_path)

    assert found["QLinearConv"] == 7 + 1  # the shortcut, too
    assert found["QLinearAdd"] == 3
    assert found["QLinearGlobalAveragePool"] == 1
    assert found["QGemm"] == 1
    assert not FLOAT_LAYERS & set(found)


def test_quantised_network_computes_nearly_the_same() -> None:
    graph, batch = shipped_form(residual_net()), images()

    assert relative_rms(outputs(in_int8(graph, batch=batch), batch), outputs(graph, batch)) < 0.05


@pytest.mark.parametrize("trainable", [False, True])
def test_graph_passes_the_checker_and_keeps_its_versions(*, trainable: bool) -> None:
    graph = in_int8(shipped_form(residual_net()), trainable=trainable)

    check(graph)
    assert (graph.opset, graph.ir_version) == (17, 8)
    made = {name for node in graph.nodes for name in node.outputs}
    assert made <= set(graph.shapes), "every computed tensor has a shape"


def test_shapes_are_those_that_onnx_infers() -> None:
    graph = in_int8(shipped_form(residual_net()))
    inferred = onnx.shape_inference.infer_shapes(with_sized_outputs(graph), strict_mode=True)
    for value in inferred.graph.value_info:
        sizes = [axis.dim_value for axis in value.type.tensor_type.shape.dim]
        if all(sizes):
            assert graph.shapes[value.name] == tuple(sizes), value.name


def test_final_weights_and_biases_are_integers() -> None:
    graph = in_int8(shipped_form(residual_net()))
    read = {name for node in graph.nodes if node.op in ("Conv", "Gemm") for name in node.inputs[1:]}
    sources = [graph.weights[node.input(0)] for node in graph.nodes if node.outputs[0] in read]

    assert {array.dtype.name for array in sources} == {"int8", "int32"}
    assert len(sources) == len(read) == 16 + 1  # the shortcut has no bias
    assert not any(array.dtype == np.float32 and array.ndim > 1 for array in graph.weights.values())


def test_scales_and_weights_are_those_of_quantize_static(tmp_path: Path) -> None:
    """The library's own result on the same images: equal constants wherever both round the same tensor."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    graph, batch = shipped_form(residual_net()), images()
    graph.save(tmp_path / "float.onnx")
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.ERROR)
    quantize_static(
        tmp_path / "float.onnx",
        tmp_path / "int8.onnx",
        OneBatch(batch),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
    )
    logging.getLogger().setLevel(level)
    theirs = {
        tensor.name: onnx.numpy_helper.to_array(tensor)
        for tensor in onnx.load(tmp_path / "int8.onnx").graph.initializer
    }
    ours = in_int8(graph, batch=batch)

    compared = 0
    for name, array in ours.weights.items():
        match = next((key for suffix, ending in ENDINGS if (key := name.removesuffix(suffix) + ending) in theirs), None)
        if match is not None and match != name:
            # They run without optimisations, so that ranges differ in their last bit, and biases by a step.
            steps = 1 if array.dtype == np.int32 else 0
            expected = theirs[match]
            array = array[:, : expected.shape[1]] if array.ndim == 4 else array  # without the channel of zeros
            np.testing.assert_allclose(array.ravel(), expected.ravel(), rtol=1e-6, atol=steps, err_msg=name)
            compared += 1
    assert compared >= 30


ENDINGS = ((".quantized", "_quantized"), (".scale", "_scale"), (".zero_point", "_zero_point"))


class OneBatch:
    """The library's own protocol for calibration data."""

    def __init__(self, batch: Array) -> None:
        self.batches = iter([{"x": batch}])

    def get_next(self) -> dict[str, Array] | None:
        return next(self.batches, None)


@pytest.mark.parametrize("per_channel", [True, False])
def test_finished_graph_is_the_quantised_one(*, per_channel: bool) -> None:
    graph, batch, form = shipped_form(residual_net()), images(), Int8Format(per_channel=per_channel)
    ranges = find_ranges(graph, [batch])
    direct = quantized(graph, ranges, form)
    back = finished(quantized(graph, ranges, form, trainable=True), form)

    assert back.digest() == direct.digest()
    np.testing.assert_array_equal(outputs(back, batch), outputs(direct, batch))


def test_trainable_graph_computes_what_ships() -> None:
    graph, batch = shipped_form(residual_net()), images()
    trainable = in_int8(graph, batch=batch, trainable=True)

    # Only biases are rounded on top, to steps of an input's step times a weight's.
    assert relative_rms(outputs(trainable, batch), outputs(finished(trainable, FORM), batch)) < 0.01


def test_trainable_graph_keeps_float_weights_under_their_names() -> None:
    graph = shipped_form(residual_net())
    trainable = in_int8(graph, trainable=True)

    read = {name for node in trainable.nodes for name in node.inputs}
    parameters = {name: array for name, array in graph.weights.items() if array.dtype == np.float32}
    assert set(parameters) <= read
    for name, array in parameters.items():
        np.testing.assert_array_equal(trainable.weights[name], array)


def test_finishing_follows_changed_weights_and_scales() -> None:
    graph, batch = shipped_form(residual_net()), images()
    trainable = in_int8(graph, batch=batch, trainable=True)
    pair = next(pair for pair in qdq_pairs(trainable) if pair.is_weight)
    changed = trainable.with_weights(
        {pair.value: trainable.weights[pair.value] * 2, pair.scale: trainable.weights[pair.scale] * 2}
    )
    done, before = finished(changed, FORM), finished(trainable, FORM)
    code = f"{pair.value}.quantized"

    np.testing.assert_array_equal(done.weights[code], before.weights[code])
    np.testing.assert_array_equal(done.weights[pair.scale], 2 * before.weights[pair.scale])
    assert relative_rms(outputs(done, batch), outputs(changed, batch)) < 0.01


def test_finishing_refuses_codes_beyond_a_reduced_range() -> None:
    trainable = in_int8(shipped_form(residual_net()), trainable=True)

    with pytest.raises(VerificationError, match="beyond 64"):
        finished(trainable, Int8Format(reduced_range=True))


def test_higher_layers_stay_in_float(tmp_path: Path) -> None:
    graph = shipped_form(residual_net())
    names = layers(graph)
    found = computed(in_int8(graph, higher=(names[1], names[-1])), tmp_path)

    assert found["QLinearConv"] == 6 + 1
    assert found["Conv"] + found["FusedConv"] == 1
    assert found["Gemm"] == 1
    assert found["QGemm"] == 0


def test_all_layers_in_float_leave_the_graph_alone() -> None:
    graph = shipped_form(residual_net())

    assert in_int8(graph, higher=layers(graph)).digest() == graph.digest()


@pytest.mark.parametrize(
    "form",
    [
        Int8Format(per_channel=False),
        Int8Format(activations="int8"),
        Int8Format(reduced_range=True),
        Int8Format(activations="int8", symmetric_activations=True),
        Int8Format(symmetric_activations=True),
    ],
)
def test_every_form_loads_and_is_close(form: Int8Format) -> None:
    graph, batch = shipped_form(residual_net()), images()
    found = in_int8(graph, form, batch=batch)
    codes = [found.weights[node.input(2)] for node in found.nodes if node.op == "QuantizeLinear"]

    assert relative_rms(outputs(found, batch), outputs(graph, batch)) < 0.1
    assert {array.dtype.name for array in codes} == {form.activations}


@pytest.mark.parametrize("group", [2, 8])
def test_grouped_convolutions_are_computed_in_integers(tmp_path: Path, group: int) -> None:
    net = start()
    x = net.op("Relu", net.conv("x", 8))
    graph = head(net, net.op("Relu", net.conv(x, 8, group=group)))
    found = in_int8(graph)

    assert computed(found, tmp_path)["QLinearConv"] == 2
    assert relative_rms(outputs(found, images()), outputs(graph, images())) < 0.05


def test_transposed_convolution_stays_in_float(tmp_path: Path) -> None:
    net = start()
    x = net.op("Relu", net.conv("x", 8))
    graph = head(net, net.conv(net.transposed(x, 8), 8))
    found = in_int8(graph)

    assert computed(found, tmp_path)["ConvTranspose"] == 1
    assert computed(found, tmp_path)["QLinearConv"] == 2
    assert relative_rms(outputs(found, images()), outputs(graph, images())) < 0.05


def test_kernel_shared_by_two_nodes_is_kept_once() -> None:
    net = start()
    x = net.op("Relu", net.conv("x", 8))
    weight, bias = net.normal("shared.weight", 8, 8, 3, 3), net.normal("shared.bias", 8)
    for _ in range(2):
        x = net.op("Relu", net.op("Conv", x, weight, bias, pads=[1] * 4, kernel_shape=[3, 3]))
    graph = head(net, x)
    found = in_int8(graph)

    assert sum(array.shape == (8, 8, 3, 3) for array in found.weights.values()) == 1
    assert sum(array.dtype == np.int32 for array in found.weights.values()) == 4, "each bias has its input's scale"
    assert relative_rms(outputs(found, images()), outputs(graph, images())) < 0.05


def test_matrix_products_are_computed_in_integers(tmp_path: Path) -> None:
    net = start(channels=12)
    x = net.op("Relu", net.op("MatMul", "x", net.normal("first.weight", 12, 16)))
    x = net.op("Relu", net.op("Gemm", x, net.normal("second.weight", 16, 16), net.normal("second.bias", 16)))
    graph = net.finish(net.op("MatMul", x, net.normal("third.weight", 16, 4)), input_shape=(12,))
    batch = images(shape=(12,))
    found = in_int8(graph, batch=batch)
    kernels = computed(found, tmp_path)

    assert not FLOAT_LAYERS & set(kernels)
    assert (kernels["QLinearMatMul"], kernels["QGemm"], kernels["MatMulIntegerToFloat"]) == (1, 1, 1)
    assert relative_rms(outputs(found, batch), outputs(graph, batch)) < 0.05


def test_transposed_weight_is_rounded_along_its_outputs(tmp_path: Path) -> None:
    net = start(channels=12)
    turned = net.op("Transpose", net.normal("fc.weight", 4, 12), perm=[1, 0])
    graph = net.finish(net.op("MatMul", "x", turned), input_shape=(12,))
    batch = images(shape=(12,))
    found = in_int8(graph, batch=batch)

    assert found.weights["fc.weight.quantized"].shape == (12, 4)
    assert found.weights["fc.weight.scale"].shape == (4,)
    assert relative_rms(outputs(found, batch), outputs(graph, batch)) < 0.05
    assert in_int8(graph, batch=batch, higher=("fc",)).weights["fc.weight"].dtype == np.float32


def test_output_keeps_its_name_and_is_rounded(tmp_path: Path) -> None:
    net = start()
    graph = net.finish(net.conv(net.op("Relu", net.conv("x", 8)), 4), input_shape=(3, 8, 8))
    found = in_int8(graph)

    assert [port.name for port in found.outputs] == [port.name for port in graph.outputs]
    assert computed(found, tmp_path)["QLinearConv"] == 2
    assert relative_rms(outputs(found, images()), outputs(graph, images())) < 0.05


def test_output_that_is_read_inside_keeps_its_name() -> None:
    net = start()
    x = net.op("Relu", net.conv("x", 8))
    graph = head(net, net.conv(x, 8))
    both = replace(graph, outputs=(*graph.outputs, Port(name=x, dtype=1, shape=("N", 8, 8, 8))))
    found = in_int8(both)

    assert [port.name for port in found.outputs] == [port.name for port in both.outputs]
    check(found)


@pytest.mark.parametrize("bounds", [(0, 1), (-1, 1), (-0.5, 0.7), (0, 1.2345)])
def test_clip_vanishes_into_its_rounding(tmp_path: Path, bounds: tuple[float, float]) -> None:
    net = start()
    low, high = (net.weight(name, np.asarray(value, np.float32)) for name, value in zip("lh", bounds, strict=True))
    x = net.op("Clip", net.conv("x", 8), low, high)
    graph, batch = head(net, net.op("Clip", net.depthwise(x), low, high)), 10 * images()
    found = in_int8(graph, batch=batch)

    assert not {"Clip", "Conv", "FusedConv"} & set(computed(found, tmp_path))
    assert relative_rms(outputs(found, batch), outputs(graph, batch)) < 0.05


def test_squeeze_and_excite_is_computed_in_integers(tmp_path: Path) -> None:
    net = start()
    x = net.op("HardSwish", net.conv("x", 8))
    graph = head(net, net.op("HardSwish", net.conv(net.squeeze_excite(x, 4), 8)))
    kernels = computed(in_int8(graph), tmp_path)

    assert kernels["QLinearConv"] == 4
    assert kernels["QLinearMul"] == 1 + 2, "the gate, and both HardSwishes"
    assert kernels["QLinearGlobalAveragePool"] == 2


def test_movers_keep_the_scale_of_what_they_move() -> None:
    net = start()
    x = net.op("MaxPool", net.op("Relu", net.conv("x", 8)), kernel_shape=[2, 2], strides=[2, 2])
    graph = in_int8(head(net, net.conv(x, 8)), trainable=True)
    pairs = {pair.value: pair for pair in qdq_pairs(graph)}
    moved = pairs[x]

    assert not moved.is_owner
    assert pairs["relu1_0"].is_owner
    assert moved.scale == pairs["relu1_0"].scale


def test_two_branches_join_in_integers(tmp_path: Path) -> None:
    net = start()
    x = net.op("Relu", net.conv("x", 8))
    joined = net.op("Concat", net.op("Relu", net.conv(x, 4)), net.op("Relu", net.conv(x, 4)), axis=1, width=8)
    kernels = computed(in_int8(head(net, net.conv(joined, 8))), tmp_path)

    assert kernels["QLinearConcat"] == 1
    assert kernels["QLinearConv"] == 4
