"""What goes into distillation and what comes out, as records."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from deploycompress.errors import UsageError
from deploycompress.train.compute import Compute
from deploycompress.train.dataset import Dataset
from deploycompress.train.losses import LossSettings
from deploycompress.train.normalize import Normalization
from deploycompress.train.score import ACCURACY, Score

LARGEST_BATCH = 65536


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskData:
    """What a network is trained and judged on.

    Attributes:
        training: images to learn from.
        validation: images to be judged on, disjoint from the others.
        normalization: how teacher and student want their pixels.
        score: what they are judged by; one that needs the teacher's answers finds them in the validation images.
    """

    training: Dataset
    validation: Dataset
    normalization: Normalization
    score: Score = ACCURACY

    @property
    def names_classes(self) -> bool:
        """Whether outputs are logits that name a class, whatever students are judged by."""
        return self.score.names_classes or self.training.is_labelled


@dataclass(frozen=True, slots=True, kw_only=True)
class DistilSettings:
    """How to distil. With several limits the first one reached counts; one at least is needed, or a deadline.

    Attributes:
        steps: number of weight updates.
        epochs: rounds through the training data.
        seconds: wall time, checks included; the number of steps is fitted to it.
        batch_size: images per step.
        peak_rate: highest learning rate of the one-cycle schedule; 0 for one that goes with the length of the run.
        warm_up: share of the run in which the rate goes up.
        momentum: of Nesterov's method.
        adaptive: whether weights move by rates that fit the size of their gradients (AdamW) instead: for networks whose
            norms are folded away, where one rate for all is too much for one layer and too little for another.
        weight_decay: on weights of two axes or more; biases and norms are left free.
        loss: what is made small. 0.9 of the teacher at T = 4 was the best found for recovering ResNet-56 on
            CIFAR-10.
        features: weight of the error of what both networks compute on the way; it costs a pass of the teacher for
            every batch, and gained nothing on ResNet-56.
        checks: how often the validation accuracy is taken, the end included; fewer when time is short.
        augments: whether images are shifted and, in colour, mirrored.
        views: different shifted and mirrored views of each image, at most; a short run shows fewer, so that each comes
            back and the teacher, who is asked about each once, takes little of the time.
        pasted: share of those views into which a rectangle of another image is pasted, where classes are named.
        pasted_from: rounds through the training data from which on a run shows such views; a shorter one has enough
            to learn from whole images.
        averaging: decay of the moving average of the weights that is judged and kept; 0 for the weights themselves.
        patience: checks without a better student after which training ends; 0 for never.
        compiles: whether the student runs through `torch.compile`, which takes tens of seconds first.
        compute: where and in which arithmetic; `None` takes what the machine does best.
    """

    steps: int | None = None
    epochs: float | None = None
    seconds: float | None = None
    batch_size: int = 128
    peak_rate: float = 0.0
    warm_up: float = 0.2
    momentum: float = 0.9
    adaptive: bool = False
    weight_decay: float = 5e-4
    loss: LossSettings = field(default_factory=lambda: LossSettings(tau=0.9))
    features: float = 0.0
    checks: int = 10
    augments: bool = True
    views: int = 8
    pasted: float = 0.5
    pasted_from: float = 10.0
    averaging: float = 0.0
    patience: int = 0
    compiles: bool = False
    compute: Compute | None = None

    def __post_init__(self) -> None:
        positive = ("steps", "epochs", "seconds", "batch_size", "checks", "views")
        for name in positive:
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise UsageError(f"The distillation setting {name} is {value}; expected a positive number.")
        if not self.batch_size <= LARGEST_BATCH:
            raise UsageError(f"The distillation setting batch_size is {self.batch_size}; at most {LARGEST_BATCH}.")
        if not math.isfinite(self.peak_rate):
            raise UsageError(f"The distillation setting peak_rate is {self.peak_rate}; expected a finite number.")
        if not 0 <= self.pasted <= 1:
            raise UsageError(f"The distillation setting pasted is {self.pasted}; expected a share from 0 to 1.")
        for name in ("warm_up", "momentum", "averaging"):
            if not 0 <= getattr(self, name) < 1:
                raise UsageError(f"The distillation setting {name} is {getattr(self, name)}; expected 0 to below 1.")
        for name in ("peak_rate", "weight_decay", "patience", "features", "pasted_from"):
            if not getattr(self, name) >= 0:
                raise UsageError(f"The distillation setting {name} is {getattr(self, name)}; expected zero or more.")
        self._check_pairs()

    def _check_pairs(self) -> None:
        if self.adaptive and not self.peak_rate:
            raise UsageError(
                "The distillation setting adaptive has no rate by length; give peak_rate, too, such as 0.0003."
            )
        if self.features and self.compiles:
            raise UsageError(
                "The distillation settings features and compiles exclude each other; leave one of them out."
            )


class StopReason(StrEnum):
    """Why distillation ended."""

    FINISHED = "finished"
    DEADLINE = "deadline"
    PLATEAU = "plateau"
    DIVERGED = "diverged"


@dataclass(frozen=True, slots=True, kw_only=True)
class DistilReport:
    """What happened.

    Attributes:
        accuracy: validation accuracy of the weights the student now has, the best seen.
        best_step: step after which it had them; 0 for those it came with.
        steps: weight updates done.
        peak_rate: highest learning rate, as it was planned.
        images_seen: training images, repetitions counted.
        seconds: wall time.
        stopped: why.
        corrections: how often the length was fitted anew because the machine changed speed; with none, the same
            seed and `steps` give the same weights.
        compute: where and in which arithmetic.
        views: different views of each image that it showed; 1 where images were not changed.
        pasted: share of them into which a rectangle of another image was pasted.
    """

    accuracy: float
    best_step: int
    steps: int
    peak_rate: float
    images_seen: int
    seconds: float
    stopped: StopReason
    corrections: int
    compute: str
    views: int
    pasted: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DistilProgress:
    """Where distillation stands after a step.

    Attributes:
        step: updates done.
        end_step: updates planned; may be corrected on the way.
        rate: learning rate of the step.
        accuracy: the best validation accuracy so far, `None` before the first check.
    """

    step: int
    end_step: int
    rate: float
    accuracy: float | None


OnStep = Callable[[DistilProgress], None]
OnUpdate = Callable[[], None]
Deadline = Callable[[], float | None]
