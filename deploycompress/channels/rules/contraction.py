"""Rules of the operators that sum products over shared axes: Gemm, MatMul, Einsum.

All three are one thing, written with a letter per axis: letters of the operands that the result lacks are summed over.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from dataclasses import dataclass

from deploycompress.channels.labels import LabelBuilder, Labels
from deploycompress.channels.records import Numbers, Reading, Role
from deploycompress.channels.rules.elementwise import join_operand
from deploycompress.graph import Node


@dataclass(frozen=True, slots=True)
class Operand:
    """An input of a contraction, with a letter for each of its axes."""

    place: int
    name: str
    letters: str


def gemm(builder: LabelBuilder, node: Node) -> None:
    """Contract axis 1 of the first input (0 if transposed) with the second, then add the third."""
    left = Operand(0, node.input(0), "km" if node.attributes.get("transA", 0) else "mk")
    right = Operand(1, node.input(1), "nk" if node.attributes.get("transB", 0) else "kn")
    contract(builder, node, [left, right], "mn")
    bias = node.input(2)
    made = builder.of(node.outputs[0])
    if bias and made is not None:
        join_operand(builder, node, bias, made, rank=2, role=Role.MAKES)
    elif bias:
        builder.freeze(builder.of(bias), f"{node.name} adds them to what has no channels")


def matmul(builder: LabelBuilder, node: Node) -> None:
    """Contract the last axis of the first input with the last but one of the second; the axes before are the batch.

    A vector has the contracted axis alone, and the result lacks the other one.
    """
    ranks = [len(builder.shape(name)) for name in node.inputs]
    batch = string.ascii_lowercase[: max(*ranks, 2) - 2]
    letters = [
        batch[len(batch) - (rank - 2) :] + ending if rank > 1 else "K"
        for rank, ending in zip(ranks, ("MK", "KN"), strict=True)
    ]
    result = batch + "".join(letter for letter, rank in zip("MN", ranks, strict=True) if rank > 1)
    contract(builder, node, [Operand(place, name, letters[place]) for place, name in enumerate(node.inputs)], result)


def einsum(builder: LabelBuilder, node: Node) -> None:
    """Contract as the equation says."""
    equation = node.attributes["equation"]
    text = (equation.decode() if isinstance(equation, bytes) else equation).replace(" ", "")
    ranks = [len(builder.shape(name)) for name in node.inputs]
    terms, arrow, result = _without_ellipsis(text, ranks).partition("->")
    letters = terms.split(",")
    if not arrow:  # then the letters that stand once make the result, in the order of the alphabet
        result = "".join(sorted(letter for letter in set(terms) - {","} if terms.count(letter) == 1))
    if any(len(set(term)) < len(term) for term in (*letters, result)):
        builder.freeze_inputs(node, f"{node.name} takes a diagonal: {text}")
        return
    operands = [Operand(place, name, letters[place]) for place, name in enumerate(node.inputs)]
    contract(builder, node, operands, result)


def _without_ellipsis(text: str, ranks: Sequence[int]) -> str:
    """Write letters for the axes that an ellipsis stands for, the last ones of a common row."""
    if "..." not in text:
        return text
    terms, arrow, result = text.partition("->")
    spare = [letter for letter in string.ascii_uppercase + string.ascii_lowercase if letter not in text]
    hidden = [
        rank - len(term.replace("...", "")) if "..." in term else 0
        for term, rank in zip(terms.split(","), ranks, strict=True)
    ]
    row = "".join(spare[: max(hidden)])
    written = [
        term.replace("...", row[len(row) - count :]) for term, count in zip(terms.split(","), hidden, strict=True)
    ]
    if not arrow:
        once = sorted(letter for letter in set(terms) - {",", "."} if terms.count(letter) == 1)
        return ",".join(written) + "->" + row + "".join(once)
    return ",".join(written) + "->" + result.replace("...", row)


def contract(builder: LabelBuilder, node: Node, operands: Sequence[Operand], result: str) -> None:
    """Unite what meets on a letter, tie constants, make fresh labels for letters that only constants bring."""
    kept: list[tuple[str, Numbers]] = []
    for letter in sorted({letter for operand in operands for letter in operand.letters}):
        meeting = _meet(
            builder, node, [o for o in operands if letter in o.letters], letter, is_summed=letter not in result
        )
        if meeting is not None and letter in result:
            kept.append((letter, meeting))
    made = _make(builder, node, operands, result)
    if not kept and made:
        # One axis of a tensor holds its channels: the one with the most; ties go to the last, which lies densest.
        kept.append(made.pop(max(range(len(made)), key=lambda index: (len(made[index][1]), index))))
    for _, ids in (*made, *kept[1:]):
        builder.freeze_ids(ids, f"{node.name} gives a second axis of channels")
    if kept:
        builder.label(node.outputs[0], Labels(result.index(kept[0][0]), kept[0][1]))


def _meet(builder: LabelBuilder, node: Node, holders: list[Operand], letter: str, *, is_summed: bool) -> Numbers | None:
    """Unite the labels along one letter; give them, or nothing when no computed operand has channels there."""
    along = [operand for operand in holders if builder.shape(operand.name)[operand.letters.index(letter)] != 1]
    computed = [operand for operand in along if not builder.is_constant(operand.name)]
    labelled = [(operand, found) for operand in computed if (found := _labels_at(builder, operand, letter)) is not None]
    if not labelled:
        return None
    reader, first = labelled[0]
    for operand in computed:
        found = _labels_at(builder, operand, letter)
        if found is None:
            builder.freeze(first, f"{node.name} multiplies them with what has no channels")
        elif found is not first:
            builder.unify(found.ids, first.ids, f"{node.name} multiplies channels that must stay")
    constants = [operand for operand in along if builder.is_constant(operand.name)]
    for operand in constants:
        role = Role.READS if is_summed else Role.CARRIES
        builder.tie(node, operand.name, operand.letters.index(letter), role, first.ids)
    if is_summed and not constants:
        builder.read(node, reader.place, first, Reading.SUM)
    return first.ids


def _labels_at(builder: LabelBuilder, operand: Operand, letter: str) -> Labels | None:
    labels = builder.of(operand.name)
    return labels if labels is not None and operand.letters[labels.axis] == letter else None


def _make(builder: LabelBuilder, node: Node, operands: Sequence[Operand], result: str) -> list[tuple[str, Numbers]]:
    """Label the result's letters that only constants bring."""
    made: list[tuple[str, Numbers]] = []
    for letter in result:
        holders = [operand for operand in operands if letter in operand.letters]
        constants = [operand for operand in holders if builder.is_constant(operand.name)]
        length = max((builder.shape(o.name)[o.letters.index(letter)] for o in constants), default=1)
        if len(constants) < len(holders) or length == 1:
            continue
        ids = builder.fresh(length)
        for operand in constants:
            builder.tie(node, operand.name, operand.letters.index(letter), Role.MAKES, ids)
        made.append((letter, ids))
    return made
