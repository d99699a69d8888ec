"""One step of a forward pass, and a rehearsal of it without numbers that shows the shapes ONNX leaves open."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from deploycompress.graph import UNKNOWN_SIZE, Array, Graph, Shape
from deploycompress.network.arrays import TORCH_TYPES, shape_of_array
from deploycompress.network.operator import Kernel, NodeContext, PassMode, Sizes
from deploycompress.network.sizes import tensor_from_sizes

Values = dict[str, Tensor | Sizes | None]

META = torch.device("meta")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One torch call.

    Attributes:
        kernel: what to call.
        inputs: tensor names in the kernel's order; the empty string stands for None.
        numbers: positions of inputs that hold sizes and that the kernel takes as a tensor.
        outputs: names of the results, empty where nobody asks.
        released: tensors that nothing reads after this step.
        uses_mode: the kernel takes the pass's mode first.
        gives_tuple: the kernel returns several results.
    """

    kernel: Kernel
    inputs: tuple[str, ...]
    numbers: tuple[int, ...]
    outputs: tuple[str, ...]
    released: tuple[str, ...]
    uses_mode: bool
    gives_tuple: bool


def run_step(step: Step, values: Values, mode: PassMode) -> None:
    """Call a step's kernel on the values it names, put its results beside them and drop what nobody reads any more."""
    arguments = [values[name] for name in step.inputs]
    for position in step.numbers:
        arguments[position] = as_tensor(arguments[position], mode.device)
    result = step.kernel(mode, *arguments) if step.uses_mode else step.kernel(*arguments)
    if step.gives_tuple:
        values.update({name: tensor for name, tensor in zip(step.outputs, result, strict=False) if name})
    elif step.outputs[0]:
        values[step.outputs[0]] = result
    del arguments, result
    for name in step.released:
        del values[name]


def as_tensor(value: Tensor | Sizes | None, device: torch.device) -> Tensor:
    """Give a value as a tensor, sizes too."""
    if isinstance(value, Tensor):
        return value
    if value is None:
        raise TypeError("an omitted input is no output")  # graphs are checked for this when they are read
    return tensor_from_sizes(value, device)


def starting_shapes(graph: Graph, constants: Mapping[str, Array]) -> Values:
    """Give inputs at batch size one and constants as shapes without numbers.

    Raises:
        ModelError: a constant has an element type that torch cannot compute with.
    """
    values: Values = {"": None}
    values.update({name: shape_of_array(array, name) for name, array in constants.items()})
    for port in graph.inputs:
        values[port.name] = torch.empty(graph.shapes[port.name], dtype=TORCH_TYPES[port.dtype], device=META)
    return values


def rehearse(context: NodeContext, step: Step, values: Values) -> Mapping[str, Shape]:
    """Run a step on shapes alone.

    Returns:
        Shape of each of its results at batch size one.

    Raises:
        ModelError: the step does not take these shapes.
    """
    try:
        run_step(step, values, PassMode(training=False, momentum=None, device=META))
    except (IndexError, RuntimeError, ValueError) as error:
        raise context.refuse(f"does not take its inputs at batch size one ({str(error).splitlines()[0]})") from error
    return {name: tuple(as_tensor(values[name], META).shape) for name in step.outputs if name}


def leaves_open(graph: Graph) -> bool:
    """Say whether shape inference could not tell a size of some computed tensor."""
    known = graph.shapes
    return any(
        name not in known or UNKNOWN_SIZE in known[name] for node in graph.nodes for name in node.outputs if name
    )
