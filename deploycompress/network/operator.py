"""What one row of the operator table says, and what an operator may ask about the node it is built for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

from deploycompress.errors import ModelError
from deploycompress.graph import Array, Graph, Node, Shape

Kernel = Callable[..., Any]  # Any: tensors in, one tensor or a tuple of them out; arity differs per operator


class NormMode(NamedTuple):
    """How batch norm runs in this forward pass.

    Attributes:
        training: normalise with the batch's statistics and update the running ones.
        momentum: torch's momentum for every norm of the network; None means each norm's own.
    """

    training: bool
    momentum: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeContext:
    """One node and everything that is known about it before any data flow.

    Attributes:
        node: the node to build a kernel for.
        graph: the graph it belongs to.
        constants: values known beforehand, by tensor name.
    """

    node: Node
    graph: Graph
    constants: Mapping[str, Array]

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
        """Give an input's shape at batch size one."""
        return self.graph.shape_of(self.node.inputs[index])

    def rank(self, index: int = 0) -> int:
        """Give an input's number of axes."""
        return len(self.shape(index))

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
        trained: positions whose constants are trained, whatever their size.
        trains_operands: constants of more than one element are trained at every position.
        statistics: positions of running statistics, which must be constants.
        moves: only rearranges its first input, so what is read from it is trained like what is read from its output.
        uses_mode: the kernel takes a `NormMode` before its tensors.
    """

    build: Callable[[NodeContext], Kernel]
    known: int
    attributes: frozenset[str] = frozenset()
    static: tuple[int, ...] = ()
    trained: tuple[int, ...] = ()
    trains_operands: bool = False
    statistics: tuple[int, ...] = ()
    moves: bool = False
    uses_mode: bool = False


def plain(function: Callable[..., Tensor]) -> Callable[[NodeContext], Kernel]:
    """Make a builder for an operator that torch has as it is, without attributes."""
    return lambda _context: function
