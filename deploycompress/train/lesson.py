"""One step of distillation: a batch, both networks, the loss, the update."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from deploycompress.train.batches import default_augmentation, training_batches
from deploycompress.train.compute import Compute
from deploycompress.train.distil_settings import DistilSettings, TaskData
from deploycompress.train.losses import combined_loss
from deploycompress.train.normalize import normalize


class Lesson:
    """The state of a student in training: optimiser, stream of batches, loss since last asked.

    Args:
        student: is trained; must be in training mode when `step` is called.
        teacher: gives the logits to match, in evaluation mode.
        task: data and normalisation.
        settings: how.
        compute: where and in which arithmetic; both networks lie there.
        generator: decides the batches.
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: nn.Module,
        task: TaskData,
        *,
        settings: DistilSettings,
        compute: Compute,
        generator: torch.Generator,
    ) -> None:
        self._forward: Any = torch.compile(student) if settings.compiles else student  # Any: either is callable
        self._teacher = teacher
        self._normalization = task.normalization
        self._settings = settings
        self._compute = compute
        self._optimizer = make_optimizer(student, settings)
        self._batches = training_batches(
            task.training,
            batch_size=settings.batch_size,
            generator=generator,
            augmentation=default_augmentation(task.training) if settings.augments else None,
            device=compute.device,
        )
        self._loss_sum = torch.zeros((), device=compute.device)

    def step(self, rate: float) -> None:
        """Update the student once with a learning rate."""
        pixels, labels = next(self._batches)
        images = normalize(pixels, self._normalization, memory_format=self._compute.memory_format)
        with self._compute.autocast():
            with torch.no_grad():
                lesson = self._teacher(images)
            answer = self._forward(images)
        loss = combined_loss(answer, lesson, labels, self._settings.loss)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        self._loss_sum += loss.detach()

    def is_sound(self) -> bool:
        """Whether every loss so far was a number; waits for the device."""
        return bool(self._loss_sum.isfinite())

    def close(self) -> None:
        """Drop the gradients."""
        self._optimizer.zero_grad(set_to_none=True)


def make_optimizer(student: nn.Module, settings: DistilSettings) -> torch.optim.SGD:
    """Make stochastic gradient descent for a student; biases and norms do not decay."""
    trained = [parameter for parameter in student.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.SGD(
        [group for group in groups if group["params"]],
        lr=settings.peak_rate,
        momentum=settings.momentum,
        nesterov=settings.momentum > 0,
    )
