"""What the teacher says, asked once for each view where it fits into memory: a third of the work of distillation."""

from __future__ import annotations

import torch
from torch import nn

from deploycompress.train.losses import Outputs

MOST_BYTES = 2**29


def bytes_of(outputs: Outputs) -> int:
    """Count the bytes of a network's outputs."""
    several = outputs if isinstance(outputs, tuple) else (outputs,)
    return sum(output.numel() * output.element_size() for output in several)


class Answers:
    """The teacher's outputs by number of the view.

    Answers of several outputs, or too large to be kept, are asked for anew each time.

    Args:
        teacher: in evaluation mode, so that what it says does not depend on the batch.
        count: number of views.
    """

    def __init__(self, teacher: nn.Module, *, count: int) -> None:
        self._teacher, self._count = teacher, count
        self._known = torch.zeros(count, dtype=torch.bool)
        self._kept: torch.Tensor | None = None

    def to(self, images: torch.Tensor, numbers: torch.Tensor) -> Outputs:
        """Give the teacher's outputs, without gradients.

        Args:
            images: the network's inputs, shape [B, C, H, W].
            numbers: of the views they are, on the CPU, shape [B].
        """
        if self._kept is not None and bool(self._known[numbers].all()):
            return self._kept[numbers.to(self._kept.device)]
        with torch.no_grad():
            found: Outputs = self._teacher(images)
        if isinstance(found, torch.Tensor):
            self._keep(found, numbers)
        return found

    def _keep(self, found: torch.Tensor, numbers: torch.Tensor) -> None:
        if self._kept is None:
            if self._count * bytes_of(found[:1]) > MOST_BYTES:
                return
            self._kept = found.new_empty((self._count, *found.shape[1:]))
        self._kept[numbers.to(self._kept.device)] = found
        self._known[numbers] = True
