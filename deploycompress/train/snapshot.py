"""Copies of a network's parameters and statistics, to go back to."""

from __future__ import annotations

import itertools

import torch
from torch import nn

Snapshot = dict[str, torch.Tensor]


def take_snapshot(module: nn.Module) -> Snapshot:
    """Copy every parameter and buffer, those left out of state dicts included."""
    return {name: tensor.detach().clone() for name, tensor in _tensors(module).items()}


def restore_snapshot(module: nn.Module, snapshot: Snapshot) -> None:
    """Write a snapshot back into the network it was taken of."""
    with torch.no_grad():
        for name, tensor in _tensors(module).items():
            tensor.copy_(snapshot[name])


def _tensors(module: nn.Module) -> dict[str, torch.Tensor]:
    return dict(itertools.chain(module.named_parameters(), module.named_buffers()))
