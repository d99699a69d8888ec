"""Names of blocks: they follow from the weights' own names, so that they survive a new export."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from deploycompress.surgery.wiring import Wiring

ENDINGS = (".weight", ".bias")


def layer_of(wiring: Wiring, nodes: Iterable[int]) -> str:
    """Name the first trained weight that nodes read, without its ending; empty when they read none.

    Names a framework gave (`layer1.0.conv1.weight`) come before those an exporter made up (`/layer1/MatMul_output_0`).
    """
    names = [name for index in sorted(nodes) for name in weights_read(wiring, index)]
    own = [name for name in names if not name.startswith("/") and "::" not in name]
    return _without_ending((own or names or [""])[0])


def layer_upstream(wiring: Wiring, tensor: str) -> str:
    """Name the nearest weighted layer that a tensor comes from, or else the graph input it comes from."""
    waiting, seen = [tensor], {tensor}
    for name in waiting:
        index = wiring.maker.get(name)
        if index is None:
            continue
        layer = layer_of(wiring, [index])
        if layer:
            return layer
        before = [source for source in wiring.reads[index] if wiring.is_data(source) and source not in seen]
        seen.update(before)
        waiting.extend(before)
    return waiting[-1]


def weights_read(wiring: Wiring, index: int) -> list[str]:
    """List the weights a data node reads, those that reach it turned or cast included."""
    if not any(wiring.is_data(name) for name in wiring.reads[index]):
        return []
    found: list[str] = []
    for name in wiring.reads[index]:
        current = name
        while (
            current not in wiring.graph.weights
            and not wiring.is_data(current)
            and wiring.maker.get(current) is not None
        ):
            current = next(iter(wiring.reads[wiring.maker[current]]), "")
        array = wiring.graph.weights.get(current)
        is_weight = array is not None and (array.size > 1 or wiring.is_weighted(index))
        if array is not None and is_weight and np.issubdtype(array.dtype, np.floating):
            found.append(current)
    return found


def _without_ending(name: str) -> str:
    for ending in ENDINGS:
        name = name.removesuffix(ending)
    return name
