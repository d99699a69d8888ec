from pathlib import Path

import numpy as np
import pytest

from deploycompress.graph import Graph
from deploycompress.quantize.ranges import find_ranges
from deploycompress.quantize.static import quantized
from tests.build import start
from tests.quantize.runs import FORM, computed, images, in_int8, outputs


def net_with_uneven_middle(kind: str, *, bias: bool) -> Graph:
    """Three layers; rounded with one scale, the middle one loses half of its channels."""
    net = start()
    x = net.op("Relu", net.conv("x", 8))
    weight = net.normal("middle.weight", 8, 8, 3, 3)
    net.weights[weight][:, :4] *= np.float32(1e-3)
    net.weights[weight][:4] *= np.float32(1e-3)
    inputs = [x, weight, *([net.normal("middle.bias", 8)] if bias else [])]
    x = net.op("Relu", net.op(kind, *inputs, pads=[1] * 4, kernel_shape=[3, 3]))
    return net.finish(net.conv(x, 4), input_shape=(3, 8, 8))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kind", ["Conv", "ConvTranspose"])
def test_layers_kept_in_float_are_computed_in_float(tmp_path: Path, kind: str, *, bias: bool) -> None:
    graph = net_with_uneven_middle(kind, bias=bias)
    kernels = computed(in_int8(graph, higher=("middle",)), tmp_path)

    assert kernels["QLinearConv"] == 2
    assert kernels[kind] + kernels["FusedConv"] == 1
    assert kernels["Mul"] == kernels["Div"] == 0


def test_float_layer_gives_exactly_what_it_gave() -> None:
    """The same graph run without any optimisation, in which nothing is rounded unasked."""
    import onnxruntime

    from tests.quantize.runs import session

    graph, batch = net_with_uneven_middle("Conv", bias=True), images()
    found = quantized(graph, find_ranges(graph, [batch]), FORM, higher=("middle",))
    plain = session(found, graph_optimization_level=onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL)
    wanted = plain.run(None, {"x": batch})[0]

    step = float(found.weights[f"{graph.outputs[0].name}.scale"])
    assert np.abs(outputs(found, batch) - wanted).max() <= 1.01 * step


def test_bias_is_kept_to_the_last_bit() -> None:
    graph = net_with_uneven_middle("Conv", bias=True)
    bias = np.asarray([0.1, -1e-20, 3e7, 0.0, -0.7, 1e-45, 1.0, np.pi], np.float32)
    found = in_int8(graph.with_weights({"middle.bias": bias}), higher=("middle",), batch=images() * 1e-3)
    node = next(node for node in found.nodes if node.name.endswith(".shielded_bias"))
    mantissa, power = (found.weights[name] for name in node.inputs)

    np.testing.assert_array_equal(mantissa.astype(np.float32) * power, np.where(np.abs(bias) < 1e-40, 0, bias))
