"""An exponential moving average of a network's weights, which is often better than the last of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

_EARLY = 10  # the average follows closely at first, or it would remember how the student began


class WeightAverage:
    """Averages parameters and running statistics (Polyak and Juditsky 1992; decay warmed up as by TensorFlow).

    Args:
        module: whose weights; the average begins with those of now.
        decay: share of the old average that stays at each update, in (0, 1).
    """

    def __init__(self, module: nn.Module, *, decay: float) -> None:
        tensors = itertools.chain(module.parameters(), module.buffers())
        self._live = [tensor.detach() for tensor in tensors if tensor.is_floating_point()]
        self._mean = [tensor.clone() for tensor in self._live]
        self._decay, self._updates = decay, 0

    def update(self) -> None:
        """Take the weights of now into the average."""
        self._updates += 1
        decay = min(self._decay, self._updates / (_EARLY + self._updates))
        torch._foreach_lerp_(self._mean, self._live, 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Let the network have the average for a while."""
        kept = [tensor.clone() for tensor in self._live]
        torch._foreach_copy_(self._live, self._mean)
        try:
            yield
        finally:
            torch._foreach_copy_(self._live, kept)
