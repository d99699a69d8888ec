"""Shrinks the kernels of convolutions to their centres, with padding to match, so that every output keeps its size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from deploycompress.errors import PlanError
from deploycompress.graph import Array, Graph, Node
from deploycompress.surgery.nearest import nearest

SAME = ("SAME_UPPER", "SAME_LOWER")


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelChoice:
    """A convolution whose kernel can shrink.

    Attributes:
        layer: name of its weight without `.weight`.
        kernel: size along each axis of space.
        sizes: what the largest size can become, descending; axes that are smaller already stay as they are.
    """

    layer: str
    kernel: tuple[int, ...]
    sizes: tuple[int, ...]


def kernel_choices(graph: Graph) -> tuple[KernelChoice, ...]:
    """List the convolutions whose kernels can shrink, in graph order.

    An axis of size k can become k' where k - k' is even and the padding covers what falls away on each side. A weight
    that several operators read is left out.

    Examples:
        >>> import deploycompress, torch
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 5, padding=2))
        >>> graph = deploycompress.capture(network, input_shape=(1, 3, 8, 8))
        >>> deploycompress.kernel_choices(graph)
        (KernelChoice(layer='0', kernel=(5, 5), sizes=(3, 1)),)
    """
    return tuple(choice for choice, _ in _choices(graph).values())


def shrink_kernels(graph: Graph, kernels: Mapping[str, int]) -> Graph:
    """Crop kernels to their centres and the padding by as much: the outputs keep their sizes.

    Args:
        graph: what to shrink.
        kernels: for each layer, the size that no axis of its kernel exceeds from then on.

    Returns:
        A graph with the same tensors.

    Raises:
        PlanError: the graph has no such layer, or the size is not on offer for it.

    Examples:
        >>> import deploycompress, torch
        >>> network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 5, padding=2))
        >>> graph = deploycompress.capture(network, input_shape=(1, 3, 8, 8))
        >>> deploycompress.shrink_kernels(graph, {"0": 3}).weights["0.weight"].shape
        (8, 3, 3, 3)
    """
    weights: dict[str, Array] = {}
    nodes: dict[str, Node] = {}
    for node, size in _wanted(graph, kernels):
        weight = graph.weights[node.inputs[1]]
        sizes = tuple(min(old, size) for old in weight.shape[2:])
        weights[node.inputs[1]] = np.ascontiguousarray(weight[_centre(weight.shape[2:], sizes)])
        nodes[node.name] = _with_kernel(node, weight.shape[2:], sizes)
    return (
        replace(graph.with_weights(weights), nodes=tuple(nodes.get(node.name, node) for node in graph.nodes))
        if nodes
        else graph
    )


def masked_kernels(graph: Graph, kernels: Mapping[str, int]) -> Graph:
    """Set what `shrink_kernels` crops to zero: same size, and the same function.

    Raises:
        PlanError: the graph has no such layer, or the size is not on offer for it.
    """
    weights: dict[str, Array] = {}
    for node, size in _wanted(graph, kernels):
        weight = graph.weights[node.inputs[1]]
        centre = _centre(weight.shape[2:], tuple(min(old, size) for old in weight.shape[2:]))
        weights[node.inputs[1]] = np.zeros_like(weight)
        weights[node.inputs[1]][centre] = weight[centre]
    return graph.with_weights(weights) if weights else graph


def _choices(graph: Graph) -> dict[str, tuple[KernelChoice, Node]]:
    uses = graph.uses()
    found: dict[str, tuple[KernelChoice, Node]] = {}
    for node in graph.nodes:
        weight = graph.weights.get(node.input(1))
        if node.op != "Conv" or not node.is_standard or weight is None or uses[node.inputs[1]] > 1:
            continue
        kernel = tuple(weight.shape[2:])
        sizes = tuple(size for size in range(max(kernel) - 1, 0, -1) if _is_on_offer(node, kernel, size))
        if sizes:
            layer = node.inputs[1].removesuffix(".weight")
            found[layer] = (KernelChoice(layer=layer, kernel=kernel, sizes=sizes), node)
    return found


def _wanted(graph: Graph, kernels: Mapping[str, int]) -> list[tuple[Node, int]]:
    if not kernels:
        return []
    choices = _choices(graph)
    found = []
    for layer, size in kernels.items():
        if layer not in choices:
            hint = nearest(layer, choices)
            raise PlanError(
                f"The plan shrinks the kernel of {layer!r}, but this model has no such convolution whose kernel can "
                f"shrink{hint}. Make the plan from it."
            )
        choice, node = choices[layer]
        if size not in choice.sizes:
            raise PlanError(
                f"The plan gives layer {layer!r}, whose kernel is {choice.kernel}, a kernel of size {size}; "
                f"on offer are {', '.join(map(str, choice.sizes))}."
            )
        found.append((node, size))
    return found


def _is_on_offer(node: Node, kernel: Sequence[int], size: int) -> bool:
    sizes = [min(old, size) for old in kernel]
    if any((old - new) % 2 for old, new in zip(kernel, sizes, strict=True)):
        return False
    if _auto_pad(node) in SAME:
        return _same_padding_follows(node, kernel, sizes)
    pads = _shrunk_pads(node, kernel, sizes)
    return _auto_pad(node) == "NOTSET" and min(pads) >= 0


def _same_padding_follows(node: Node, kernel: Sequence[int], sizes: Sequence[int]) -> bool:
    """Whether automatic padding loses the same on both sides for any input size.

    It pads by the effective kernel less one, plus what the stride leaves over but never less than nothing. At stride
    one nothing is left over; at a greater stride the padding can bottom out, so only stride one is sure.
    """
    strides = node.attributes.get("strides", [1] * len(kernel))
    return all(stride == 1 or old == new for stride, old, new in zip(strides, kernel, sizes, strict=True))


def _shrunk_pads(node: Node, kernel: Sequence[int], sizes: Sequence[int]) -> list[int]:
    rank = len(kernel)
    pads = node.attributes.get("pads", [0] * (2 * rank))
    dilations = node.attributes.get("dilations", [1] * rank)
    less = [step * (old - new) // 2 for step, old, new in zip(dilations, kernel, sizes, strict=True)]
    return [int(pad) - less[position % rank] for position, pad in enumerate(pads)]


def _with_kernel(node: Node, kernel: Sequence[int], sizes: Sequence[int]) -> Node:
    attributes = {**node.attributes, "kernel_shape": list(sizes)}
    if _auto_pad(node) == "NOTSET":
        attributes["pads"] = _shrunk_pads(node, kernel, sizes)
    return replace(node, attributes=attributes)


def _auto_pad(node: Node) -> str:
    value = node.attributes.get("auto_pad", "NOTSET")
    return value.decode() if isinstance(value, bytes) else str(value)


def _centre(kernel: Sequence[int], sizes: Sequence[int]) -> tuple[slice, ...]:
    """Give the selection of the centre of a weight [M, C, *kernel]."""
    starts = [(old - new) // 2 for old, new in zip(kernel, sizes, strict=True)]
    return (slice(None), slice(None), *(slice(start, start + new) for start, new in zip(starts, sizes, strict=True)))
