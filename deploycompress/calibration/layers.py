"""The layers of a model as latency sees them: kind, widths, positions; and one typical layer for each kind."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from deploycompress.channels.kinds import kind_of, weight_shape
from deploycompress.graph import Graph, Node, Shape

TIED = ("depthwise", "grouped")
"""Beginnings of the kinds whose input and output widths are one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One convolution or matrix product with constant weights.

    Attributes:
        kind: as `channels.kinds.kind_of` names it.
        op: ONNX operator.
        inputs: channels it reads.
        outputs: channels it makes.
        groups: of the convolution.
        kernel: extents of its window; empty for a product.
        strides: steps of its window; empty for a product.
        size: extents of what it reads besides batch and channels; the rows of a product.
        output_size: extents of what it makes besides batch and channels.
    """

    kind: str
    op: str
    inputs: int
    outputs: int
    groups: int
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    size: tuple[int, ...]
    output_size: tuple[int, ...]

    @property
    def macs(self) -> int:
        """Multiply-accumulate operations for one sample."""
        positions = self.size if self.op == "ConvTranspose" else self.output_size
        return self.inputs * self.outputs // self.groups * math.prod(self.kernel) * math.prod(positions)

    @property
    def is_tied(self) -> bool:
        """Whether its input and output widths are one."""
        return self.kind.startswith(TIED)


@dataclass(frozen=True, slots=True, kw_only=True)
class TypicalLayer:
    """The heaviest layer of a kind.

    Attributes:
        layer: the layer.
        share: the part of the model's multiply-accumulates that all layers of the kind have.
    """

    layer: Layer
    share: float


def layer_of(graph: Graph, node: Node) -> Layer | None:
    """Read a node as a layer; nothing when it is none, or when a size depends on the data."""
    kind, weight = kind_of(graph, node), weight_shape(graph, node)
    read, made = _known(graph, node.input(0)), _known(graph, node.outputs[0])
    if not kind or weight is None or read is None or made is None:
        return None
    if node.op in ("Gemm", "MatMul"):
        return _product(kind, node, weight, made)
    kernel = tuple(weight[2:])
    return Layer(
        kind=kind,
        op=node.op,
        inputs=read[1],
        outputs=made[1],
        groups=int(node.attributes.get("group", 1)),
        kernel=kernel,
        strides=tuple(int(step) for step in node.attributes.get("strides", [1] * len(kernel))),
        size=read[2:],
        output_size=made[2:],
    )


def _product(kind: str, node: Node, weight: Shape, made: Shape) -> Layer | None:
    if len(weight) < 2:
        return None
    inputs, outputs = weight[-2:]
    if node.op == "Gemm" and node.attributes.get("transB", 0):
        inputs, outputs = outputs, inputs
    rows = (math.prod(made[1:-1]),)
    return Layer(
        kind=kind,
        op=node.op,
        inputs=inputs,
        outputs=outputs,
        groups=1,
        kernel=(),
        strides=(),
        size=rows,
        output_size=rows,
    )


def typical_layers(graph: Graph) -> tuple[TypicalLayer, ...]:
    """Pick the heaviest layer of each kind that a model uses, the kind with the most arithmetic first."""
    by_kind: dict[str, list[Layer]] = {}
    for node in graph.nodes:
        layer = layer_of(graph, node)
        if layer is not None:
            by_kind.setdefault(layer.kind, []).append(layer)
    whole = max(sum(_macs(layers) for layers in by_kind.values()), 1)
    found = [
        TypicalLayer(layer=max(layers, key=lambda layer: layer.macs), share=_macs(layers) / whole)
        for layers in by_kind.values()
    ]
    return tuple(sorted(found, key=lambda typical: (-typical.share, typical.layer.kind)))


def _macs(layers: Sequence[Layer]) -> int:
    return sum(layer.macs for layer in layers)


def _known(graph: Graph, tensor: str) -> Shape | None:
    shape = graph.known_shape_of(tensor)
    return None if shape is None or len(shape) < 2 else shape
