"""Zero-padded shortcuts become the convolutions they are where these are exact, small and in 8 bits; others stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from deploycompress.capturing.capture import capture
from deploycompress.graph import Graph, graph_from_onnx
from deploycompress.quantize.layers import layers
from deploycompress.quantize.shortcuts import convolved_shortcuts
from deploycompress.surgery.shipped import shipped_form
from tests.build import NetBuilder, start
from tests.quantize.runs import Array, computed, images, in_int8, outputs, relative_rms, session
from tools.cifar_resnet import resnet20

SIZE = 8
EVERY_OTHER = ((0, 0), (2**31, 2**31), (2, 3), (2, 2))
CHANNELS = (0, 2, 0, 0, 0, 6, 0, 0)


def all_nodes(graph: Graph) -> list[str]:
    return [node.name for node in graph.nodes]


def block(
    slices: Sequence[Sequence[Sequence[int]]] = (EVERY_OTHER,),
    pads: Sequence[int] = CHANNELS,
    *,
    mode: str = "constant",
    axes: Sequence[int] | None = None,
    value: float | None = None,
    kernel: int = 3,
    stride: int = 2,
    group: int = 1,
    beside: str = "Conv",
) -> Graph:
    """A convolution, then one with stride beside a shortcut, and their sum."""
    net = start()
    x = net.op("Relu", net.conv("x", 8))
    y = net.conv(x, 16, kernel=kernel, stride=stride, group=group)
    if beside != "Conv":
        y = net.op(beside, y)
    short = x
    for slice_ in slices:
        short = net.op("Slice", short, *(net.integers(*values) for values in slice_))
    extra = [] if value is None and axes is None else [_number(net, value or 0.0)]
    extra += [] if axes is None else [net.integers(*axes)]
    short = net.op("Pad", short, net.integers(*pads), *extra, width=16, mode=mode)
    graph = net.finish(net.conv(net.op("Relu", net.op("Add", y, short)), 4), input_shape=(3, SIZE, SIZE))
    return graph if axes is None else graph_from_onnx(replace(graph, opset=18).to_onnx())  # the first that reads axes


def _as_written(graph: Graph) -> Array:
    """Run every node by itself: in other layouts sums are rounded in another order."""
    plain = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    found: Array = session(graph, graph_optimization_level=plain).run(None, {"x": images()})[0]
    return found


def _number(net: NetBuilder, value: float) -> str:
    return net.weight(f"number{len(net.weights)}", np.asarray(value, np.float32))


@pytest.mark.parametrize(
    "graph",
    [
        block(),
        block(pads=(0, 8, 0, 0, 0, 0, 0, 0)),
        block(pads=(3, 5), axes=(1,), value=0.0),
        block(pads=(3, 5), axes=(-3,)),
        block(slices=(((0,), (2**31,), (2,), (2,)), ((0,), (SIZE,), (-1,), (2,)))),
        block(slices=(((0, 0), (2**31,) * 2, (2, 3), (2, 1)), ((0,), (2**31,), (3,), (2,)))),
        block(slices=(), stride=1),
        block(slices=(((0, 0), (7, 7), (2, 3), (2, 2)),)),  # every other position of eight: the last one is the seventh
    ],
)
def test_shortcut_becomes_a_convolution_to_the_bit(graph: Graph) -> None:
    found = convolved_shortcuts(graph, all_nodes(graph))

    assert not {"Pad", "Slice"} & {node.op for node in found.nodes}
    assert [node.op for node in found.nodes].count("Conv") == 4
    assert not set(found.shapes) - set(graph.shapes)
    np.testing.assert_array_equal(_as_written(found), _as_written(graph))


@pytest.mark.parametrize(
    "slices",
    [((1, 1), (2**31,) * 2, (2, 3), (2, 2)), ((0, 0), (4, 4), (2, 3), (1, 1)), ((0, 4), (8, 8), (2, 3), (2, 1))],
)
def test_slices_that_no_stride_does_stay_before_it(slices: Sequence[Sequence[int]]) -> None:
    graph = block(slices=(slices,))
    found = convolved_shortcuts(graph, all_nodes(graph))

    assert [node.op for node in found.nodes].count("Slice") == 1
    assert "Pad" not in {node.op for node in found.nodes}
    np.testing.assert_array_equal(_as_written(found), _as_written(graph))


@pytest.mark.parametrize(
    "graph",
    [
        block(value=1.0),
        block(mode="edge"),
        block(pads=(0, 2, 1, 1, 0, 6, 0, 0), slices=(((0, 0), (6, 6), (2, 3), (2, 2)),)),
        block(kernel=1, group=4),  # a quarter of the shortcut's multiplications
        block(beside="Sigmoid"),
    ],
)
def test_other_shortcuts_stay(graph: Graph) -> None:
    assert convolved_shortcuts(graph, all_nodes(graph)) is graph


def test_what_is_not_computed_in_8_bits_stays() -> None:
    graph = block()
    ops = [node.op for node in in_int8(graph, higher=layers(graph)).nodes]

    assert ops.count("Pad") == 1
    assert convolved_shortcuts(graph, ()) is graph


def test_resnet_is_computed_in_integers_from_end_to_end(tmp_path: Path) -> None:
    graph = shipped_form(capture(resnet20().eval(), input_shape=(1, 3, 32, 32)))
    batch = images(shape=(3, 32, 32))
    found = in_int8(graph, batch=batch)
    kernels = computed(found, tmp_path)

    assert kernels["QLinearConv"] == 19 + 2
    assert (kernels["Pad"], kernels["Slice"]) == (1, 0)  # of the image
    assert kernels["QuantizeLinear"] == 1
    assert relative_rms(outputs(found, batch), outputs(graph, batch)) < 0.05


def test_shortcut_carries_codes_as_they_are() -> None:
    """Its weights are exactly one, and it gives the scale that it reads: what comes out are the codes that went in."""
    found = in_int8(block())
    pairs = {node.outputs[0]: node for node in found.nodes if node.op == "DequantizeLinear"}
    conv = next(node for node in found.nodes if node.op == "Conv" and node.name.startswith("Pad"))
    weight = pairs[conv.input(1)]
    codes, scale = (found.weights[weight.input(place)] for place in (0, 1))

    np.testing.assert_array_equal(codes.max(axis=(1, 2, 3))[2:10], 127)
    np.testing.assert_allclose(scale[2:10] * 127, 1.0, rtol=1e-6)
