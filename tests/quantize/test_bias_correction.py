import numpy as np
import pytest

from deploycompress.errors import DataError
from deploycompress.graph import Graph
from deploycompress.profile_precision import Int8Format
from deploycompress.quantize.affine import codes, weight_affine
from deploycompress.quantize.bias_correction import bias_corrected
from deploycompress.surgery.shipped import shipped_form
from tests.build import residual_net, start
from tests.quantize.runs import FORM, check, images, in_int8, outputs, relative_rms

COARSE = Int8Format(per_channel=False, reduced_range=True)


def depthwise_net() -> Graph:
    """Channels of uneven weights, and inputs that are mostly positive: rounding shifts means."""
    net = start()
    x = net.op("Relu", net.conv("x", 16, kernel=1))
    x = net.op("Relu", net.depthwise(x))
    net.weights["conv2.weight"] *= (10 ** net.rng.uniform(-1.5, 0, (16, 1, 1, 1))).astype(np.float32)
    pooled = net.op("Flatten", net.op("GlobalAveragePool", net.op("Relu", net.conv(x, 16, kernel=1))), axis=1)
    return net.finish(net.linear(pooled, 5), input_shape=(3, 8, 8))


def test_correction_pays_where_rounding_is_coarse() -> None:
    graph, batch, unseen = depthwise_net(), images(64), images(64, seed=1)
    wanted = outputs(graph, unseen)
    corrected = bias_corrected(graph, [batch], COARSE)
    before = relative_rms(outputs(in_int8(graph, COARSE, batch=batch), unseen), wanted)
    after = relative_rms(outputs(in_int8(corrected, COARSE, batch=batch), unseen), wanted)

    assert after < 0.6 * before


def test_shift_is_the_mean_of_what_rounding_errors_make_of_the_input() -> None:
    net = start()
    graph, batch = net.finish(net.conv("x", 4, kernel=1), input_shape=(3, 8, 8)), images() + 1
    weight = graph.weights["conv0.weight"]
    affine = weight_affine(weight, 0, FORM)
    error = codes(weight, affine, 0) * affine.scale.reshape(-1, 1, 1, 1) - weight
    shift = np.einsum("oi,bihw->o", error[:, :, 0, 0], batch) / (len(batch) * 64)

    found = bias_corrected(graph, [batch[:4], batch[4:]], FORM)

    corrected = found.weights["Conv_0.corrected_bias"]
    np.testing.assert_allclose(corrected, graph.weights["conv0.bias"] - shift, rtol=1e-4)
    assert "conv0.bias" not in found.weights


def test_mean_output_is_restored() -> None:
    net = start()
    graph, batch = net.finish(net.conv("x", 8), input_shape=(3, 8, 8)), images(64) + 2
    coarse = bias_corrected(graph, [batch], COARSE)
    error = [outputs(in_int8(g, COARSE, batch=batch), batch).mean(axis=(0, 2, 3)) for g in (graph, coarse)]
    wanted = outputs(graph, batch).mean(axis=(0, 2, 3))

    assert np.abs(error[1] - wanted).max() < 0.5 * np.abs(error[0] - wanted).max()


def test_layers_without_bias_get_one() -> None:
    net = start()
    x = net.op("Relu", net.conv("x", 8, bias=False))
    graph = net.finish(net.conv(x, 4, bias=False), input_shape=(3, 8, 8))
    found = bias_corrected(graph, [images()], FORM)

    check(found)
    assert all(len(node.inputs) == 3 for node in found.nodes if node.op == "Conv")


def test_higher_layers_keep_their_bias() -> None:
    graph = shipped_form(residual_net())
    found = bias_corrected(graph, [images()], FORM, higher=("conv3",))
    conv = next(node for node in found.nodes if node.input(1) == "conv3.weight")

    assert conv in graph.nodes
    np.testing.assert_array_equal(found.weights[conv.input(2)], graph.weights[conv.input(2)])


def test_nothing_is_corrected_where_all_layers_stay_in_float() -> None:
    from deploycompress.quantize.layers import layers

    graph = shipped_form(residual_net())

    assert bias_corrected(graph, [images()], FORM, higher=layers(graph)).digest() == graph.digest()


def test_no_images_are_refused() -> None:
    with pytest.raises(DataError, match="no calibration images"):
        bias_corrected(shipped_form(residual_net()), [], FORM)
