"""The layers around what may go, as a small graph of their own: whether they merge there tells whether they merge."""

from __future__ import annotations

from dataclasses import replace
from math import gcd

from deploycompress.graph import Array, Graph, Node, Port
from deploycompress.surgery.elementary import Step
from deploycompress.surgery.wiring import Wiring

PRODUCTS = frozenset({"Add", "Gemm", "MatMul", "Transpose"})
"""Operators of tokens and rows, whose last axis is the channels."""


def put_together(wiring: Wiring, around: set[int], *, without: Step) -> Graph:
    """Make a graph of some nodes, in which a step is gone; what anything else reads too is an output of it.

    Args:
        wiring: edges of the whole graph.
        around: positions of the nodes.
        without: what is between them; the readers of its output read its entry.
    """
    graph, inside = wiring.graph, _with_constants(wiring, around)
    nodes = [graph.nodes[index] for index in sorted(inside)]
    made = {name for node in nodes for name in node.outputs}
    read = {name for node in nodes for name in node.reads} - {without.output}
    constants = read & graph.weights.keys()
    pinned = wiring.outputs | wiring.pinned
    seen = [name for name in made | constants if name in pinned or wiring.readers(name) - inside - without.nodes]
    return replace(
        graph,
        nodes=tuple(_reading(node, without.output, without.entry) for node in nodes),
        weights={name: graph.weights[name] for name in constants},
        inputs=tuple(_port(graph, name) for name in sorted(read - made - constants)),
        outputs=tuple(_port(graph, name) for name in sorted(seen)),
        shapes={name: graph.shapes[name] for name in made | read if name in graph.shapes},
    )


def thinned(graph: Graph) -> Graph:
    """Divide the channels of matrix products by their common divisor; the graph itself where there is more in it.

    To compose wide layers takes long, and whether it pays depends on the ratios of their widths: counts of weights
    and products shrink by the divisor's square, those of biases by the divisor. So what pays thinned pays.
    """
    widths = [shape[-1] for name, shape in graph.shapes.items() if shape]
    divisor = gcd(*widths)
    if divisor < 2 or not all(node.op in PRODUCTS for node in graph.nodes):
        return graph
    return replace(
        graph,
        weights={name: _every(array, divisor) for name, array in graph.weights.items()},
        shapes={name: (*shape[:-1], shape[-1] // divisor) for name, shape in graph.shapes.items() if shape},
    )


def _every(array: Array, step: int) -> Array:
    """Take every so many channels of a matrix or a bias; an axis of one stays."""
    return array[tuple(slice(None, None, step if size > 1 else None) for size in array.shape)]


def _with_constants(wiring: Wiring, nodes: set[int]) -> set[int]:
    """Add the nodes that make constants for some nodes, such as the turning of a weight."""
    found, waiting = set(nodes), list(nodes)
    for index in waiting:
        makers = {
            wiring.maker[name] for name in wiring.reads[index] if name in wiring.maker and not wiring.is_data(name)
        }
        waiting.extend(makers - found)
        found |= makers
    return found


def _reading(node: Node, old: str, new: str) -> Node:
    return replace(node, inputs=tuple(new if name == old else name for name in node.inputs))


def _port(graph: Graph, name: str) -> Port:
    return Port(name=name, dtype=graph.inputs[0].dtype, shape=graph.shapes.get(name, ()))
