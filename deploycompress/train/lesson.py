"""One step of distillation: a batch, both networks, the loss, the update."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from deploycompress.errors import UsageError
from deploycompress.network.module import GraphModule
from deploycompress.train.answers import Answers
from deploycompress.train.average import WeightAverage
from deploycompress.train.batches import default_augmentation
from deploycompress.train.compute import Compute
from deploycompress.train.distil_settings import DistilSettings, OnUpdate, TaskData
from deploycompress.train.features import FeatureTap, features_loss
from deploycompress.train.losses import combined_loss
from deploycompress.train.normalize import normalize
from deploycompress.train.views import ViewBatch, view_batches


class Lesson:
    """The state of a student in training: optimiser, stream of batches, loss since last asked.

    Attributes:
        average: of the student's weights; none when they are not averaged.

    Args:
        student: is trained; must be in training mode when `step` is called.
        teacher: gives the logits to match, in evaluation mode.
        task: data and normalisation.
        settings: how.
        compute: where and in which arithmetic; both networks lie there.
        generator: decides the batches.
        taps: where both networks shall compute the same, if `settings.features` says so.
        on_update: called after each update of the weights, for what follows from them.

    Raises:
        UsageError: features shall be matched and there are none, or the student is compiled.
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
        taps: Sequence[FeatureTap] = (),
        on_update: OnUpdate | None = None,
    ) -> None:
        self._taps = _usable_taps(taps, student, teacher, settings)
        self._student: Any = student  # Any: with taps, a network that can be observed
        self._teacher: Any = teacher  # Any: likewise
        self._forward: Any = torch.compile(student) if settings.compiles else student  # Any: either is callable
        views = settings.views if settings.augments else 1
        self._answers = Answers(teacher, count=len(task.training) * views)
        self._normalization = task.normalization
        self._settings = settings
        self._compute = compute
        self._on_update = on_update
        self._optimizer = make_optimizer(student, settings)
        self._batches = view_batches(
            task.training,
            batch_size=settings.batch_size,
            generator=generator,
            augmentation=default_augmentation(task.training) if settings.augments else None,
            views=views,
            pasted=settings.pasted,
            device=compute.device,
        )
        self.average = WeightAverage(student, decay=settings.averaging) if settings.averaging else None
        self._loss_sum = torch.zeros((), device=compute.device)

    def step(self, rate: float) -> None:
        """Update the student once with a learning rate."""
        batch = next(self._batches)
        images = normalize(batch.pixels, self._normalization, memory_format=self._compute.memory_format)
        loss = self._loss_with_features(batch, images) if self._taps else self._loss(batch, images)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimizer.step()
        if self._on_update:
            self._on_update()
        if self.average:
            self.average.update()
        self._loss_sum += loss.detach()

    def _loss(self, batch: ViewBatch, images: torch.Tensor) -> torch.Tensor:
        with self._compute.autocast():
            lesson = self._answers.to(images, batch.numbers)
            answer = self._forward(images)
        return combined_loss(answer, lesson, batch.labels, self._settings.loss)

    def _loss_with_features(self, batch: ViewBatch, images: torch.Tensor) -> torch.Tensor:
        with self._compute.autocast():
            with torch.no_grad():
                lesson, shown = self._teacher.observe([tap.teacher for tap in self._taps], images)
            answer, seen = self._student.observe([tap.student for tap in self._taps], images)
        loss = combined_loss(answer, lesson, batch.labels, self._settings.loss)
        return loss + self._settings.features * features_loss(self._taps, seen, shown)

    def is_sound(self) -> bool:
        """Whether every loss so far was a number; waits for the device."""
        return bool(self._loss_sum.isfinite())

    def close(self) -> None:
        """Drop the gradients."""
        self._optimizer.zero_grad(set_to_none=True)


def _usable_taps(
    taps: Sequence[FeatureTap], student: nn.Module, teacher: nn.Module, settings: DistilSettings
) -> Sequence[FeatureTap]:
    if not settings.features:
        return ()
    if not taps or not isinstance(student, GraphModule) or not isinstance(teacher, GraphModule):
        raise UsageError(
            f"training.features is {settings.features:g}, but no features of student and teacher match; use 0."
        )
    return taps


def make_optimizer(student: nn.Module, settings: DistilSettings) -> torch.optim.Optimizer:
    """Make what changes a student's weights by their gradients; biases and norms do not decay."""
    trained = [parameter for parameter in student.parameters() if parameter.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    used = [group for group in groups if group["params"]]
    if settings.adaptive:
        return torch.optim.AdamW(used, lr=settings.peak_rate)
    return torch.optim.SGD(
        used,
        lr=settings.peak_rate,
        momentum=settings.momentum,
        nesterov=settings.momentum > 0,
    )
