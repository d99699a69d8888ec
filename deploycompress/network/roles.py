"""Decides which constants of a graph are trained, which follow what flows, and which stay as they are."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from deploycompress.graph import Array, Graph, Node
from deploycompress.network.constants import Constants
from deploycompress.network.operator import Operator
from deploycompress.network.steps import dynamic_inputs, running_nodes

# What torch's exporter calls a tensor that is no parameter but made in the model's code.
_LITERAL = re.compile(r"(^|/)Constant(_\d+)?_output_0$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """Constants by what training does to them; names in the order in which the graph reads them.

    Attributes:
        trained: change by gradients.
        statistics: change by averaging over batches.
        scales: scales and zero points of quantised values; change when somebody writes them.
        fixed: read by kernels, never change.
        shared_statistics: statistics that several norms average into, which cannot be right.
    """

    trained: tuple[str, ...]
    statistics: tuple[str, ...]
    scales: tuple[str, ...]
    fixed: tuple[str, ...]
    shared_statistics: tuple[str, ...]


def assign_roles(graph: Graph, constants: Constants) -> Roles:
    """Sort the constants that kernels read.

    A constant that some node also reads beforehand, such as a bound of a slice, is never trained: the kernel
    would keep its old value. Nor are numbers that stand in the model's code: blur kernels, coordinates, masks.
    """
    nodes = running_nodes(graph, constants)
    read = [name for node, operator in nodes for name in dynamic_inputs(node, operator, constants)]
    read += [constants.root(port.name) for port in graph.outputs]
    names = [name for name in dict.fromkeys(read) if name in constants.values]
    averaged = [constants.root(node.inputs[index]) for node, operator in nodes for index in operator.statistics]
    scales = {constants.root(node.input(index)) for node, operator in nodes for index in operator.scales}
    scales &= set(graph.weights)
    beforehand = {
        constants.root(name)
        for node, operator in nodes
        for index, name in enumerate(node.inputs)
        if index in operator.static
    }
    untouched = {*averaged, *scales, *beforehand, *filter(_LITERAL.search, graph.weights)}
    trained = _trained(nodes, constants) & set(graph.weights) - untouched
    changing = {*trained, *averaged, *scales}
    return Roles(
        trained=tuple(name for name in names if name in trained),
        statistics=tuple(name for name in names if name in averaged),
        scales=tuple(name for name in names if name in scales),
        fixed=tuple(name for name in names if name not in changing),
        shared_statistics=tuple(name for name in names if averaged.count(name) > 1),
    )


def _trained(nodes: list[tuple[Node, Operator]], constants: Constants) -> set[str]:
    """Walk backwards, so that a weight that is transposed first is trained like what the product reads."""
    found: set[str] = set()
    for node, operator in reversed(nodes):
        wanted = found.intersection(node.outputs)
        for index, name in enumerate(node.inputs):
            root = constants.root(name)
            value = constants.values.get(root)
            is_operand = operator.trains_operands and (value is None or _is_vector(value))
            is_moved = index in operator.moves and bool(wanted)
            if (index in operator.trained or is_operand or is_moved) and (value is None or _is_float(value)):
                found.add(root)
    return found


def _is_vector(value: Array) -> bool:
    return value.ndim >= 1 and value.size > 1


def _is_float(value: Array) -> bool:
    return bool(np.issubdtype(value.dtype, np.floating)) or value.dtype.name == "bfloat16"
