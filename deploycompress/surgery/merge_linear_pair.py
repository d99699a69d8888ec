"""Two layers in a row as the rules of merging see them, and what one rule puts in their place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deploycompress.graph import Array, Graph, Node, Shape

Exact = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Merge:
    """What comes in the place of some nodes.

    Attributes:
        nodes: for each node that changes, by name, the nodes that stand at its place; none where it goes.
        weights: constants that are new or have new values.
        shapes: of tensors that are new or have a new shape, at batch one.
    """

    nodes: Mapping[str, tuple[Node, ...]]
    weights: Mapping[str, Array] = field(default_factory=dict)
    shapes: Mapping[str, Shape] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbours:
    """A graph with its edges.

    Attributes:
        graph: the graph.
        makers: what `Graph.producers` gives.
        uses: what `Graph.uses` gives.
        readers: what `Graph.readers` gives.
    """

    graph: Graph
    makers: Mapping[str, Node]
    uses: Mapping[str, int]
    readers: Mapping[str, list[tuple[Node, int]]]

    def before(self, node: Node, position: int = 0) -> Node | None:
        """Give the standard operator that makes what a node reads, if nothing else reads it."""
        name = node.input(position)
        maker = self.makers.get(name)
        return maker if maker is not None and maker.is_standard and self.uses[name] == 1 else None

    def after(self, node: Node, op: str) -> Node | None:
        """Give the standard operator of a type that alone reads what a node makes."""
        name = node.outputs[0]
        readers = self.readers.get(name, [])
        if self.uses.get(name) != 1 or len(readers) != 1:
            return None
        found = readers[0][0]
        return found if found.op == op and found.is_standard else None

    def constant(self, name: str) -> Array | None:
        """Give a floating-point constant, turned if it is read turned, that nothing else reads."""
        maker = self.makers.get(name)
        if self.uses.get(name) != 1:
            return None
        if maker is None:
            array = self.graph.weights.get(name)
            return array if array is not None and _is_float(array) else None
        if maker.op != "Transpose" or not maker.is_standard or maker.input(0) not in self.graph.weights:
            return None
        array = self.constant(maker.input(0))
        return None if array is None else np.transpose(array, maker.attributes.get("perm"))


def stored(exact: Exact, dtype: np.dtype[Any]) -> Array | None:  # Any: the scalar type of a dtype
    """Round to the type of the weights; nothing where a value is beyond it, or is no number."""
    array = exact.astype(dtype)
    return array if np.isfinite(array.astype(np.float64)).all() else None


def _is_float(array: Array) -> bool:
    return array.dtype.kind == "f" or "float" in array.dtype.name
