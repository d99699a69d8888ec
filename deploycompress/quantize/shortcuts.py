"""Zero-padded shortcuts as the 1x1 convolutions that compute them, which have a kernel in 8 bits.

A shortcut that takes every other position and adds channels of zeros (He et al. 2016, section 3.3, option A)
multiplies nothing. But ONNX Runtime has no Pad in 8 bits, so values go to float and back; the convolution stays among
integers.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np

from deploycompress.graph import Array, Graph, Node, prune_unused
from deploycompress.measuring.static import node_macs
from deploycompress.quantize.operators import is_carrying

FIRST_OF_IMAGE = 2  # axes before it are the batch and the channels


def convolved_shortcuts(graph: Graph, chosen: Collection[str]) -> Graph:
    """Let 1x1 convolutions do what slices with a step and zero channels do before an addition.

    Only where what it is added to comes from a convolution of at least as many multiplications, so that the new one is
    small beside it.

    Args:
        graph: float network in the form that ships.
        chosen: names of the nodes that are to be computed in 8 bits; others stay as they are.

    Returns:
        A graph that computes the same, to the bit where values are finite, and whose tensors keep their names; the
        graph itself where there is nothing to do.
    """
    producers, readers = graph.producers(), graph.readers()
    found: dict[str, Node] = {}
    kernels: dict[str, Array] = {}
    for pad in graph.nodes:
        beside = _largest_beside(graph, pad, producers, readers) if pad.name in chosen and pad.op == "Pad" else None
        shortcut = None if beside is None else _read(graph, pad, producers)
        if beside is None or shortcut is None:
            continue
        conv, kernel = shortcut
        if kernel.size * math.prod(graph.shapes[pad.outputs[0]][FIRST_OF_IMAGE:]) <= node_macs(graph, beside):
            dtype = graph.weights[beside.input(1)].dtype
            found[pad.name], kernels[conv.inputs[1]] = conv, kernel.astype(dtype)
    if not found:
        return graph
    nodes = tuple(found.get(node.name, node) for node in graph.nodes)
    pruned = prune_unused(replace(graph.with_weights(kernels), nodes=nodes))
    made = {name for node in pruned.nodes for name in node.outputs} | {port.name for port in pruned.inputs}
    return replace(pruned, shapes={name: shape for name, shape in graph.shapes.items() if name in made})


def _largest_beside(
    graph: Graph, pad: Node, producers: Mapping[str, Node], readers: Mapping[str, list[tuple[Node, int]]]
) -> Node | None:
    """Find the convolutions to whose outputs a shortcut is added, and give the one of most multiplications."""
    sums = [node for node, _ in readers.get(pad.outputs[0], []) if node.op == "Add" and node.is_standard]
    makers = [producers[name] for node in sums for name in node.inputs if name in producers]
    known = [node for node in makers if node.op == "Conv" and node.input(1) in graph.weights and _is_known(graph, node)]
    return max(known, key=lambda node: node_macs(graph, node), default=None)


def _is_known(graph: Graph, node: Node) -> bool:
    return all(graph.known_shape_of(name) is not None for name in (node.input(0), node.outputs[0]))


def _read(graph: Graph, pad: Node, producers: Mapping[str, Node]) -> tuple[Node, Array] | None:
    """Give the convolution, and its kernel, that a zero-padding of channels is with the slices before it."""
    output = graph.known_shape_of(pad.outputs[0])
    is_zeros = pad.attributes.get("mode", b"constant") in (b"constant", "constant") and is_carrying(pad, graph)
    if not is_zeros or output is None or len(output) <= FIRST_OF_IMAGE:
        return None
    before = _zeros_before(graph, pad, len(output))
    if before is None:
        return None
    source, strides = _unsliced(graph, pad.input(0), producers, len(output) - FIRST_OF_IMAGE)
    entry = graph.known_shape_of(source)
    if entry is None:
        return None
    kernel = np.zeros((output[1], entry[1], *[1] * len(strides)), np.float32)
    kernel[before + np.arange(entry[1]), np.arange(entry[1])] = 1
    weight = f"{pad.name}.shortcut.weight"
    conv = Node(
        name=pad.name,
        op="Conv",
        inputs=(source, weight),
        outputs=pad.outputs,
        attributes={"kernel_shape": [1] * len(strides), "strides": strides},
    )
    return conv, kernel


def _zeros_before(graph: Graph, pad: Node, rank: int) -> int | None:
    """Give how many channels of zeros come before the others, where nothing but channels is padded."""
    amounts = graph.weights.get(pad.input(1))
    axes = graph.weights.get(pad.input(3)) if pad.input(3) else np.arange(rank)
    if amounts is None or axes is None or amounts.min(initial=0) < 0:
        return None
    padded = {int(axis) % rank: place for place, axis in enumerate(axes)}
    others = [place for axis, place in padded.items() if axis != 1]
    if 1 not in padded or amounts.reshape(2, -1)[:, others].any():
        return None
    return int(amounts[padded[1]])


def _unsliced(graph: Graph, name: str, producers: Mapping[str, Node], axes: int) -> tuple[str, list[int]]:
    """Go up through slices that take every so many positions from the first on, and multiply their steps."""
    strides = [1] * axes
    while (node := producers.get(name)) is not None and (steps := _steps(graph, node)) is not None:
        strides = [stride * step for stride, step in zip(strides, steps, strict=True)]
        name = node.input(0)
    return name, strides


def _steps(graph: Graph, node: Node) -> list[int] | None:
    """Give the step along each axis of the image of a slice that begins at the first position and goes to the last."""
    entry, output = graph.known_shape_of(node.input(0)), graph.known_shape_of(node.outputs[0])
    if node.op != "Slice" or not node.is_standard or entry is None or output is None:
        return None
    starts, _, axes, steps = (graph.weights.get(node.input(place)) for place in (1, 2, 3, 4))
    if starts is None or axes is None or steps is None or starts.any() or steps.min() < 1:
        return None
    along = {int(axis) % len(entry): int(step) for axis, step in zip(axes, steps, strict=True)}
    is_whole = all(output[axis] == -(-entry[axis] // step) for axis, step in along.items())
    return [along.get(axis, 1) for axis in range(FIRST_OF_IMAGE, len(entry))] if is_whole and min(along) > 1 else None
