"""Runs a network on several batches at once, step by step, so that weights can change before they are used."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import final

import torch
from torch import Tensor

from deploycompress.errors import ModelError
from deploycompress.graph import Graph
from deploycompress.network.arrays import tensor_from_array
from deploycompress.network.constants import find_constants
from deploycompress.network.module import GraphModule
from deploycompress.network.operator import PassMode
from deploycompress.network.running import Values, as_tensor, run_step
from deploycompress.network.steps import compile_steps
from deploycompress.train.compute import device_of

NUMBER_BYTES = 4


def peak_bytes(graph: Graph) -> int:
    """Estimate what a float32 pass over one image holds at its worst moment; unknown sizes count nothing."""
    last = {name: index for index, node in enumerate(graph.nodes) for name in node.reads}
    held = {port.name: _size(graph, port.name) for port in graph.inputs}
    peak = 0
    for index, node in enumerate(graph.nodes):
        held.update({name: _size(graph, name) for name in node.outputs if name})
        peak = max(peak, sum(held.values()))
        held = {name: size for name, size in held.items() if last.get(name, index) > index}
    return NUMBER_BYTES * peak


def _size(graph: Graph, name: str) -> int:
    shape = graph.shapes.get(name, ())
    return math.prod(shape) if shape and min(shape) >= 0 else 0


@final
class Walk:
    """A forward pass in evaluation mode that stops where it is told to.

    Args:
        module: the network; its weights are read when a step runs.
        batches: normalised images [B, C, H, W].
        wanted: values to hold until they are taken, as often as they will be.

    Raises:
        ModelError: the network takes several inputs.
    """

    def __init__(self, module: GraphModule, batches: Sequence[Tensor], wanted: Iterable[str] = ()) -> None:
        graph = module.source_graph
        if len(graph.inputs) != 1:
            raise ModelError(f"The network takes {len(graph.inputs)} inputs, expected one: the images.")
        constants = find_constants(graph)
        self._mode = PassMode(training=False, momentum=None, device=device_of(module))
        self._steps, self._done = compile_steps(graph, constants), 0
        self._wanted = Counter(wanted)
        state = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        keys = module.state_keys()
        read = {name for step in self._steps for name in step.inputs if name in constants.values}
        shared: Values = {"": None}
        for name in read:
            shared[name] = state[keys[name]].detach() if name in keys else self._fixed(name, constants.values[name])
        self._batches: list[Values] = [{**shared, graph.inputs[0].name: images} for images in batches]

    def before(self, name: str) -> None:
        """Run every step before the one that makes a value.

        Raises:
            ModelError: no step that is still to come makes it.
        """
        self._run_to(self._maker(name))

    def has(self, name: str) -> bool:
        """Say whether a value is held now."""
        return name in self._batches[0]

    def values(self, name: str) -> list[Tensor]:
        """Give a value that is held, one tensor per batch."""
        return [as_tensor(values[name], self._mode.device) for values in self._batches]

    def take(self, name: str) -> list[Tensor]:
        """Go on until a wanted value is there, give it, and hold it no longer than others want it."""
        if not self.has(name):
            self._run_to(self._maker(name) + 1)
        found = self.values(name)
        self._wanted[name] -= 1
        if self._wanted[name] <= 0 and not any(name in step.inputs for step in self._steps[self._done :]):
            for values in self._batches:
                del values[name]
        return found

    def _fixed(self, name: str, array: object) -> Tensor:
        return tensor_from_array(array, name).to(self._mode.device)  # type: ignore[arg-type]

    def _maker(self, name: str) -> int:
        for index in range(self._done, len(self._steps)):
            if name in self._steps[index].outputs:
                return index
        raise ModelError(f"The network makes no value {name!r} after what has run already; observe it earlier.")

    def _run_to(self, end: int) -> None:
        with torch.no_grad():
            while self._done < end:
                step = self._steps[self._done]
                held = tuple(name for name in step.released if self._wanted[name] <= 0)
                for values in self._batches:
                    run_step(replace(step, released=held), values, self._mode)
                self._done += 1
