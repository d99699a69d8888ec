"""A network's tensors by name: made from a seed, written as text for a state, read back bit by bit."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

Weights = Mapping[str, Tensor]
Shapes = Mapping[str, tuple[int, ...]]


def drawn(shapes: Shapes, bound: float, generator: np.random.Generator) -> dict[str, Tensor]:
    """Draw tensors uniformly from [-bound, bound]; torch's own generator is left alone."""
    return {
        name: torch.from_numpy(generator.uniform(-bound, bound, shape).astype(np.float32))
        for name, shape in shapes.items()
    }


def to_text(weights: Weights) -> str:
    """Write tensors as text: base64 of safetensors."""
    plain = {name: tensor.detach().contiguous() for name, tensor in weights.items()}
    return base64.b64encode(safetensors.torch.save(plain)).decode("ascii")


def from_text(text: str) -> dict[str, Tensor]:
    """Read tensors that `to_text` wrote."""
    return safetensors.torch.load(base64.b64decode(text))


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread, then give the others back: small networks gain nothing, and sums keep their order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
