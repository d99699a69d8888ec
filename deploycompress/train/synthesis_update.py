"""Changes drawings by gradient until a network's batch norms see what they remember."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from deploycompress.errors import ModelError
from deploycompress.network.module import GraphModule
from deploycompress.train.compute import Compute
from deploycompress.train.synthesis_colour import Colours
from deploycompress.train.synthesis_loss import mismatch, norm_targets
from deploycompress.train.synthesis_settings import SynthesisSettings

_MOMENTS = (0.5, 0.9)  # of Adam; long averages would not settle in a few updates


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What a network makes of a batch.

    Attributes:
        mismatch: distance to the running statistics.
        answers: the first output, float32 [B, ...].
        classes: number of classes when the network is a classifier, otherwise 0.
    """

    mismatch: float
    answers: Tensor
    classes: int


class Memory:
    """What a network's batch norms remember, and how to compare images with it.

    Args:
        module: in evaluation mode, where `compute` says; unchanged.
        compute: arithmetic and layout of the passes.

    Raises:
        DataError: the network has no batch norms.
        ModelError: their statistics are not finite.
    """

    def __init__(self, module: GraphModule, compute: Compute) -> None:
        self._module, self._compute = module, compute
        self.targets = norm_targets(module)
        self.device = compute.device
        self._names = frozenset(target.value for target in self.targets)

    def distance(self, images: Tensor) -> Tensor:
        """Give the differentiable mismatch of images [B, C, H, W], a scalar."""
        return self.observe(images)[0]

    def observe(self, images: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Give the mismatch of images [B, C, H, W] and the network's outputs, float32, all differentiable."""
        with self._compute.autocast():
            outputs, values = self._module.observe(
                self._names, images.contiguous(memory_format=self._compute.memory_format)
            )
        several = outputs if isinstance(outputs, tuple) else (outputs,)
        return mismatch(self.targets, values), tuple(output.float() for output in several)

    def look(self, images: Tensor) -> Sight:
        """Judge images [B, C, H, W] without gradients.

        Raises:
            ModelError: the network answers with something that is no number.
        """
        with torch.no_grad():
            distance, outputs = self.observe(images)
        if not (distance.isfinite() and all(output.isfinite().all() for output in outputs)):
            raise ModelError(
                "The network's answers to made-up images are not finite; its weights hold NaN or infinite numbers, or "
                "overflow. Expected a trained network: train or export it again."
            )
        is_classifier = len(outputs) == 1 and outputs[0].ndim == 2 and outputs[0].shape[1] > 1
        return Sight(mismatch=float(distance), answers=outputs[0], classes=outputs[0].shape[1] if is_classifier else 0)


def update_drawings(
    drawings: Tensor, targets: Tensor | None, *, memory: Memory, colours: Colours, settings: SynthesisSettings
) -> Tensor:
    """Change drawings so that, painted, they have the remembered statistics and show the target classes.

    Args:
        drawings: [B, C, H, W] with deviation about 1.
        targets: class numbers [B], or `None` for statistics alone.
        memory: of the network.
        colours: paint the drawings.
        settings: how.

    Returns:
        The changed drawings, detached.
    """
    changed = drawings.clone().requires_grad_()
    optimizer = torch.optim.Adam([changed], lr=settings.rate, betas=_MOMENTS)
    for iteration in range(settings.iterations):
        for group in optimizer.param_groups:
            group["lr"] = settings.rate * (1 + math.cos(math.pi * iteration / settings.iterations)) / 2
        loss, outputs = memory.observe(colours.paint(changed))
        if targets is not None:
            loss = loss + settings.class_weight * F.cross_entropy(outputs[0], targets)
        (changed.grad,) = torch.autograd.grad(loss, [changed])
        optimizer.step()
    return changed.detach()
