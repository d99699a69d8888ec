"""A few steps of distillation, the same for every student: what ranks students before one of them is really trained.

All students see the same batches, not augmented, so the teacher's logits are computed once, and what differs between
two students is not the luck of their batches. On ResNet-20 students at 0.6 of the latency, 1,280 images in batches of
32 at a rate of 0.0025 gave 0.85 and 0.69 where batches of 128 at 0.02 gave 0.62 and 0.42: a cut network needs many
small corrections.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from deploycompress.errors import UsageError
from deploycompress.train.accuracy import evaluation_mode
from deploycompress.train.answers import MOST_BYTES, bytes_of
from deploycompress.train.batches import Batch, labels_of
from deploycompress.train.compute import Compute, placed_on
from deploycompress.train.distil_settings import DistilSettings, TaskData
from deploycompress.train.lesson import make_optimizer
from deploycompress.train.losses import LossSettings, Outputs, combined_loss
from deploycompress.train.normalize import normalize
from deploycompress.train.schedule import OneCycle


@dataclass(frozen=True, slots=True, kw_only=True)
class CourseSettings:
    """How students are taught.

    Attributes:
        batch_size: images per step.
        peak_rate: highest learning rate of each stretch's cycle.
        loss: what is made small.
    """

    batch_size: int = 32
    peak_rate: float = 0.0025
    loss: LossSettings = field(default_factory=lambda: LossSettings(tau=0.9))

    def __post_init__(self) -> None:
        for name in ("batch_size", "peak_rate"):
            if not getattr(self, name) > 0:
                raise UsageError(f"The course's {name} is {getattr(self, name)}; expected a positive number.")


class ShortCourse:
    """A fixed sequence of batches with the teacher's answers.

    Args:
        teacher: network to imitate; unchanged.
        task: training images and normalisation.
        settings: how.
        compute: where and in which arithmetic.
        seed: decides the batches.
    """

    def __init__(
        self, teacher: nn.Module, task: TaskData, *, settings: CourseSettings, compute: Compute, seed: int
    ) -> None:
        self._teacher, self._task, self._settings, self._compute = teacher, task, settings, compute
        self._images, self._labels = torch.from_numpy(task.training.images), labels_of(task.training)
        generator = torch.Generator().manual_seed(seed)
        self._order = torch.randperm(len(task.training), generator=generator)
        self._answers: list[Outputs] = []

    def teach(self, student: nn.Module, *, start: int, stop: int) -> bool:
        """Train a student on the batches of some steps, with a learning rate cycle over them.

        Args:
            student: trained in place; its training flags are put back.
            start: steps that it has behind it.
            stop: steps that it has behind it afterwards.

        Returns:
            Whether the loss stayed a number.
        """
        self._compute_answers(stop)
        cycle = OneCycle(peak=self._settings.peak_rate, warm_up=0.2, end_step=stop - start)
        optimizer = make_optimizer(student, DistilSettings(peak_rate=self._settings.peak_rate))
        total = torch.zeros((), device=self._compute.device)
        with placed_on(self._compute.device, student), evaluation_mode(student):
            student.train()
            for step in range(start, stop):
                for group in optimizer.param_groups:
                    group["lr"] = cycle.rate(step - start)
                total += self._step(student, optimizer, step)
        optimizer.zero_grad(set_to_none=True)
        return bool(total.isfinite())

    def _step(self, student: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> torch.Tensor:
        images, labels = self._batch(step)
        with self._compute.autocast():
            answer = student(images)
        lesson = self._answers[step] if step < len(self._answers) else self._ask(images)
        loss = combined_loss(answer, lesson, labels, self._settings.loss)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return loss.detach()

    def _ask(self, images: torch.Tensor) -> Outputs:
        """Ask about images whose answers are too large to be kept."""
        with (
            placed_on(self._compute.device, self._teacher),
            evaluation_mode(self._teacher),
            torch.no_grad(),
            self._compute.autocast(),
        ):
            found: Outputs = self._teacher(images)
        return found

    def _batch(self, step: int) -> Batch:
        first = step * self._settings.batch_size
        chosen = self._order[torch.arange(first, first + self._settings.batch_size) % len(self._order)]
        pixels = self._images[chosen].to(self._compute.device)
        images = normalize(pixels, self._task.normalization, memory_format=self._compute.memory_format)
        return images, None if self._labels is None else self._labels[chosen].to(self._compute.device)

    def _compute_answers(self, steps: int) -> None:
        missing: Sequence[int] = range(len(self._answers), steps)
        if not missing:
            return
        with placed_on(self._compute.device, self._teacher), evaluation_mode(self._teacher), torch.no_grad():
            for step in missing:
                with self._compute.autocast():
                    found: Outputs = self._teacher(self._batch(step)[0])
                if bytes_of(found) * steps > MOST_BYTES:
                    return
                self._answers.append(found)
