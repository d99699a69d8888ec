"""Which values of a student should equal which of its teacher: what the same layers read, and what made that.

Where a block was removed, the layer behind it reads in the teacher what the block has added to, and in the student what
lies before the block. So the two values that match tell what the layer before the gap must now make as well.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deploycompress.graph import Graph, Node
from deploycompress.train.layer_pair import LayerPair
from deploycompress.views import constant_views

MIXING = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum", "Add", "Sum", "Mul", "Concat"})
"""Operators whose inputs do not follow from their output."""

IDEMPOTENT = frozenset({"Relu", "Abs", "Floor", "Ceil", "Round", "Sign"})
"""Operators that change nothing the second time."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Match:
    """A value of the teacher that a value of the student should equal.

    Attributes:
        value: name in the teacher.
        channels: the teacher's position of each of the student's channels.
    """

    value: str
    channels: NDArray[np.int64]


def matching_values(student: Graph, teacher: Graph, pairs: Iterable[LayerPair]) -> dict[str, Match]:
    """Follow what layers read back through operators of one input that both networks share.

    Returns:
        By name in the student; values that readers want to be different things are left out.
    """
    makers = student.producers(), teacher.producers()
    constants = constant_views(student)
    found: dict[str, Match] = {}
    doubtful: set[str] = set()
    for pair in pairs:
        for mine, theirs in _way_back(pair, makers, constants):
            match = found.setdefault(mine, Match(value=theirs, channels=pair.inputs))
            if match.value != theirs or not np.array_equal(match.channels, pair.inputs):
                doubtful.add(mine)
    return {name: match for name, match in found.items() if name not in doubtful}


def untouched_values(student: Graph, teacher: Graph, touched: Collection[str]) -> set[str]:
    """Find the values that the same nodes make of the same images in both networks.

    Args:
        student: the cut graph.
        teacher: the graph it was cut from.
        touched: constants of the student that are not the teacher's.

    Returns:
        Their names, which are the same in both; constants that are the teacher's are among them.
    """
    makers = teacher.producers()
    found = {port.name for port in student.inputs} | set(student.weights).difference(touched)
    for node in student.nodes:
        theirs = makers.get(node.outputs[0])
        if theirs is not None and found.issuperset(node.reads) and _is_same_call(node, theirs):
            found.update(node.outputs)
    return found


def _is_same_call(mine: Node, theirs: Node) -> bool:
    what = [(node.op, node.domain, node.inputs, node.outputs) for node in (mine, theirs)]
    return what[0] == what[1] and mine.attributes == theirs.attributes


def _way_back(
    pair: LayerPair,
    makers: tuple[Mapping[str, Node], Mapping[str, Node]],
    constants: Collection[str],
) -> Iterator[tuple[str, str]]:
    mine, theirs = pair.student_input, pair.teacher_input
    while True:
        yield mine, theirs
        maker, theirs_maker = makers[0].get(mine), makers[1].get(theirs)
        if maker is None or theirs_maker is None:
            return
        if _repeats(maker, makers[0].get(maker.input(0))):
            mine = maker.inputs[0]
        elif _is_same(maker, theirs_maker, constants):
            mine, theirs = maker.inputs[0], theirs_maker.inputs[0]
        else:
            return


def _repeats(node: Node, before: Node | None) -> bool:
    """Whether a node does again what was just done, as activations do between which a block was removed."""
    return before is not None and node.op == before.op and node.op in IDEMPOTENT and node.domain == before.domain


def _is_same(mine: Node, theirs: Node, constants: Collection[str]) -> bool:
    """Whether two nodes are one operator, which makes one value out of one value and constants of the same names."""
    has_one_input = all(not name or name in constants for name in mine.inputs[1:]) and len(mine.outputs) == 1
    is_same = (mine.op, mine.domain, mine.inputs[1:]) == (theirs.op, theirs.domain, theirs.inputs[1:])
    return is_same and has_one_input and mine.op not in MIXING and mine.attributes == theirs.attributes
