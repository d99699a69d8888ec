"""What a graph knows before any data flow: its weights, its Constant nodes, and other names for either."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import numpy_helper

from deploycompress.errors import ModelError
from deploycompress.graph import Array, Graph, Node

_VALUES: Mapping[str, Callable[[Any], Array]] = {  # Any: an ONNX attribute is one of twelve types
    "value": numpy_helper.to_array,
    "value_float": lambda value: np.array(value, np.float32),
    "value_floats": lambda value: np.array(value, np.float32),
    "value_int": lambda value: np.array(value, np.int64),
    "value_ints": lambda value: np.array(value, np.int64),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Constants:
    """Constant tensors of a graph.

    Attributes:
        values: by tensor name, aliases included.
        roots: for each alias, the tensor it is another name of.
        folded: names of the nodes that need not run, because they only name constants.
    """

    values: Mapping[str, Array]
    roots: Mapping[str, str]
    folded: frozenset[str]

    def root(self, name: str) -> str:
        """Give the tensor that a name stands for."""
        return self.roots.get(name, name)


def find_constants(graph: Graph) -> Constants:
    """Collect every tensor that is known beforehand; Identity of a constant is the constant itself.

    Raises:
        ModelError: a Constant node holds strings or a sparse tensor.
    """
    values = dict(graph.weights)
    roots: dict[str, str] = {}
    folded = set()
    for node in graph.nodes:
        if not node.is_standard:
            continue
        if node.op == "Constant":
            values[node.outputs[0]] = _constant_value(node)
            folded.add(node.name)
        elif node.op == "Identity" and node.inputs[0] in values:
            values[node.outputs[0]] = values[node.inputs[0]]
            roots[node.outputs[0]] = roots.get(node.inputs[0], node.inputs[0])
            folded.add(node.name)
    return Constants(values=values, roots=roots, folded=frozenset(folded))


def _constant_value(node: Node) -> Array:
    kinds = set(node.attributes)
    if len(kinds) != 1 or not kinds <= set(_VALUES):
        raise ModelError(
            f"Node {node.name!r} (Constant) holds {', '.join(sorted(kinds)) or 'nothing'}; "
            f"known are {', '.join(_VALUES)}: export the model without it."
        )
    kind = kinds.pop()
    return _VALUES[kind](node.attributes[kind])
