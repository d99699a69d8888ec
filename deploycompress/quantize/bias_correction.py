"""Bias correction: rounding weights shifts the mean of what a layer gives, and the bias can take that back.

The shift of a channel is the mean of what the rounding errors of its weights make of the layer's input (Nagel et al.
2019, section 4.2). It is measured: beside each layer runs one that has the errors as weights.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

import numpy as np

from deploycompress.errors import DataError
from deploycompress.graph import Array, Graph, Node
from deploycompress.profile_precision import Int8Format
from deploycompress.quantize.affine import codes
from deploycompress.quantize.placement import Layer, place
from deploycompress.quantize.running import check_batch, open_port, runner
from deploycompress.quantize.static import layer_affine, scale_axis
from deploycompress.quantize.support import plain_single

CORRECTED = frozenset({"Conv", "Gemm"})


def bias_corrected(
    shipped: Graph, batches: Iterable[Array], form: Int8Format, *, higher: Collection[str] = ()
) -> Graph:
    """Take out of every bias the mean error that rounding its layer's weights brings.

    Args:
        shipped: float network with one input, in the form that ships.
        batches: normalised training images, float32 [B, C, H, W].
        form: how the weights will be rounded.
        higher: layers that stay in single precision, by the name of their weight without `.weight`.

    Returns:
        A float network to be quantised in that form with the same `higher`; by itself it is none the better. Layers
        without a bias get one.

    Raises:
        DataError: there are no batches, or they do not fit.
        ModelError: the network has a lower precision already.
    """
    graph = plain_single(shipped)
    nodes = {node.name: node for node in graph.nodes}
    layers = [layer for layer in place(graph, higher).layers if nodes[layer.node].op in CORRECTED]
    shifts = _mean_shifts(graph, layers, batches, form) if layers else []
    weights: dict[str, Array] = {}
    for layer, shift in zip(layers, shifts, strict=True):
        name = f"{layer.node}.corrected_bias"
        bias = graph.weights[layer.bias].reshape(-1) if layer.bias else 0.0
        weights[name] = (bias - shift).astype(np.float32)
        node = nodes[layer.node]
        nodes[layer.node] = replace(node, inputs=(*node.inputs[:2], name))
    unread = {layer.bias for layer in layers} - {name for node in nodes.values() for name in node.reads}
    kept = {name: array for name, array in graph.weights.items() if name not in unread}
    return replace(graph, nodes=tuple(nodes.values()), weights={**kept, **weights})


def _mean_shifts(graph: Graph, layers: list[Layer], batches: Iterable[Array], form: Int8Format) -> list[Array]:
    """Give each layer's mean rounding error by output channel, float64 [channels], over all images and positions."""
    run = runner(_with_errors(graph, layers, form))
    sums: list[Array] = [np.zeros(())] * len(layers)
    images = 0
    for batch in batches:
        checked = check_batch(np.asarray(batch), graph)
        images += len(checked)
        sums = [total + means * len(checked) for total, means in zip(sums, run(checked), strict=True)]
    if not images:
        raise DataError("There are no calibration images; give --data, some hundred training images are enough.")
    return [total.reshape(-1) / images for total in sums]


def _with_errors(graph: Graph, layers: list[Layer], form: Int8Format) -> Graph:
    """Make the graph give, for each layer, the mean of its own operator with its rounding errors as weight."""
    nodes = {node.name: node for node in graph.nodes}
    added: list[Node] = []
    weights: dict[str, Array] = {}
    for layer in layers:
        node, name = nodes[layer.node], f"{layer.node}.error"
        weights[f"{name}.weight"] = _rounding_error(graph.weights[layer.weight], layer, form)
        inputs = (layer.source, f"{name}.weight")
        added.append(replace(node, name=name, inputs=inputs, outputs=(f"{name}.output",)))
        axes = [0, *range(2, graph.weights[layer.weight].ndim)]
        weights[f"{name}.axes"] = np.asarray(axes, np.int64)
        added.append(_mean(name, axes, graph.opset))
    ports = tuple(open_port(f"{layer.node}.error.mean", 1) for layer in layers)
    return replace(graph, nodes=(*graph.nodes, *added), weights={**graph.weights, **weights}, outputs=ports)


def _mean(name: str, axes: list[int], opset: int) -> Node:
    given_as_input = opset >= 18
    return Node(
        name=f"{name}.ReduceMean",
        op="ReduceMean",
        inputs=(f"{name}.output", f"{name}.axes") if given_as_input else (f"{name}.output",),
        outputs=(f"{name}.mean",),
        attributes={"keepdims": 0} if given_as_input else {"keepdims": 0, "axes": axes},
    )


def _rounding_error(weight: Array, layer: Layer, form: Int8Format) -> Array:
    axis = scale_axis(layer.axis, weight.ndim, form)
    affine = layer_affine(weight, layer.axis, form)
    scale = affine.scale if axis is None else affine.scale.reshape([-1 if i == axis else 1 for i in range(weight.ndim)])
    error: Array = (codes(weight, affine, axis).astype(np.float32) * scale - weight).astype(np.float32)
    return error
