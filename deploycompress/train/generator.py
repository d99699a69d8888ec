"""Makes torch's random generators for callers that do not know torch."""

from __future__ import annotations

import torch


def make_generator(seed: int) -> torch.Generator:
    """Make a CPU generator: its numbers do not depend on the device that trains."""
    return torch.Generator().manual_seed(seed)
