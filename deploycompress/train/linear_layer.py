"""The layers of a graph that are linear maps with a kernel of their own: what they read, and how the kernel lies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from deploycompress.errors import ModelError
from deploycompress.graph import Graph, Node, Shape
from deploycompress.network.operator import NodeContext
from deploycompress.network.operators.windows import Axis, window_axes
from deploycompress.views import ConstantView, constant_views


@dataclass(frozen=True, slots=True, kw_only=True)
class LinearLayer:
    """A convolution, or a product of data and a matrix.

    Attributes:
        weight: name of the kernel.
        order: axes of the kernel in the order outputs, inputs (of one group), space.
        groups: number of groups that share no weights.
        bias: name of the bias that the node adds itself, empty for none.
        input: value it reads; channels lie on axis 1 of a convolution, on the last axis of a product.
        output: value it makes, channels likewise.
        axes: how a convolution's window slides along each axis of space; empty for a product.
    """

    weight: str
    order: tuple[int, ...]
    groups: int
    bias: str
    input: str
    output: str
    axes: tuple[Axis, ...]

    @property
    def channel_axis(self) -> int:
        """Axis of inputs and outputs on which the channels lie."""
        return 1 if self.axes else -1


def linear_layers(graph: Graph) -> dict[str, LinearLayer]:
    """Find the layers whose kernel and bias nothing else reads, in the order of the nodes, by kernel.

    Layers whose sizes depend on the data, or that scale their product, are left out.
    """
    views = constant_views(graph)
    cast = {views[node.input(0)].constant for node in graph.nodes if node.op == "Cast" and node.input(0) in views}
    reads = Counter(views[name].constant for node in graph.nodes for name in node.reads if name in views)
    views_read = Counter(views[name].constant for name in views if name not in graph.weights)
    found = {}
    for node in graph.nodes:
        for layer in _layer(graph, node, views):
            # each view on the way reads the constant once more than the layer does
            is_single = reads[layer.weight] - views_read[layer.weight] == 1 and layer.weight not in cast
            if is_single and (not layer.bias or reads[layer.bias] == 1):
                found[layer.weight] = layer
    return found


def places_of(graph: Graph, layer: LinearLayer, value: str) -> Shape | None:
    """Give the sizes of a value at batch size one without its channel axis; nothing where they depend on the data."""
    shape = graph.shapes.get(value)
    if not shape or min(shape) < 0:
        return None
    channel = layer.channel_axis % len(shape)
    return tuple(size for axis, size in enumerate(shape) if axis != channel)


def _layer(graph: Graph, node: Node, views: Mapping[str, ConstantView]) -> Iterator[LinearLayer]:
    view, bias = views.get(node.input(1)), node.input(2)
    is_known = node.is_standard and node.op in _READERS and view is not None and node.input(0) not in views
    if not is_known or view is None or (bias and bias not in graph.weights) or len(view.order) < 2:
        return
    kernel = graph.weights[view.constant]
    if not np.issubdtype(kernel.dtype, np.floating):
        return
    place = _READERS[node.op](graph, node, view)
    if place is not None:
        order, groups, axes = place
        outputs = kernel.shape[order[0]]
        if not bias or graph.weights[bias].size == outputs:
            yield LinearLayer(
                weight=view.constant, order=order, groups=groups, bias=bias,
                input=node.input(0), output=node.outputs[0], axes=axes,
            )  # fmt: skip


_Place = tuple[tuple[int, ...], int, tuple[Axis, ...]]


def _convolution(graph: Graph, node: Node, view: ConstantView) -> _Place | None:
    context = NodeContext(
        node=node, graph=graph, constants=graph.weights, shapes=graph.shapes, computed_sizes=frozenset()
    )
    kernel = tuple(graph.weights[view.constant].shape[axis] for axis in view.order[2:])
    try:
        axes = window_axes(context, kernel)
    except ModelError:
        return None
    return view.order, int(node.attributes.get("group", 1)), axes


def _general_product(graph: Graph, node: Node, view: ConstantView) -> _Place | None:
    del graph
    scales = [float(node.attributes.get(name, 1.0)) for name in ("alpha", "beta")]
    if scales != [1.0, 1.0] or node.attributes.get("transA", 0):
        return None
    return (view.order if node.attributes.get("transB", 0) else view.order[::-1]), 1, ()


def _product(graph: Graph, node: Node, view: ConstantView) -> _Place | None:
    del graph, node
    return (view.order[::-1], 1, ()) if len(view.order) == 2 else None


_READERS = {"Conv": _convolution, "Gemm": _general_product, "MatMul": _product}
