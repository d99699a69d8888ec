"""Two linear layers in a row become one where that is exact at every position and costs no more; else they stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploycompress.graph import Graph, Port, graph_from_onnx
from deploycompress.measuring.static import macs, params
from deploycompress.surgery.merge_linear import merge_linear
from deploycompress.surgery.oracle import compare_graphs, random_inputs
from tests.build import NetBuilder, start

SIZE = 9


@dataclass(frozen=True, kw_only=True)
class Conv:
    """A convolution along each of two axes of the image; filters are counted for each group."""

    filters: int = 2
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    group: int = 1
    bias: bool = True

    def append(self, net: NetBuilder, x: str) -> str:
        """Append it to a network whose tensor x has as many channels as the groups need."""
        name, outputs = f"conv{len(net.nodes)}", self.filters * self.group
        inputs = [x, net.normal(f"{name}.weight", outputs, net.width[x] // self.group, *self.kernel)]
        if self.bias:
            inputs.append(net.normal(f"{name}.bias", outputs))
        return net.op(
            "Conv",
            *inputs,
            width=outputs,
            group=self.group,
            kernel_shape=self.kernel,
            strides=self.stride,
            dilations=self.dilation,
            pads=self.pads,
        )


def chain(*layers: Conv, channels: int = 4, size: int = SIZE) -> Graph:
    net = start(3, channels=channels)
    x = "x"
    for layer in layers:
        x = layer.append(net, x)
    return net.finish(x, input_shape=(channels, size, size))


def assert_same_function(merged: Graph, graph: Graph) -> None:
    assert compare_graphs(merged, graph, random_inputs(graph, seed=0, batch=3)).relative <= 1e-5
    assert graph_from_onnx(merged.to_onnx()).shapes == dict(merged.shapes)
    assert macs(merged) <= macs(graph)
    assert params(merged) <= params(graph)
    assert len({node.name for node in merged.nodes}) == len(merged.nodes)


def operators(graph: Graph) -> list[str]:
    return [node.op for node in graph.nodes]


K3 = (3, 3)
SAME = (1, 1, 1, 1)


@pytest.mark.parametrize(
    "layers",
    [
        pytest.param((Conv(filters=8), Conv(filters=4)), id="1x1 and 1x1"),
        pytest.param((Conv(filters=8, stride=(2, 2)), Conv(filters=4, stride=(2, 1))), id="strides multiply"),
        pytest.param((Conv(filters=8, kernel=K3, pads=SAME), Conv(filters=8)), id="3x3 with padding before 1x1"),
        pytest.param((Conv(filters=8, kernel=K3, stride=(2, 2), pads=SAME), Conv(filters=4)), id="3x3 of stride two"),
        pytest.param((Conv(filters=8), Conv(filters=4, kernel=K3)), id="1x1 with bias before 3x3 without padding"),
        pytest.param(
            (Conv(filters=8, bias=False), Conv(filters=4, kernel=K3, pads=SAME)), id="1x1 without bias before padding"
        ),
        pytest.param((Conv(filters=8, kernel=(1, 3)), Conv(filters=8, kernel=(3, 1))), id="1x3 and 3x1 make 3x3"),
        pytest.param(
            (
                Conv(filters=8, kernel=(1, 3), pads=(0, 2, 0, 2), bias=False),
                Conv(filters=8, kernel=(3, 1), pads=(1, 0, 1, 0)),
            ),
            id="padding along the other axis",
        ),
        pytest.param(
            (
                Conv(filters=8, kernel=(1, 3), pads=(0, 2, 0, 2), bias=False),
                Conv(filters=1, kernel=(1, 3), pads=(0, 1, 0, 1)),
            ),
            id="the first leaves nothing of the image beyond its ends",
        ),
        pytest.param(
            (Conv(filters=8, stride=(2, 2)), Conv(filters=4, kernel=(2, 2), dilation=(2, 2))), id="a dilated second"
        ),
        pytest.param((Conv(filters=2, group=4), Conv(filters=1, group=4)), id="the same groups"),
        pytest.param((Conv(filters=1, group=4), Conv(filters=4)), id="a factor for each channel before 1x1"),
        pytest.param((Conv(filters=8), Conv(filters=8), Conv(filters=8), Conv(filters=4)), id="a chain"),
        pytest.param((Conv(filters=2), Conv(filters=8), Conv(filters=2)), id="the wide middle of a chain"),
    ],
)
def test_merges_what_is_exact_and_pays(layers: Sequence[Conv]) -> None:
    graph = chain(*layers)
    merged = merge_linear(graph)
    assert len(merged.nodes) < len(graph.nodes)
    assert_same_function(merged, graph)
    if len(layers) == 2:
        assert operators(merged) == ["Conv"]
    assert merge_linear(merged) is merged


@pytest.mark.parametrize(
    "layers",
    [
        pytest.param((Conv(filters=8), Conv(filters=4, kernel=K3, pads=SAME)), id="the bias would reach the border"),
        pytest.param(
            (Conv(filters=8, kernel=K3, pads=SAME, bias=False), Conv(filters=1, kernel=K3, pads=SAME, bias=False)),
            id="the kernel would reach the border",
        ),
        pytest.param((Conv(filters=1), Conv(filters=4)), id="a bottleneck"),
        pytest.param((Conv(filters=4, kernel=K3), Conv(filters=4, kernel=K3)), id="5x5 costs more than two 3x3"),
        pytest.param((Conv(filters=1, kernel=K3, group=4), Conv(filters=8)), id="depthwise before 1x1"),
        pytest.param((Conv(filters=1), Conv(filters=4, stride=(2, 2))), id="less arithmetic for more weights"),
    ],
)
def test_leaves_what_is_not_exact_or_does_not_pay(layers: Sequence[Conv]) -> None:
    graph = chain(*layers)
    assert merge_linear(graph) is graph


pairs_of_sizes = {k: st.tuples(st.integers(1, k), st.integers(1, k)) for k in (2, 3)}


@st.composite
def convolutions(draw: st.DrawFn, channels: int) -> Conv:
    group = draw(st.sampled_from([g for g in (1, 2, 4) if channels % g == 0]))
    return Conv(
        filters=draw(st.sampled_from([f for f in (1, 2, 4, 8) if f * group <= 16])),
        kernel=draw(pairs_of_sizes[3]),
        stride=draw(pairs_of_sizes[2]),
        dilation=draw(pairs_of_sizes[2]),
        pads=draw(st.one_of(st.just((0, 0, 0, 0)), st.tuples(*[st.integers(0, 2)] * 4))),
        group=group,
        bias=draw(st.booleans()),
    )


@st.composite
def chains(draw: st.DrawFn) -> Graph:
    first = draw(convolutions(4))
    second = draw(convolutions(first.filters * first.group))
    return chain(first, second, size=draw(st.integers(14, 16)))


@settings(max_examples=150, deadline=None)
@given(graph=chains())
def test_merging_never_changes_the_function_of_two_convolutions(graph: Graph) -> None:
    assert_same_function(merge_linear(graph), graph)


def linear(net: NetBuilder, x: str, outputs: int, form: str, bias: bool) -> str:
    """Append a fully connected layer as exporters write it; the turned ones hold weights as torch does."""
    name, width = f"linear{len(net.nodes)}", net.width[x]
    is_turned = form.endswith("turned")
    weight = net.normal(f"{name}.weight", *((outputs, width) if is_turned else (width, outputs)))
    shift = [net.normal(f"{name}.bias", outputs)] if bias else []
    if form.startswith("Gemm"):
        return net.op("Gemm", x, weight, *shift, width=outputs, transB=int(is_turned), alpha=0.5, beta=2.0)
    weight = net.op("Transpose", weight, perm=[1, 0]) if is_turned else weight
    product = net.op("MatMul", x, weight, width=outputs)
    return net.op("Add", *shift, product, width=outputs) if bias else product


FORMS = ("Gemm", "Gemm turned", "MatMul", "MatMul turned")


@pytest.mark.parametrize("biases", [(True, True), (True, False), (False, True), (False, False)])
@pytest.mark.parametrize("before", FORMS)
@pytest.mark.parametrize("after", FORMS)
def test_two_products_become_one_however_they_are_written(before: str, after: str, biases: tuple[bool, bool]) -> None:
    net = start(5, channels=4)
    hidden = linear(net, "x", 6, before, biases[0])
    graph = net.finish(linear(net, hidden, 3, after, biases[1]), input_shape=(4,))
    merged = merge_linear(graph)
    assert_same_function(merged, graph)
    has_addition = any(biases) and "Gemm" not in before + after
    assert operators(merged) == (
        ["MatMul", "Add"] if has_addition else ["Gemm" if "Gemm" in before + after else "MatMul"]
    )


@pytest.mark.parametrize("widths", [(4, 6, 3), (4, 8, 8, 2), (4, 1, 4), (6, 4, 1, 4)])
def test_products_on_tokens_merge_where_it_pays(widths: Sequence[int]) -> None:
    net = start(6, channels=widths[0])
    x = "x"
    for width in widths[1:]:
        x = linear(net, x, width, "MatMul turned", bias=True)
    graph = net.finish(x, input_shape=(2, 5, widths[0]))
    merged = merge_linear(graph)
    assert_same_function(merged, graph)
    narrow = 1 in widths
    assert operators(merged).count("MatMul") == (2 if narrow else 1)


@pytest.mark.parametrize("flattening", ["Flatten", "Reshape"])
@pytest.mark.parametrize("bias", [True, False])
def test_classifier_takes_in_the_convolution_before_the_mean(flattening: str, bias: bool) -> None:
    net = start(7, channels=4)
    wide = Conv(filters=16, bias=bias).append(net, net.op("Relu", "x"))
    row = flat(net, net.op("GlobalAveragePool", wide), flattening)
    graph = net.finish(net.linear(row, 3), input_shape=(4, SIZE, SIZE))
    merged = merge_linear(graph)
    assert operators(merged) == ["Relu", "GlobalAveragePool", "Conv", "Flatten"]
    assert_same_function(merged, graph)
    assert macs(merged) == 4 * 3


@pytest.mark.parametrize("bias", [True, False])
def test_mean_over_windows_goes_before_a_layer_of_single_positions(bias: bool) -> None:
    net = start(7, channels=4)
    wide = Conv(filters=6, bias=bias).append(net, net.op("Relu", "x"))
    pooled = net.op("AveragePool", wide, kernel_shape=[2, 2], strides=[2, 2])
    graph = net.finish(net.op("Relu", pooled), input_shape=(4, SIZE, SIZE))
    merged = merge_linear(graph)
    assert operators(merged) == ["Relu", "AveragePool", "Conv", "Relu"]
    assert_same_function(merged, graph)
    assert macs(merged) == 4 * 4 * 4 * 6


@pytest.mark.parametrize(
    "window",
    [
        {"kernel_shape": [2, 2], "strides": [2, 2], "pads": [1, 1, 1, 1]},
        {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1},
        {"kernel_shape": [2, 2], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
        {"kernel_shape": [1, 1]},
    ],
)
def test_mean_stays_where_windows_reach_beyond_the_image_or_nothing_is_saved(
    window: Mapping[str, Any],  # Any: attributes
) -> None:
    net = start(7, channels=4)
    pooled = net.op("AveragePool", Conv(filters=6).append(net, "x"), **window)
    graph = net.finish(pooled, input_shape=(4, SIZE, SIZE))
    assert merge_linear(graph) is graph


@pytest.mark.parametrize(
    ("layer", "left"),
    [
        pytest.param(Conv(filters=6), ["Relu", "Conv"], id="single positions"),
        pytest.param(Conv(filters=6, kernel=K3), ["Relu", "Conv"], id="no padding"),
        pytest.param(Conv(filters=2, kernel=K3, group=4), ["Relu", "Conv"], id="depthwise"),
        pytest.param(
            Conv(filters=6, kernel=K3, pads=SAME),
            ["Relu", "BatchNormalization", "Conv"],
            id="its shift ends at the border",
        ),
    ],
)
def test_norm_merges_into_the_convolution_after_it(layer: Conv, left: Sequence[str]) -> None:
    net = start(7, channels=4)
    normed = net.norm(net.op("Relu", "x"))
    graph = net.finish(layer.append(net, normed), input_shape=(4, SIZE, SIZE))
    merged = merge_linear(graph)
    assert operators(merged) == left
    assert_same_function(merged, graph)


@pytest.mark.parametrize("group", [1, 4])
def test_classifier_takes_in_a_convolution_that_leaves_one_position(group: int) -> None:
    net = start(7, channels=4)
    whole = Conv(filters=8 // group, kernel=K3, group=group, bias=False).append(net, "x")
    graph = net.finish(net.linear(flat(net, whole, "Flatten"), 1), input_shape=(4, 3, 3))
    merged = merge_linear(graph)
    assert operators(merged) == ["Conv", "Flatten"]
    assert_same_function(merged, graph)


@pytest.mark.parametrize(
    ("layer", "size"),
    [
        pytest.param(Conv(filters=8, kernel=K3), 4, id="several positions are left"),
        pytest.param(Conv(filters=1, kernel=K3), 3, id="a bottleneck"),
    ],
)
def test_classifier_stays_where_it_cannot_take_in_the_convolution(layer: Conv, size: int) -> None:
    net = start(7, channels=4)
    row = flat(net, layer.append(net, "x"), "Flatten")
    net.width[row] = layer.filters * (size - 2) ** 2
    graph = net.finish(net.linear(row, 3), input_shape=(4, size, size))
    assert merge_linear(graph) is graph


def flat(net: NetBuilder, x: str, flattening: str) -> str:
    return net.op("Flatten", x, axis=1) if flattening == "Flatten" else net.op("Reshape", x, net.integers(0, -1))


def test_layers_stay_when_the_value_between_is_read_twice_or_is_an_output() -> None:
    net = start(8, channels=4)
    first = Conv(filters=8).append(net, "x")
    second = Conv(filters=8).append(net, first)
    assert (graph := net.finish(net.op("Add", first, second), input_shape=(4, 5, 5))) is merge_linear(graph)
    two = chain(Conv(filters=8), Conv(filters=4))
    between = Port(name=two.nodes[0].outputs[0], dtype=two.outputs[0].dtype, shape=("N", 8, SIZE, SIZE))
    both = replace(two, outputs=(*two.outputs, between))
    assert merge_linear(both) is both


def test_layers_stay_when_a_weight_is_shared() -> None:
    net = start(9, channels=4)
    first = Conv(filters=4, bias=False).append(net, "x")
    graph = net.finish(net.op("Conv", first, "conv0.weight", width=4), input_shape=(4, 5, 5))
    assert merge_linear(graph) is graph


def test_layers_stay_when_padding_is_implied() -> None:
    net = start(9, channels=4)
    weight = net.normal("implied.weight", 4, 4, 3, 3)
    first = net.op("Conv", "x", weight, width=4, auto_pad="SAME_UPPER", strides=[2, 2])
    graph = net.finish(Conv(filters=4).append(net, first), input_shape=(4, 5, 5))
    assert merge_linear(graph) is graph


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_layers_stay_when_their_product_is_no_number_of_their_type(value: float) -> None:
    graph = chain(Conv(filters=8), Conv(filters=4))
    large = {name: np.full_like(array, value) for name, array in graph.weights.items()}
    broken = graph.with_weights(large)
    assert merge_linear(broken) is broken


def test_weights_keep_their_type() -> None:
    graph = chain(Conv(filters=8), Conv(filters=4, kernel=K3))
    halves = graph.with_weights({name: array.astype(np.float16) for name, array in graph.weights.items()})
    merged = merge_linear(halves)
    assert {array.dtype for array in merged.weights.values()} == {np.dtype(np.float16)}
    exact = merge_linear(graph.with_weights({name: array.astype(np.float32) for name, array in halves.weights.items()}))
    for name, array in merged.weights.items():
        np.testing.assert_array_equal(array, exact.weights[name].astype(np.float16))


@settings(max_examples=40, deadline=None)
@given(first=convolutions(4), filters=st.sampled_from([1, 2]), stride=pairs_of_sizes[2])
def test_a_narrower_layer_of_single_positions_always_merges(first: Conv, filters: int, stride: tuple[int, int]) -> None:
    first = replace(first, group=1, filters=max(first.filters, filters))
    graph = chain(first, Conv(filters=filters, stride=stride))
    assert operators(merge_linear(graph)) == ["Conv"]
