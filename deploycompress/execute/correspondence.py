"""Finds each layer of a student in its teacher, and the positions that its channels had there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from deploycompress.execute.students import Students
from deploycompress.graph import Array, Graph
from deploycompress.plan import Plan
from deploycompress.surgery.cut import selections
from deploycompress.surgery.masks import kept_channels
from deploycompress.train.layer_pair import LayerPair
from deploycompress.train.linear_layer import LinearLayer, linear_layers, places_of

Positions = NDArray[np.int64]

FLOAT32_EXACT = 2**24  # whole numbers below it are exact in float32


def layer_pairs(students: Students, teacher: Graph, plan: Plan, student: Graph) -> tuple[LayerPair, ...]:
    """Pair the convolutions and matrix products of a student with those of the graph it was cut from.

    The same surgery cuts a graph whose kernels hold their own positions: what survives says where it came from. Layers
    whose kernel several nodes read, whose outputs have another size, or whose groups were mixed are left out.

    Args:
        students: made the student.
        teacher: the graph that was cut.
        plan: that cut it.
        student: the graph that came out, batch norms not folded.

    Returns:
        The pairs, in the order of the student's nodes.
    """
    before, after = linear_layers(teacher), linear_layers(student)
    common = [name for name in after if name in before and _same_places(teacher, student, before[name], after[name])]
    outputs, inputs = (
        _left(students, teacher, plan, {name: before[name].order[axis] for name in common}) for axis in (0, 1)
    )
    return tuple(_pairs(teacher, before, after, outputs, inputs))


def _pairs(
    teacher: Graph,
    before: Mapping[str, LinearLayer],
    after: Mapping[str, LinearLayer],
    outputs_left: Mapping[str, Positions],
    inputs_left: Mapping[str, Positions],
) -> Iterator[LayerPair]:
    for name, outputs in outputs_left.items():
        old, new = before[name], after[name]
        inputs = _input_channels(outputs, inputs_left[name], old, new, teacher)
        if inputs is not None:
            yield LayerPair(
                weight=name, teacher_input=old.input, teacher_output=old.output,
                student_input=new.input, student_output=new.output, inputs=inputs, outputs=outputs,
            )  # fmt: skip


def _left(students: Students, teacher: Graph, plan: Plan, axes: Mapping[str, int]) -> dict[str, Positions]:
    """Cut kernels whose every entry is its own position along an axis, and read off what is left.

    Such kernels take no room of their own before they are cut; so channels are only chosen, never taken out of them.
    """
    numbers = {name: _numbered(teacher.weights[name].shape, axis) for name, axis in axes.items()}
    bare = students.bare(teacher.with_weights(numbers), plan)
    chosen: Mapping[str, list[Array | None]] = {}
    if plan.keep:
        channels = students.bare_channels(plan)
        chosen = selections(bare, channels, kept_channels(channels, plan))
    found = {}
    for name, axis in axes.items():
        along, positions = _along(bare.weights[name], axis), chosen[name][axis] if name in chosen else None
        found[name] = along if positions is None else along[positions]
    return found


def _numbered(shape: tuple[int, ...], axis: int) -> Array:
    exact = np.float32 if shape[axis] <= FLOAT32_EXACT else np.float64
    line = np.arange(shape[axis], dtype=exact).reshape([-1 if at == axis else 1 for at in range(len(shape))])
    return np.broadcast_to(line, shape)


def _along(numbers: Array, axis: int) -> Positions:
    return np.moveaxis(numbers, axis, 0).reshape(numbers.shape[axis], -1)[:, 0].astype(np.int64)


def _input_channels(
    outputs: Positions, within: Positions, old: LinearLayer, new: LinearLayer, teacher: Graph
) -> Positions | None:
    """Count input channels over all groups; nothing where filters of several old groups share a new one."""
    shape = [teacher.weights[old.weight].shape[axis] for axis in old.order]
    group_of = (outputs // (shape[0] // old.groups)).reshape(new.groups, -1)
    if (group_of != group_of[:, :1]).any():
        return None
    channels: Positions = (group_of[:, :1] * shape[1] + within[None, :]).reshape(-1)
    return channels


def _same_places(teacher: Graph, student: Graph, old: LinearLayer, new: LinearLayer) -> bool:
    """Whether outputs differ in their channels at most."""
    before = places_of(teacher, old, old.output)
    return before is not None and before == places_of(student, new, new.output)
