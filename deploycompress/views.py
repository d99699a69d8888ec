"""Constants seen through operators that only turn or rename them: the tie goes to the constant itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from deploycompress.graph import Graph, Node

VIEWING = frozenset({"Transpose", "Identity", "Cast"})
ROUNDING = frozenset({"QuantizeLinear", "DequantizeLinear"})


@dataclass(frozen=True, slots=True)
class ConstantView:
    """A tensor that holds a constant's values with its axes in another order.

    Attributes:
        constant: name of the constant.
        order: for each axis of the tensor, the axis of the constant it is.
        is_rounded: whether it stands behind a QuantizeLinear or DequantizeLinear.
    """

    constant: str
    order: tuple[int, ...]
    is_rounded: bool = False


def constant_views(graph: Graph, *, rounded: bool = False) -> Mapping[str, ConstantView]:
    """Find every constant of a graph, and every tensor that is one of them turned, renamed or cast.

    Args:
        graph: where to look.
        rounded: whether to see through QuantizeLinear and DequantizeLinear as well.
    """
    seen_through = VIEWING | ROUNDING if rounded else VIEWING
    found = {name: ConstantView(name, tuple(range(array.ndim))) for name, array in graph.weights.items()}
    for node in graph.nodes:
        source = found.get(node.input(0))
        if source is not None and node.is_standard and node.op in seen_through:
            is_rounded = source.is_rounded or node.op in ROUNDING
            found[node.outputs[0]] = ConstantView(source.constant, _turned(source.order, node), is_rounded)
    return found


def _turned(order: tuple[int, ...], node: Node) -> tuple[int, ...]:
    if node.op != "Transpose":
        return order
    return tuple(order[int(axis)] for axis in node.attributes.get("perm", range(len(order) - 1, -1, -1)))
