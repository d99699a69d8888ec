"""A shrunk kernel computes what the kernel with a ring of zeros computes, whatever its shape, stride and padding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from deploycompress.errors import PlanError
from deploycompress.graph import Graph, graph_from_onnx
from deploycompress.surgery.kernels import KernelChoice, kernel_choices, masked_kernels, shrink_kernels
from deploycompress.surgery.oracle import compare_graphs, random_inputs
from tests.build import start
from tests.layers import graphs


def one_conv(weight_shape: tuple[int, ...], image: tuple[int, ...], **attributes: Any) -> Graph:
    """Build a convolution alone, with the weight `c.weight`."""
    rng = np.random.default_rng(0)
    channels = weight_shape[1] * int(attributes.get("group", 1))
    weights = {
        "c.weight": rng.standard_normal(weight_shape).astype(np.float32),
        "c.bias": rng.standard_normal(weight_shape[0]).astype(np.float32),
    }
    model = helper.make_model(
        helper.make_graph(
            [helper.make_node("Conv", ["x", *weights], ["y"], name="c", **attributes)],
            "test",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", channels, *image])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(array, name) for name, array in weights.items()],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
    )
    model.ir_version = 8
    return graph_from_onnx(model)


def with_ring_of_zeros(weight: Any, size: int) -> Any:
    """Zero everything outside the centre, by a plain loop over positions."""
    ringed = weight.copy()
    for position in np.ndindex(*weight.shape[2:]):
        for axis, place in enumerate(position):
            length = weight.shape[2 + axis]
            if abs(2 * place - (length - 1)) > min(size, length) - 1:
                ringed[(slice(None), slice(None), *position)] = 0
    return ringed


CASES: dict[str, tuple[tuple[int, ...], tuple[int, ...], dict[str, Any], tuple[int, ...]]] = {
    "plain": ((4, 3, 7, 7), (9, 9), {"pads": [3] * 4}, (5, 3, 1)),
    "strided": ((4, 3, 5, 5), (9, 8), {"pads": [2] * 4, "strides": [2, 2]}, (3, 1)),
    "dilated": ((4, 3, 3, 3), (9, 9), {"pads": [2] * 4, "dilations": [2, 2]}, (1,)),
    "depthwise": ((6, 1, 5, 5), (9, 9), {"pads": [2] * 4, "group": 6}, (3, 1)),
    "grouped": ((6, 2, 3, 3), (9, 9), {"pads": [1] * 4, "group": 3}, (1,)),
    "line": ((4, 3, 5), (11,), {"pads": [2, 2]}, (3, 1)),
    "volume": ((4, 3, 3, 3, 3), (5, 5, 5), {"pads": [1] * 6}, (1,)),
    "flat": ((4, 3, 1, 7), (9, 9), {"pads": [0, 3, 0, 3]}, (5, 3, 1)),
    "oblong": ((4, 3, 3, 7), (9, 9), {"pads": [1, 3, 1, 3]}, (5, 3, 1)),
    "even": ((4, 3, 4, 4), (9, 9), {"pads": [1] * 4}, (2,)),
    "padded unevenly": ((4, 3, 5, 5), (9, 9), {"pads": [1, 2, 3, 2]}, (3,)),
    "even and odd": ((4, 3, 2, 5), (9, 9), {"pads": [1, 2, 1, 2]}, (3,)),
    "padded more than enough": ((4, 3, 3, 3), (9, 9), {"pads": [4] * 4}, (1,)),
    "same": ((4, 3, 5, 5), (9, 9), {"auto_pad": "SAME_UPPER"}, (3, 1)),
    "same with even kernel": ((4, 3, 4, 4), (9, 9), {"auto_pad": "SAME_LOWER"}, (2,)),
    "kernel shape given": ((4, 3, 5, 5), (9, 9), {"pads": [2] * 4, "kernel_shape": [5, 5]}, (3, 1)),
}
NOT_OFFERED: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "without padding": ((4, 3, 5, 5), {}),
    "one position": ((4, 3, 1, 1), {}),
    "valid": ((4, 3, 5, 5), {"auto_pad": "VALID"}),
    "same at stride two": ((4, 3, 5, 5), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    "two positions": ((4, 3, 2, 2), {"pads": [1] * 4}),
}


@pytest.mark.parametrize("case", CASES)
def test_shrunk_kernel_equals_ring_of_zeros(case: str) -> None:
    shape, image, attributes, sizes = CASES[case]
    graph = one_conv(shape, image, **attributes)
    assert kernel_choices(graph) == (KernelChoice(layer="c", kernel=shape[2:], sizes=sizes),)
    for size in sizes:
        small = shrink_kernels(graph, {"c": size})
        ringed = graph.with_weights({"c.weight": with_ring_of_zeros(graph.weights["c.weight"], size)})
        assert np.array_equal(masked_kernels(graph, {"c": size}).weights["c.weight"], ringed.weights["c.weight"])
        assert small.weights["c.weight"].shape[2:] == tuple(min(length, size) for length in shape[2:])
        assert compare_graphs(small, ringed, random_inputs(graph, seed=0)).relative <= 1e-5
        assert compare_graphs(small, graph, random_inputs(graph, seed=0)).relative > 1e-2
        assert graph_from_onnx(small.to_onnx()).shapes == dict(small.shapes) == dict(graph.shapes)


@pytest.mark.parametrize("case", NOT_OFFERED)
def test_kernel_whose_output_would_change_size_is_not_offered(case: str) -> None:
    shape, attributes = NOT_OFFERED[case]
    assert kernel_choices(one_conv(shape, (9, 9), **attributes)) == ()


def test_weight_that_two_operators_read_is_not_offered() -> None:
    net = start()
    x = net.conv("x", 3)
    x = net.op("Conv", x, "conv0.weight", pads=[1] * 4)
    graph = net.finish(net.conv(x, 2), input_shape=(3, 8, 8))
    assert [choice.layer for choice in kernel_choices(graph)] == ["conv2"]


def test_several_kernels_shrink_at_once_and_the_graph_stays_as_it_was() -> None:
    net = start(1)
    graph = net.finish(net.conv(net.op("Relu", net.conv("x", 4, kernel=7, stride=2)), 2), input_shape=(3, 9, 9))
    before = graph.digest()
    wanted = {"conv0": 3, "conv2": 1}
    small = shrink_kernels(graph, wanted)
    assert [small.weights[f"{name}.weight"].shape[2] for name in wanted] == [3, 1]
    assert compare_graphs(small, masked_kernels(graph, wanted), random_inputs(graph, seed=0)).relative <= 1e-5
    assert graph.digest() == before


def test_shrinking_nothing_changes_nothing() -> None:
    graph = one_conv((4, 3, 3, 3), (9, 9), pads=[1] * 4)
    assert shrink_kernels(graph, {}) is graph
    assert masked_kernels(graph, {}) is graph


@pytest.mark.parametrize(
    ("kernels", "culprit"),
    [
        ({"d": 1}, "'d'.*no such convolution"),
        ({"conv1": 1}, "nearest is 'conv0'"),
        ({"conv0": 2}, "kernel of size 2; on offer are 3, 1"),
        ({"conv0": 5}, "kernel of size 5"),
    ],
)
def test_plan_for_another_model_is_refused_by_name(kernels: dict[str, int], culprit: str) -> None:
    net = start()
    graph = net.finish(net.conv("x", 4, kernel=5), input_shape=(3, 9, 9))
    for apply in (shrink_kernels, masked_kernels):
        with pytest.raises(PlanError, match=culprit):
            apply(graph, kernels)


@settings(max_examples=60, deadline=None)
@given(graph=graphs(), seed=st.integers(0, 2**16))
def test_any_kernels_of_a_generated_graph_shrink(graph: Graph, seed: int) -> None:
    rng = np.random.default_rng(seed)
    wanted = {choice.layer: int(rng.choice(choice.sizes)) for choice in kernel_choices(graph) if rng.random() < 0.7}
    small = shrink_kernels(graph, wanted)
    assert graph_from_onnx(small.to_onnx()).shapes == dict(small.shapes)
    assert compare_graphs(small, masked_kernels(graph, wanted), random_inputs(graph, seed=1)).relative <= 1e-4
