"""Keeps operators without weights from reading cut channels: the oracle's part for norms, means and products.

Slim graphs need none of this, for these operators work on whatever is there. In a masked graph everything is still
there, so what reads all channels at once is rewritten to read those that stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from onnx import TensorProto

from deploycompress.channels.records import Channels, Reading, ReadTie
from deploycompress.graph import Array, Graph, Node
from deploycompress.surgery.fold import DEFAULT_EPSILON
from deploycompress.surgery.masks import Mask

CAST_LIKE_SINCE = 15  # operator set


def mask_reads(graph: Graph, channels: Channels, kept: Mask) -> Graph:
    """Rewrite every operator without weights that reads a cut channel, so that it reads only those that stay.

    Args:
        graph: a graph of full size.
        channels: what `trace_channels` gave for it.
        kept: whether each channel stays, by channel number, shape [count + 1].
    """
    ties: dict[str, list[ReadTie]] = {}
    for tie in channels.reads:
        if not kept[tie.channels].all():
            ties.setdefault(tie.node, []).append(tie)
    if not ties:
        return graph
    writer = _Writer(graph)
    for node in graph.nodes:
        match ties.get(node.name, []):
            case []:
                writer.nodes.append(node)
            case [tie] if tie.reading is Reading.NORMALISE:
                _normalise(writer, node, tie, kept)
            case [tie] if tie.reading is Reading.MEAN:
                _mean(writer, node, tie, kept)
            case sums:
                _sum(writer, node, sums, kept)
    return replace(graph, nodes=tuple(writer.nodes), weights={**graph.weights, **writer.constants})


@dataclass
class _Writer:
    """Appends operators in the place of one, under names of their own."""

    graph: Graph
    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)

    def constant(self, name: str, array: Array) -> str:
        self.constants[name] = array
        return name

    def op(
        self, prefix: str, kind: str, *inputs: str, output: str = "", attributes: Mapping[str, object] | None = None
    ) -> str:
        name = f"{prefix}.masked.{len(self.nodes)}"
        self.nodes.append(
            Node(name=name, op=kind, inputs=inputs, outputs=(output or name,), attributes=attributes or {})
        )
        return output or name

    def scalar(self, name: str, value: float) -> str:
        return self.constant(name, np.asarray(value, dtype=np.float32))

    def like(self, node: Node, tensor: str, other: str) -> str:
        """Give a tensor the element type of another; a graph does not know its types, and older sets have float32."""
        return self.op(node.name, "CastLike", tensor, other) if self.graph.opset >= CAST_LIKE_SINCE else tensor

    def single(self, node: Node, tensor: str) -> str:
        return self.op(node.name, "Cast", tensor, attributes={"to": int(TensorProto.FLOAT)})


def _mask(writer: _Writer, node: Node, tie: ReadTie, kept: Mask) -> str:
    shape = [1] * len(writer.graph.shape_of(node.input(tie.place)))
    shape[tie.axis] = len(tie.channels)
    return writer.constant(f"{node.name}.mask{tie.place}", kept[tie.channels].astype(np.float32).reshape(shape))


def _sum(writer: _Writer, node: Node, ties: Sequence[ReadTie], kept: Mask, output: str = "") -> None:
    """Let sums and products read zeros in place of what was cut."""
    inputs = list(node.inputs)
    for tie in ties:
        mask = writer.like(node, _mask(writer, node, tie, kept), inputs[tie.place])
        inputs[tie.place] = writer.op(node.name, "Mul", inputs[tie.place], mask)
    writer.nodes.append(replace(node, inputs=tuple(inputs), outputs=(output,) if output else node.outputs))


def _mean(writer: _Writer, node: Node, tie: ReadTie, kept: Mask) -> None:
    """Let a mean divide by the number of those that stay, too."""
    over_all = f"{node.name}.mean_of_all"
    _sum(writer, node, [tie], kept, over_all)
    ratio = writer.scalar(f"{node.name}.ratio", len(tie.channels) / int(kept[tie.channels].sum()))
    writer.op(node.name, "Mul", over_all, writer.like(node, ratio, over_all), output=node.outputs[0])


def _normalise(writer: _Writer, node: Node, tie: ReadTie, kept: Mask) -> None:
    """Write a norm out, with the mean and variance of the channels that stay."""
    shape = writer.graph.shape_of(node.input(0))
    axes = _normalised_axes(node, len(shape))
    count = int(kept[tie.channels].sum()) * int(np.prod([shape[axis] for axis in axes if axis != tie.axis]))
    mask, axes_name = _mask(writer, node, tie, kept), writer.constant(f"{node.name}.axes", np.asarray(axes, np.int64))
    size = writer.scalar(f"{node.name}.size", count)
    epsilon = writer.scalar(f"{node.name}.epsilon", float(node.attributes.get("epsilon", DEFAULT_EPSILON)))

    def mean(values: str) -> str:
        total = writer.op(node.name, "ReduceSum", writer.op(node.name, "Mul", values, mask), axes_name)
        return writer.op(node.name, "Div", total, size)

    source = writer.single(node, node.input(0))
    centred = writer.op(node.name, "Sub", source, mean(source))
    variance = mean(writer.op(node.name, "Mul", centred, centred))
    deviation = writer.op(node.name, "Sqrt", writer.op(node.name, "Add", variance, epsilon))
    result = writer.op(node.name, "Div", centred, deviation)
    for kind, name in zip(("Mul", "Add"), (node.input(1), node.input(2)), strict=True):
        if name:
            result = writer.op(node.name, kind, result, _aligned(writer, node, name, len(shape)))
    if writer.graph.opset >= CAST_LIKE_SINCE:
        writer.op(node.name, "CastLike", result, node.input(0), output=node.outputs[0])
    else:
        writer.op(node.name, "Identity", result, output=node.outputs[0])


def _normalised_axes(node: Node, rank: int) -> Sequence[int]:
    first = 2 if node.op == "InstanceNormalization" else int(node.attributes.get("axis", -1)) % rank
    return range(first, rank)


def _aligned(writer: _Writer, node: Node, name: str, rank: int) -> str:
    """Let an instance norm's factors, one for each position of axis 1, broadcast like a layer norm's."""
    factor = writer.single(node, name)
    if node.op != "InstanceNormalization":
        return factor
    shape = writer.constant(f"{node.name}.factor_shape", np.asarray([1, -1] + [1] * (rank - 2), np.int64))
    return writer.op(node.name, "Reshape", factor, shape)
