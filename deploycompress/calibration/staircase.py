"""Small networks around one operator, whose widths climb a staircase on the input or on the output side."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from deploycompress.calibration.layers import Layer
from deploycompress.graph import Graph, graph_from_onnx
from deploycompress.profile import Runtime

WIDTHS = (8, 9, 10, 12, 14, 15, 16, 17, 18, 20, 22, 24, 28, 31, 32, 33, 34, 36, 40, 48, 56, 63, 64, 65, 80, 96, 128)
"""Channel counts that are measured: multiples of 4 to 64, widths half-way between them, and their neighbours."""

COPIES = 4
"""Operators in one network, so that what it costs to enter and leave it counts little."""

LEAST_FIXED, MOST_FIXED = 32, 128
"""Bounds of the width on the side that stays; a multiple of 32 suits every kernel."""

MOST_MACS = 16_000_000
"""Arithmetic of one operator at width 64; a layer on larger images is measured on smaller ones."""

_OPSET, _IR = 17, 8


class Side(StrEnum):
    """Which width of an operator changes."""

    INPUT = "input"
    OUTPUT = "output"
    BOTH = "both"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """One staircase to measure.

    Attributes:
        layer: the typical layer of a kind.
        side: which of its widths changes; `both` where they are one.
        widths: channel counts to measure, ascending.
        fixed: channels on the other side.
        size: extents of the images, or rows of a product.
    """

    layer: Layer
    side: Side
    widths: tuple[int, ...]
    fixed: int
    size: tuple[int, ...]


def sweeps_of(layer: Layer) -> tuple[Sweep, ...]:
    """Say what to measure for a kind: each side apart, or both where they are one."""
    if layer.is_tied:
        step = max(layer.inputs // layer.groups, 1)
        # One group alone would be an operator of another kind.
        widths = tuple(width for width in WIDTHS if width % step == 0 and width > step)
        return (Sweep(layer=layer, side=Side.BOTH, widths=widths, fixed=0, size=_size(layer, layer.inputs)),)
    return (
        Sweep(layer=layer, side=Side.INPUT, widths=WIDTHS, fixed=_fixed(layer.outputs), size=_size(layer, 64)),
        Sweep(layer=layer, side=Side.OUTPUT, widths=WIDTHS, fixed=_fixed(layer.inputs), size=_size(layer, 64)),
    )


def staircase_network(sweep: Sweep, width: int, runtime: Runtime) -> Graph:
    """Build the network of one width: copies of the operator side by side and summed, or in a row where sides are one.

    Args:
        sweep: operator, size and side.
        width: channels on the side that changes.
        runtime: what the device can load.

    Returns:
        A graph in single precision with random weights, the same for the same arguments.
    """
    layer = sweep.layer
    inputs = width if sweep.side is not Side.OUTPUT else sweep.fixed
    outputs = width if sweep.side is not Side.INPUT else sweep.fixed
    generator = np.random.default_rng(width)
    nodes, weights, made = [], [], "x"
    for copy in range(COPIES):
        shape = _weight_shape(layer, inputs, outputs)
        scale = 1 / math.sqrt(max(math.prod(shape) // outputs, 1))
        weights.append(
            numpy_helper.from_array((scale * generator.standard_normal(shape)).astype(np.float32), f"w{copy}")
        )
        source = made if sweep.side is Side.BOTH else "x"
        nodes.append(
            helper.make_node(
                layer.op, [source, f"w{copy}"], [f"y{copy}"], name=f"op{copy}", **_attributes(layer, width)
            )
        )
        if sweep.side is Side.BOTH or copy == 0:
            made = f"y{copy}"
        else:
            nodes.append(helper.make_node("Add", [made, f"y{copy}"], [f"s{copy}"], name=f"add{copy}"))
            made = f"s{copy}"
    return _graph(nodes, weights, (_input_shape(layer, inputs, sweep.size), made), runtime)


def _graph(
    nodes: list[onnx.NodeProto], weights: list[onnx.TensorProto], ends: tuple[list[int], str], runtime: Runtime
) -> Graph:
    shape, output = ends
    graph = helper.make_graph(
        nodes,
        "staircase",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        weights,
    )
    opset = helper.make_opsetid("", min(_OPSET, runtime.max_opset))
    model = helper.make_model(graph, opset_imports=[opset], producer_name="deploycompress")
    model.ir_version = min(_IR, runtime.max_ir)
    return graph_from_onnx(onnx.shape_inference.infer_shapes(model))


def _fixed(width: int) -> int:
    return min(max(32 * round(width / 32), LEAST_FIXED), MOST_FIXED)


def _size(layer: Layer, width: int) -> tuple[int, ...]:
    """Halve the layer's images until its arithmetic is moderate."""
    size, other = layer.size, 1 if layer.is_tied else 64
    while math.prod(size) * math.prod(layer.kernel) * width * other > MOST_MACS and max(size) > 8:
        size = tuple(-(-extent // 2) for extent in size)
    return size


def _weight_shape(layer: Layer, inputs: int, outputs: int) -> tuple[int, ...]:
    if layer.op == "ConvTranspose":
        return (inputs, outputs, *layer.kernel)
    if layer.op == "Conv":
        return (outputs, layer.inputs // layer.groups if layer.is_tied else inputs, *layer.kernel)
    return (inputs, outputs)


def _input_shape(layer: Layer, inputs: int, size: tuple[int, ...]) -> list[int]:
    if layer.op == "Gemm":
        return [math.prod(size), inputs]
    return [1, *size, inputs] if layer.op == "MatMul" else [1, inputs, *size]


def _attributes(layer: Layer, width: int) -> dict[str, Any]:  # Any: numbers and lists, as each operator has them
    if layer.op in ("Gemm", "MatMul"):
        return {}
    if layer.op == "ConvTranspose":
        return {"kernel_shape": list(layer.kernel), "strides": list(layer.strides)}
    groups = width // max(layer.inputs // layer.groups, 1) if layer.is_tied else 1
    before, after = [(extent - 1) // 2 for extent in layer.kernel], [extent // 2 for extent in layer.kernel]
    return {"kernel_shape": list(layer.kernel), "pads": [*before, *after], "group": groups}
