"""Who reads what in a graph, which inputs a tensor depends on, and which nodes die when a tensor is no longer read.

It reads into the subgraphs of control flow, where tensors of the graph are used by name without being inputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import onnx

from deploycompress.graph import Graph, Node, Shape, prune_unused

WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum", "LSTM", "GRU", "RNN"})
"""Operators that combine data with trained weights; a network without any of them is empty."""

SIZES = frozenset({"Shape", "Size"})
"""Operators whose result does not depend on the values they read: tokens repeated for a batch hold no data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wiring:
    """The edges of a graph, by position of the node in `graph.nodes`.

    Attributes:
        graph: the graph they belong to.
        reads: tensors that each node reads, as often as it reads them, those its subgraphs name included.
        users: for each tensor, the nodes that read it, as often as they read it.
        maker: for each computed tensor, the node that makes it.
        sources: for each tensor, the graph inputs whose values it depends on, one bit each; zero for constants.
        pinned: tensors that a subgraph names, which therefore must keep their names.
    """

    graph: Graph
    reads: tuple[tuple[str, ...], ...]
    users: Mapping[str, tuple[int, ...]]
    maker: Mapping[str, int]
    sources: Mapping[str, int]
    pinned: frozenset[str]

    @property
    def outputs(self) -> frozenset[str]:
        """Names of the graph's outputs."""
        return frozenset(port.name for port in self.graph.outputs)

    def readers(self, tensor: str) -> frozenset[int]:
        """Give the nodes that read a tensor."""
        return frozenset(self.users.get(tensor, ()))

    def is_data(self, tensor: str) -> bool:
        """Whether a tensor depends on an input of the graph."""
        return self.sources.get(tensor, 0) != 0

    def shape(self, tensor: str) -> Shape | None:
        """Give a tensor's shape at batch one, or nothing when a size of it is not known."""
        found = self.graph.weights[tensor].shape if tensor in self.graph.weights else self.graph.shapes.get(tensor)
        return None if found is None or any(size < 0 for size in found) else tuple(found)

    def have_same_shape(self, left: str, right: str) -> bool:
        """Whether two tensors have the same known shape."""
        shape = self.shape(left)
        return shape is not None and shape == self.shape(right)

    def is_weighted(self, index: int) -> bool:
        """Whether a node combines data with constant weights."""
        node = self.graph.nodes[index]
        kinds = {self.is_data(name) for name in node.inputs if name}
        return node.op in WEIGHTED and kinds == {True, False}

    def dead_nodes(self, gone: Mapping[str, int], more: Mapping[str, int]) -> frozenset[int]:
        """Find the nodes nothing needs any more once some reads of tensors are gone and others have come.

        Args:
            gone: number of reads that each tensor loses; being an output of the graph is one read.
            more: number of reads that each tensor gains.
        """
        outputs = self.outputs
        left: dict[str, int] = {}
        dead: set[int] = set()
        waiting = [(tensor, count) for tensor, count in gone.items()]
        while waiting:
            tensor, count = waiting.pop()
            if tensor not in left:
                left[tensor] = len(self.users.get(tensor, ())) + (tensor in outputs) + more.get(tensor, 0)
            left[tensor] -= count
            index = self.maker.get(tensor)
            if left[tensor] > 0 or index is None or index in dead or not self._all_unread(index, left, outputs):
                continue
            dead.add(index)
            waiting.extend((name, 1) for name in self.reads[index])
        return frozenset(dead)

    def _all_unread(self, index: int, left: Mapping[str, int], outputs: frozenset[str]) -> bool:
        """Whether nothing reads any output of a node; outputs that nobody ever read do not hold it."""
        return all(
            left[name] <= 0 if name in left else name not in outputs and not self.users.get(name)
            for name in self.graph.nodes[index].outputs
            if name
        )


def wire(graph: Graph) -> Wiring:
    """Collect the edges of a graph."""
    sources = dict.fromkeys(graph.weights, 0) | {port.name: 1 << bit for bit, port in enumerate(graph.inputs)}
    reads: list[tuple[str, ...]] = []
    users: dict[str, list[int]] = {}
    maker: dict[str, int] = {}
    pinned: set[str] = set()
    for index, node in enumerate(graph.nodes):
        pinned.update(node.captured)
        reads.append(node.reads)
        depends = 0
        for name in reads[-1]:
            users.setdefault(name, []).append(index)
            depends |= 0 if node.op in SIZES else sources.get(name, 0)
        for name in filter(None, node.outputs):
            maker[name] = index
            sources[name] = depends
    return Wiring(
        graph=graph,
        reads=tuple(reads),
        users={name: tuple(found) for name, found in users.items()},
        maker=maker,
        sources=sources,
        pinned=frozenset(pinned),
    )


def without_dead(graph: Graph) -> Graph:
    """Drop nodes, constants and shapes that no output depends on."""
    live = prune_unused(graph)
    made = {port.name for port in live.inputs} | {name for node in live.nodes for name in node.outputs}
    return replace(live, shapes={name: shape for name, shape in live.shapes.items() if name in made})


def has_subgraph(node: Node) -> bool:
    """Whether a node is control flow."""
    return any(
        isinstance(value, onnx.GraphProto)
        or (isinstance(value, list) and value and isinstance(value[0], onnx.GraphProto))
        for value in node.attributes.values()
    )
