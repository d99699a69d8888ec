"""The builder that rules write to while a graph is walked: labels, what unites them, what freezes them.

It knows nothing of operators. A label is an integer naming one channel; label 0 names none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from deploycompress.channels.records import NO_CHANNEL, CountTie, IndexTie, Numbers, Reading, ReadTie, Role, WeightTie
from deploycompress.graph import UNKNOWN_SIZE, Array, Graph, Node, Shape
from deploycompress.views import constant_views


@dataclass(frozen=True, slots=True)
class Labels:
    """The labels of one tensor: they vary along a single axis.

    Attributes:
        axis: non-negative axis of the tensor.
        ids: label of each position along that axis, shape [length of the axis].
    """

    axis: int
    ids: Numbers


class LabelBuilder:
    """Collects labels of tensors, unions, ties and freezes in the order the nodes run.

    Ties hold labels where the finished ones hold channel numbers.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.views = constant_views(graph)
        self.ties: list[WeightTie] = []
        self.counts: list[CountTie] = []
        self.indices: list[IndexTie] = []
        self.reads: list[ReadTie] = []
        self.parts: list[Numbers] = []
        self.frozen: list[tuple[Numbers, str]] = []
        self.unions: list[tuple[Numbers, Numbers]] = []
        self._of: dict[str, Labels] = {}
        self._uses = graph.uses()
        self._producers = graph.producers()
        self._next = NO_CHANNEL + 1

    @property
    def label_count(self) -> int:
        """Number of labels handed out, label 0 included."""
        return self._next

    @property
    def labelled(self) -> Mapping[str, Labels]:
        """Labels of every tensor that has some."""
        return self._of

    def of(self, tensor: str) -> Labels | None:
        """Give a tensor's labels, or nothing when none of its axes holds channels."""
        return self._of.get(tensor)

    def moved(self, node: Node, place: int) -> Labels | None:
        """Give the labels of a tensor that a node moves; a constant that moves as data gets its own, on its last axis.

        Position tables and class tokens are such constants.
        """
        name = node.input(place)
        if self.is_constant(name):
            shape = self.shape(name)
            axis = max((axis for axis, length in enumerate(shape) if length > 1), default=None)
            if axis is None or not np.issubdtype(self.graph.weights[self.views[name].constant].dtype, np.floating):
                return None
            labels = Labels(axis, self.fresh(shape[axis]))
            self.tie(node, name, axis, Role.MAKES, labels.ids)
            return labels
        return self.of(name)

    def label(self, tensor: str, labels: Labels | None) -> None:
        """Give a computed tensor its labels; an axis of length one is never a channel axis."""
        if labels is None or not tensor:
            return
        length = self.shape(tensor)[labels.axis]
        if length not in (len(labels.ids), UNKNOWN_SIZE):
            self.freeze(labels, f"{tensor} has {length} channels where {len(labels.ids)} were expected")
        elif len(labels.ids) == 1:
            self.freeze(labels, "a tensor with a single channel")
        elif labels.ids.any():
            self._of[tensor] = labels

    def shape(self, tensor: str) -> Shape:
        """Give a tensor's static shape at batch one."""
        return self.graph.shape_of(tensor)

    def has_shape(self, tensor: str) -> bool:
        """Tell whether a tensor's number of axes is known."""
        return tensor in self.graph.weights or tensor in self.graph.shapes

    def constant(self, tensor: str) -> Array | None:
        """Give a constant's value, or nothing when the tensor is computed or omitted."""
        return self.graph.weights.get(tensor)

    def producer(self, tensor: str) -> Node | None:
        """Give the node that computes a tensor."""
        return self._producers.get(tensor)

    def is_constant(self, tensor: str) -> bool:
        """Tell whether a tensor is a constant, possibly turned or cast."""
        return tensor in self.views

    def fresh(self, count: int) -> Numbers:
        """Hand out new labels, shape [count]; a single position gets no label."""
        if count == 1:
            return no_labels(1)
        ids = np.arange(self._next, self._next + count, dtype=np.int64)
        self._next += count
        return ids

    def unify(self, left: Numbers, right: Numbers, why: str = "united with channels that must stay") -> None:
        """Declare that channels at equal positions are the same; meeting label 0 freezes."""
        left, right = (np.ravel(ids) for ids in np.broadcast_arrays(left, right))
        both = (left != NO_CHANNEL) & (right != NO_CHANNEL)
        self.unions.append((left[both], right[both]))
        alone = np.concatenate([left[~both], right[~both]])
        self.freeze_ids(alone, why)

    def freeze(self, labels: Labels | None, why: str) -> None:
        """Declare that all of a tensor's channels must stay."""
        if labels is not None:
            self.freeze_ids(labels.ids, why)

    def freeze_ids(self, ids: Numbers, why: str) -> None:
        """Declare that these channels must stay."""
        real = ids[ids != NO_CHANNEL]
        if real.size:
            self.frozen.append((real, why))

    def freeze_inputs(self, node: Node, why: str) -> None:
        """Declare that no channel that enters a node may be cut."""
        for name in node.reads:
            self.freeze(self.of(name), why)

    def tie(self, node: Node, tensor: str, axis: int, role: Role, ids: Numbers) -> None:
        """Tie a constant's axis to labels; a computed operand cannot be cut, so it freezes them and its own."""
        view = self.views.get(tensor)
        if view is not None:
            self.ties.append(WeightTie(tensor=view.constant, axis=view.order[axis], role=role, channels=ids))
        elif tensor:
            self.freeze_ids(ids, f"{node.name} computes its operand {tensor}")
            self.freeze(self.of(tensor), f"{node.name} takes them as its operand")

    def count(self, node: Node, place: int | str, position: int, ids: Numbers) -> None:
        """Tie an integer of the graph to the number of channels that stay among `ids`."""
        if self._is_own(node, place, ids):
            self.counts.append(CountTie(node=node.name, place=place, position=position, channels=ids))

    def pick(self, node: Node, place: int, ids: Numbers) -> None:
        """Tie a constant of indices to the channels it picks from."""
        if self._is_own(node, place, ids):
            self.indices.append(IndexTie(node=node.name, place=place, channels=ids))

    def read(self, node: Node, place: int, labels: Labels, reading: Reading) -> None:
        """Note that a node without weights reads all channels of an input at once."""
        self.reads.append(ReadTie(node=node.name, place=place, axis=labels.axis, reading=reading, channels=labels.ids))

    def part(self, ids: Numbers) -> None:
        """Note that these channels make up a tensor of their own, so that one of them at least must stay."""
        self.parts.append(ids)

    def is_used(self, tensor: str) -> bool:
        """Tell whether anything reads a tensor."""
        return self._uses.get(tensor, 0) > 0

    def has_one_use(self, tensor: str) -> bool:
        """Tell whether a tensor is read once, and is no output."""
        return self._uses.get(tensor, 0) == 1

    def _is_own(self, node: Node, place: int | str, ids: Numbers) -> bool:
        if isinstance(place, int) and not self.has_one_use(node.input(place)):
            self.freeze_ids(ids, f"{node.name} shares the constant that counts them with another reader")
            return False
        return True


def no_labels(count: int) -> Numbers:
    """Make labels for positions that hold no channel, shape [count]."""
    return np.zeros(count, dtype=np.int64)


def ids_along(labels: Labels | None, axis: int, length: int) -> Numbers | None:
    """Give the labels along an axis, zeros for an unlabelled tensor, nothing if they run along another axis.

    Nothing, too, for an unlabelled tensor whose length there is unknown.
    """
    if labels is None:
        return None if length == UNKNOWN_SIZE else no_labels(length)
    return labels.ids if labels.axis == axis else None
