"""Writes a network as a torch.export program, which torch alone can load, run and train."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from deploycompress.errors import ModelError, OutputError
from deploycompress.graph import Graph, Port
from deploycompress.network.arrays import TORCH_TYPES
from deploycompress.network.module import GraphModule, to_torch

TRACED_BATCH = 2  # torch.export takes a size of one for a constant


def save_pt2(network: Graph | GraphModule, path: str | os.PathLike[str], *, training: bool = False) -> None:
    """Write a network as a `.pt2` program that needs no code of ours to run or to go on training.

    A program cannot change its mode after it is loaded, so the mode is chosen here. Both forms have the same weights
    under the same names: train one, then `load_state_dict` of its state dict puts them in the other.

    Args:
        network: a graph, or the module that `to_torch` made of it, with its weights of this moment.
        path: the file, normally ending in `.pt2`.
        training: whether batch norm uses the batch's statistics and updates the running ones, as in training;
            otherwise the program computes what the graph computes. Gradients flow in both.

    Raises:
        ModelError: a node has no differentiable implementation, or torch cannot export the network for any batch size.
        OutputError: the file cannot be written.

    Examples:
        >>> import deploycompress, tempfile, torch
        >>> layers = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.Flatten(), torch.nn.Linear(16, 2))
        >>> graph = deploycompress.capture(layers, input_shape=(1, 1, 4, 4))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     deploycompress.save_pt2(graph, f"{folder}/small.pt2")
        ...     program = torch.export.load(f"{folder}/small.pt2").module()
        >>> program(torch.zeros(5, 1, 4, 4)).shape
        torch.Size([5, 2])
    """
    module = to_torch(network) if isinstance(network, Graph) else network
    with _in_mode(module, training):
        program = _export(module)
    target = Path(path)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            torch.export.save(program, file)
        partial.replace(target)
    except OSError as error:
        raise OutputError(f"{target} cannot be written: {error.strerror}; give another path.") from error
    finally:
        partial.unlink(missing_ok=True)


def _export(module: GraphModule) -> torch.export.ExportedProgram:
    ports = module.source_graph.inputs
    batches = {port.shape[0]: torch.export.Dim("batch") for port in ports if isinstance(port.shape[0], str)}
    sizes = tuple({0: batches[port.shape[0]]} if port.shape[0] in batches else {} for port in ports)
    before = {name: buffer.clone() for name, buffer in module.named_buffers()}
    try:
        return torch.export.export(module, tuple(map(_example, ports)), dynamic_shapes=(sizes,))
    except (RuntimeError, ValueError) as error:
        reason = str(error).strip().splitlines()[0][:300]
        raise ModelError(
            f"torch cannot export this network for any batch size: {reason}; train it as a module (to_torch) instead."
        ) from error
    finally:
        for name, buffer in module.named_buffers():  # tracing must leave running statistics as they were
            buffer.copy_(before[name])


def _example(port: Port) -> Tensor:
    shape = [TRACED_BATCH if isinstance(size, str) else size for size in port.shape]
    return torch.zeros(shape, dtype=TORCH_TYPES[port.dtype])


@contextmanager
def _in_mode(module: GraphModule, training: bool) -> Iterator[None]:
    before = module.training
    module.train(training)
    try:
        yield
    finally:
        module.train(before)
