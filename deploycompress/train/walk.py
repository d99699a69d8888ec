"""Runs a network on several batches at once, step by step, so that weights can change before they are used."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import replace
from typing import final

import torch
from torch import Tensor

from deploycompress.errors import ModelError
from deploycompress.graph import Graph, Node
from deploycompress.network.arrays import tensor_from_array
from deploycompress.network.constants import find_constants
from deploycompress.network.module import GraphModule
from deploycompress.network.operator import PassMode
from deploycompress.network.running import Step, Values, as_tensor, run_step
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
        renews: asked before a batch norm runs whether mean and variance shall first become, in the module too, those of
            what it reads; `None` leaves all as they are. Norms that share statistics with others are not asked about.

    Raises:
        ModelError: the network takes several inputs.
    """

    def __init__(
        self,
        module: GraphModule,
        batches: Sequence[Tensor],
        wanted: Iterable[str] = (),
        *,
        renews: Callable[[Node], bool] | None = None,
    ) -> None:
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
        self._renews = renews
        self._norms = _norms(graph, self._steps, keys)
        self._batches: list[Values] = [{**shared, graph.inputs[0].name: images} for images in batches]

    def before(self, name: str) -> None:
        """Run every step before the one that makes a value.

        Raises:
            ModelError: no step that is still to come makes it.
        """
        self._run_to(self._maker(name))

    def finish_norms(self) -> None:
        """Run on until no batch norm is left.

        Raises:
            ModelError: one that is renewed reads NaN or infinity.
        """
        self._run_to(max((at + 1 for at, step in enumerate(self._steps) if step.outputs[0] in self._norms), default=0))

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
                self._renew(step)
                held = tuple(name for name in step.released if self._wanted[name] <= 0)
                for values in self._batches:
                    run_step(replace(step, released=held), values, self._mode)
                self._done += 1

    def _renew(self, step: Step) -> None:
        norm = self._norms.get(step.outputs[0])
        if norm is None or self._renews is None or not self._renews(norm):
            return
        moments = _moments(self.values(step.inputs[0]))
        if not all(bool(torch.isfinite(moment).all()) for moment in moments):
            raise ModelError(
                f"Batch norm {norm.name!r} reads NaN or infinity on the calibration images; check the weights before "
                "it and the normalisation of the images."
            )
        for name, moment in zip(step.inputs[3:5], moments, strict=True):
            as_tensor(self._batches[0][name], self._mode.device).copy_(moment)


def _norms(graph: Graph, steps: Sequence[Step], keys: Container[str]) -> dict[str, Node]:
    """Find the batch norms that have statistics of their own, by what they make."""
    norms = {node.outputs[0]: node for node in graph.nodes if node.op == "BatchNormalization" and node.is_standard}
    reads = Counter(name for step in steps for name in step.inputs)
    return {
        step.outputs[0]: norms[step.outputs[0]]
        for step in steps
        if step.outputs[0] in norms and all(name in keys and reads[name] == 1 for name in step.inputs[3:5])
    }


def _moments(parts: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Give mean and variance over all axes of all parts [B, C, ...] but the channels', each [C], float64."""
    wide = (part.to(torch.promote_types(part.dtype, torch.float32)) for part in parts)
    found = [torch.var_mean(part, dim=[at for at in range(part.ndim) if at != 1], correction=0) for part in wide]
    variances, means = (torch.stack(kind).double() for kind in zip(*found, strict=True))
    shares = torch.tensor([[part.numel()] for part in parts], dtype=torch.float64, device=means.device)
    shares /= shares.sum()
    mean = (shares * means).sum(dim=0)
    return mean, (shares * (variances + (means - mean).square())).sum(dim=0)
