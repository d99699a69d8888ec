"""Activations whose removal makes one layer of the two around them, alone or with the layer that follows them.

An activation by itself costs a device next to nothing, and so does a depthwise layer between two that mix channels.
Where both go, the layers around them meet, and the network ships with one layer in their place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from math import prod

from deploycompress.graph import Graph, Node
from deploycompress.surgery.elementary import Step
from deploycompress.surgery.merges_cutout import put_together, thinned
from deploycompress.surgery.naming import weights_read
from deploycompress.surgery.shipped import shipped_form
from deploycompress.surgery.wiring import Wiring

LINEAR = frozenset({"Conv", "Gemm", "MatMul"})
"""Layers that may become one."""

AFTER_LAYER = frozenset({"BatchNormalization", "Add"})
"""What may stand between the first layer and the activation: its norm and its bias."""

BEFORE_LAYER = frozenset({"AveragePool", "BatchNormalization", "Flatten", "GlobalAveragePool", "Reshape"})
"""What may stand before the second layer."""

MOST_PRODUCTS = 2**32
"""Multiplications that composing two layers may take: they are composed again for every student that is measured."""


def merges(wiring: Wiring, activations: Iterable[Step], layers: Iterable[Step]) -> Iterator[Step]:
    """Find activations without which the layers around them become one when the network ships.

    Each find is proven: the layers around are taken out of the graph, put together and merged. Only in a network that
    has linear layers in a row already, one of the two may merge with another one first.

    Args:
        wiring: edges of the graph.
        activations: those that may go.
        layers: those that keep the shape, with what follows them.

    Returns:
        Steps of kind `merge`: an activation, or an activation with the layer that alone reads it.
    """
    following: dict[str, list[Step]] = {}
    for layer in layers:
        following.setdefault(layer.entry, []).append(layer)
    for activation in activations:
        before = _way_before(wiring, activation.entry)
        if not before or not _is_read_within(wiring, activation.entry, activation.nodes):
            continue
        longer = following.get(activation.output, ())
        for step in (activation, *(_joined(wiring, activation, layer) for layer in longer)):
            if step is not None and _leaves_one_layer(wiring, before, step):
                yield replace(step, kind="merge")


def layer_before(wiring: Wiring, tensor: str) -> int | None:
    """Give the layer that a tensor comes from through its bias and norm alone; none where more is between."""
    way = _way_before(wiring, tensor)
    return way[-1] if way else None


def _way_before(wiring: Wiring, tensor: str) -> tuple[int, ...]:
    found: list[int] = []
    while (index := wiring.maker.get(tensor)) is not None:
        found.append(index)
        node = wiring.graph.nodes[index]
        data = _data(wiring, node)
        if _is_linear(wiring, index):
            return tuple(found)
        if node.op not in AFTER_LAYER or len(data) != 1:
            break
        tensor = data[0]
    return ()


def _way_after(wiring: Wiring, tensor: str) -> tuple[int, ...]:
    """Give the second layer, what may stand before it, and its bias; nothing where there is no such layer."""
    found: list[int] = []
    while (index := _only_reader(wiring, tensor)) is not None:
        found.append(index)
        node = wiring.graph.nodes[index]
        tensor = node.outputs[0]
        if _is_linear(wiring, index):
            bias = _only_reader(wiring, tensor)
            is_bias = bias is not None and wiring.graph.nodes[bias].op == "Add"
            return (*found, bias) if is_bias and bias is not None else tuple(found)
        if node.op not in BEFORE_LAYER or len(_data(wiring, node)) != 1:
            break
    return ()


def _joined(wiring: Wiring, activation: Step, layer: Step) -> Step | None:
    if not _is_read_within(wiring, activation.output, layer.nodes):
        return None
    return replace(activation, output=layer.output, nodes=activation.nodes | layer.nodes)


def _leaves_one_layer(wiring: Wiring, before: tuple[int, ...], step: Step) -> bool:
    after = _way_after(wiring, step.output)
    second = next((index for index in after if _is_linear(wiring, index)), None)
    if second is None or _products(wiring, before[-1], second, step.entry) > MOST_PRODUCTS:
        return False
    around = put_together(wiring, {*before, *after}, without=step)
    small = thinned(around)
    return _ships_as_one(small) or (small is not around and _ships_as_one(around))


def _ships_as_one(graph: Graph) -> bool:
    return sum(node.op in LINEAR for node in shipped_form(graph).nodes) == 1


def _products(wiring: Wiring, first: int, second: int, between: str) -> int:
    """Count the multiplications that composing two layers takes: of weights that share a channel between them."""
    weights = [weights_read(wiring, index) for index in (first, second)]
    sizes = [max((wiring.graph.weights[name].size for name in names), default=0) for names in weights]
    shape = wiring.shape(between) or (1, 1)
    channels = shape[1] if wiring.graph.nodes[first].op == "Conv" else shape[-1]
    return prod(sizes) // max(channels, 1)


def _is_linear(wiring: Wiring, index: int) -> bool:
    return wiring.graph.nodes[index].op in LINEAR and wiring.is_weighted(index)


def _data(wiring: Wiring, node: Node) -> list[str]:
    return [name for name in node.inputs if wiring.is_data(name)]


def _is_read_within(wiring: Wiring, tensor: str, nodes: frozenset[int]) -> bool:
    return tensor not in wiring.outputs and tensor not in wiring.pinned and wiring.readers(tensor) <= nodes


def _only_reader(wiring: Wiring, tensor: str) -> int | None:
    users = wiring.users.get(tensor, ())
    return users[0] if len(users) == 1 and _is_read_within(wiring, tensor, frozenset(users)) else None
