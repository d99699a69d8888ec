"""What one row of the operator table says, and what an operator may ask about the node it is built for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from deploycompress.errors import ModelError
from deploycompress.graph import UNKNOWN_SIZE, Array, Graph, Node, Shape

Kernel = Callable[..., Any]  # Any: tensors in, one tensor or a tuple of them out; arity differs per operator

Sizes = int | tuple[int, ...]
"""A tensor of integers that follows from shapes, as numbers: one for no axes, a tuple for one axis."""

EVERY_POSITION = range(2**31 - 1)
"""Positions of all inputs, as many as ONNX lets a variadic operator have."""


class PassMode(NamedTuple):
    """How this forward pass runs.

    Attributes:
        training: batch norm normalises with the batch's statistics and updates the running ones.
        momentum: torch's momentum for every norm of the network; None means each norm's own.
        device: where tensors that are made from numbers alone go.
    """

    training: bool
    momentum: float | None
    device: torch.device


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeContext:
    """One node and everything that is known about it before any data flow.

    Attributes:
        node: the node to build a kernel for.
        graph: the graph it belongs to.
        constants: values known beforehand, by tensor name.
        shapes: what is known of computed tensors' shapes at batch size one, by name.
        computed_sizes: tensors that follow from shapes while running.
    """

    node: Node
    graph: Graph
    constants: Mapping[str, Array]
    shapes: Mapping[str, Shape]
    computed_sizes: frozenset[str]

    @property
    def opset(self) -> int:
        """Version of ONNX's operator set."""
        return self.graph.opset

    def attribute(self, name: str, default: Any) -> Any:  # Any: an ONNX attribute is one of twelve types
        """Read an attribute as ONNX stores it."""
        return self.node.attributes.get(name, default)

    def text(self, name: str, default: str) -> str:
        """Read a string attribute."""
        value = self.node.attributes.get(name, default)
        return value.decode() if isinstance(value, bytes) else str(value)

    def ints(self, name: str, default: Sequence[int]) -> tuple[int, ...]:
        """Read a list of integers."""
        return tuple(int(value) for value in self.node.attributes.get(name, default))

    def has_input(self, index: int) -> bool:
        """Say whether an optional input is given."""
        return bool(self.node.input(index))

    def has_output(self, index: int) -> bool:
        """Say whether an optional output is asked for."""
        return index < len(self.node.outputs) and bool(self.node.outputs[index])

    def shape(self, index: int) -> Shape:
        """Give an input's shape at batch size one.

        Raises:
            ModelError: a size depends on more than the graph says, or the shape is unknown.
        """
        shape = self._shape(index)
        if UNKNOWN_SIZE in shape:
            raise self.refuse(f"needs the sizes of its input {index}, of which {shape} are known")
        return shape

    def rank(self, index: int = 0) -> int:
        """Give an input's number of axes.

        Raises:
            ModelError: it is unknown.
        """
        return len(self._shape(index))

    def size(self, index: int, axis: int) -> int:
        """Give the size of one axis of an input at batch size one.

        Raises:
            ModelError: it is unknown.
        """
        shape = self._shape(index)
        if shape[axis] == UNKNOWN_SIZE:
            raise self.refuse(f"needs the size of axis {axis} of its input {index}, of which {shape} are known")
        return shape[axis]

    def _shape(self, index: int) -> Shape:
        name = self.node.inputs[index]
        if name in self.constants:
            return tuple(self.constants[name].shape)
        if name not in self.shapes:
            raise self.refuse(f"reads {name!r}, whose number of axes is unknown")
        return self.shapes[name]

    def axis(self, value: int, rank: int) -> int:
        """Count an axis from the front.

        Raises:
            ModelError: the tensor has no such axis.
        """
        if not -rank <= value < max(rank, 1):
            raise self.refuse(f"names axis {value} of a tensor with {rank} axes")
        return value % rank if rank else 0

    def constant(self, index: int) -> Array | None:
        """Read an input that must be known beforehand; None where it is omitted.

        Raises:
            ModelError: the input is computed by the network.
        """
        name = self.node.input(index)
        if not name:
            return None
        if name not in self.constants:
            raise self.refuse(f"computes its input {index} ({name!r}) while running; it must be a constant")
        return self.constants[name]

    def constant_ints(self, index: int) -> tuple[int, ...] | None:
        """Read a list of integers that must be known beforehand."""
        array = self.constant(index)
        return None if array is None else tuple(int(value) for value in array.reshape(-1))

    def sizes(self, index: int) -> tuple[int, ...] | None:
        """Read a list of integers that is known beforehand or follows from shapes; None for the latter.

        Raises:
            ModelError: the integers follow from the data.
        """
        return None if self.node.input(index) in self.computed_sizes else self.constant_ints(index) or ()

    def scalar(self, index: int) -> float | None:
        """Read a single number where it is known beforehand; None where it is not."""
        array = self.constants.get(self.node.input(index))
        return array.item() if array is not None and array.size == 1 and array.ndim == 0 else None

    def refuse(self, reason: str) -> ModelError:
        """Make the error for a node that cannot be run exactly."""
        return ModelError(
            f"Node {self.node.name!r} ({self.node.op}, opset {self.opset}) {reason}; "
            "such a network cannot be trained here: export the model without it."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """One row of the table: how to build a kernel, and what the rest of the network must know of it.

    Attributes:
        build: makes the function that runs a node; it takes the inputs that are not static, None where omitted.
        known: newest version of the operator whose meaning `build` follows.
        attributes: names of the attributes that `build` honours; any other is refused.
        static: positions of inputs that `build` reads beforehand and the kernel does not take.
        sizes: positions of inputs that may follow from shapes; the kernel takes them as numbers, None where `build`
            could read them beforehand.
        gives_sizes: the kernel gives numbers, which follow from shapes.
        trained: positions whose constants are trained, whatever their size.
        trains_operands: constants of more than one element are trained at every position.
        statistics: positions of running statistics, which must be constants.
        moves: positions of inputs that are only rearranged, so that they are trained like what is read from the output.
        scales: positions of scales and zero points of quantised values, which follow those instead of gradients.
        uses_mode: the kernel takes a `PassMode` before its tensors.
    """

    build: Callable[[NodeContext], Kernel]
    known: int
    attributes: frozenset[str] = frozenset()
    static: tuple[int, ...] = ()
    sizes: Collection[int] = ()
    gives_sizes: bool = False
    trained: Collection[int] = ()
    trains_operands: bool = False
    statistics: tuple[int, ...] = ()
    moves: Collection[int] = ()
    scales: Collection[int] = ()
    uses_mode: bool = False


def plain(function: Callable[..., Tensor]) -> Callable[[NodeContext], Kernel]:
    """Make a builder for an operator that torch has as it is, without attributes."""
    return lambda _context: function
