from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest

from deploycompress.errors import DataError
from deploycompress.graph import Graph
from deploycompress.quantize.half import half
from deploycompress.quantize.overflow import LARGEST_SAFE, overflowing
from deploycompress.quantize.running import runner, with_outputs
from deploycompress.surgery.shipped import shipped_form
from tests.build import residual_net, start
from tests.quantize.runs import Array, check, images, outputs, relative_rms


def hot_net() -> Graph:
    """Values of about 1e6 between a convolution that makes them and one that takes them back; they pass a Relu."""
    net = start()
    x = net.op("Relu", net.conv("x", 4))
    x = net.op("Relu", net.conv(x, 4))
    net.weights["conv2.weight"] *= np.float32(1e6)
    x = net.conv(x, 4)
    net.weights["conv4.weight"] *= np.float32(1e-6)
    return net.finish(net.conv(net.op("Relu", x), 2), input_shape=(3, 8, 8))


def computed_in_half(graph: Graph, batch: Array) -> bool:
    """Whether everything is finite when each Cast to half precision really rounds, and each node runs by itself."""
    types = {value.name: value for value in onnx.shape_inference.infer_shapes(graph.to_onnx()).graph.value_info}
    model = graph.to_onnx()
    model.graph.output.extend(types.values())
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    found = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return all(np.isfinite(array).all() for array in found.run(None, {"x": batch}))


def test_nodes_that_read_or_give_large_numbers_are_named_with_the_value() -> None:
    found = overflowing(hot_net(), [images()])

    assert set(found) == {"Conv_2", "Relu_3", "Conv_4"}
    assert found["Conv_4"].startswith("'relu3_0' reaches ")
    assert "beyond the 60000 that 16 bits hold safely" in found["Conv_2"]


def test_the_largest_of_all_batches_counts() -> None:
    graph = shipped_form(residual_net())
    factor = 1.05 * LARGEST_SAFE / largest_of(graph)

    assert overflowing(graph, [images()]) == {}
    assert overflowing(graph, [images(), factor * images(), images()])
    assert not overflowing(graph, [0.5 * factor * images()])


def largest_of(graph: Graph) -> float:
    """The largest magnitude in a network, seen tensor by tensor."""
    names = [name for node in graph.nodes for name in node.outputs]
    found = [np.abs(runner(with_outputs(graph, [name]))(images())[0]).max() for name in names]
    return float(max(*found, np.abs(images()).max()))


def test_half_precision_keeps_such_nodes_and_stays_finite() -> None:
    graph, batch = hot_net(), images()
    careful = half(graph, nodes=tuple(overflowing(graph, [batch])))

    assert not computed_in_half(half(graph), batch)
    assert computed_in_half(careful, batch)
    check(careful)
    assert careful.weights["conv2.weight"].dtype == careful.weights["conv4.weight"].dtype == np.float32
    assert careful.weights["conv0.weight"].dtype == np.float16
    assert relative_rms(outputs(careful, batch), outputs(graph, batch)) < 2e-3


def test_nodes_in_single_precision_read_each_other_directly() -> None:
    graph = hot_net()
    careful = half(graph, nodes=tuple(overflowing(graph, [images()])))

    # The input and the output, and around the three nodes one on each side.
    assert Counter(node.op for node in careful.nodes)["Cast"] == 4


def test_network_that_overflows_everywhere_is_the_network_itself() -> None:
    graph = shipped_form(residual_net())
    batch = 1e6 * images()
    names = tuple(node.name for node in graph.nodes)

    np.testing.assert_array_equal(outputs(half(graph, nodes=names), batch), outputs(graph, batch))
    assert not any(node.op == "Cast" for node in half(graph, nodes=names).nodes)


def test_infinite_activations_are_named() -> None:
    net = start()
    large = net.op("Mul", "x", net.weight("c", np.asarray([1e4], np.float32)))
    graph = net.finish(net.op("Exp", large), input_shape=(3,))

    with pytest.raises(DataError, match="Activation 'exp1_0' reaches inf on the calibration images"):
        overflowing(graph, [images(shape=(3,))])


def test_values_that_are_no_numbers_are_named() -> None:
    net = start()
    graph = net.finish(net.op("Sqrt", "x"), input_shape=(3,))

    with pytest.raises(DataError, match="Activation 'sqrt0_0' reaches nan"):
        overflowing(graph, [images(shape=(3,))])


def test_integers_are_no_matter() -> None:
    net = start()
    size = net.op("Mul", net.op("Shape", "x"), net.integers(100000))
    numbers = net.op("Cast", net.op("ReduceMax", size, keepdims=0), to=onnx.TensorProto.FLOAT)
    graph = net.finish(net.op("Add", net.op("Relu", net.conv("x", 2)), numbers), input_shape=(3, 8, 8))
    found = overflowing(graph, [images()])

    assert set(found) == {"Cast_3", "Add_6"}


def test_no_images_are_refused() -> None:
    with pytest.raises(DataError, match="no calibration images"):
        overflowing(hot_net(), [])
