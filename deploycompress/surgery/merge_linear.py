"""Makes one layer of two linear ones in a row: where the activation between them went, the depth leaves the graph too.

Only what is exact but for rounding, at every position of the image, the borders included; and only what pays: the one
layer has at most the multiply-accumulates and at most the parameters of the two. Two 3x3 kernels make a 5x5 one, and a
bottleneck makes a layer as wide as its ends, so such pairs often stay.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from deploycompress.graph import Graph, Node, prune_unused
from deploycompress.surgery.merge_linear_convolutions import merge_convolutions
from deploycompress.surgery.merge_linear_head import merge_head, pool_first
from deploycompress.surgery.merge_linear_pair import Merge, Neighbours
from deploycompress.surgery.merge_linear_products import merge_products

Rule = Callable[[Neighbours, Node], Merge | None]

_RULES: dict[tuple[str, str], Rule] = {
    ("Conv", "Conv"): merge_convolutions,
    ("BatchNormalization", "Conv"): merge_convolutions,
    **{("Conv", mean): pool_first for mean in ("GlobalAveragePool", "AveragePool")},
    **{(before, "Gemm"): merge_head for before in ("Flatten", "Reshape")},
    **{(before, after): merge_products for before in ("Gemm", "MatMul", "Add") for after in ("Gemm", "MatMul")},
}
"""What to try where an operator reads the output of another one."""


def merge_linear(graph: Graph) -> Graph:
    """Merge adjacent linear layers until no pair is left whose merging is exact and pays.

    The value between must be read by the second layer alone, and the weights by nothing else. Kernels and biases are
    composed in float64 and stored in the type of the weights. The layer that stays has the second's name and output;
    that of a convolution and the product behind its flattening has the convolution's. A mean over windows or the whole
    image goes before the 1x1 convolution that it follows, which then has fewer positions to compute and meets what is
    next. A batch norm that no convolution comes before merges into the one after it.

    Args:
        graph: the graph as it ships, batch norms folded.

    Returns:
        A graph that computes the same function in inference; the graph itself where there is nothing to merge.
    """
    with np.errstate(all="ignore"):  # a pair whose weights come out beyond their type stays
        while found := _merges(graph):
            graph = _applied(graph, found)
    return graph


def _merges(graph: Graph) -> list[Merge]:
    """Find pairs to merge that have no node in common."""
    makers = graph.producers()
    meeting = [
        (rule, node)
        for node in graph.nodes
        if node.is_standard
        and (before := makers.get(node.input(0))) is not None
        and (rule := _RULES.get((before.op, node.op))) is not None
    ]
    if not meeting:
        return []
    around = Neighbours(graph=graph, makers=makers, uses=graph.uses(), readers=graph.readers())
    found: list[Merge] = []
    changed: set[str] = set()
    for rule, node in meeting:
        merge = rule(around, node)
        if merge is not None and changed.isdisjoint(merge.nodes):
            found.append(merge)
            changed.update(merge.nodes)
    return found


def _applied(graph: Graph, merges: Sequence[Merge]) -> Graph:
    changed = {name: nodes for merge in merges for name, nodes in merge.nodes.items()}
    weights = {name: array for merge in merges for name, array in merge.weights.items()}
    nodes = tuple(new for node in graph.nodes for new in changed.get(node.name, (node,)))
    pruned = prune_unused(replace(graph.with_weights(weights), nodes=nodes))
    shapes = {**graph.shapes, **{name: shape for merge in merges for name, shape in merge.shapes.items()}}
    made = {name for node in pruned.nodes for name in node.outputs} | {port.name for port in graph.inputs}
    return replace(pruned, shapes={name: shape for name, shape in shapes.items() if name in made})
