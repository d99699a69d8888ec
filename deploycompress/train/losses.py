"""What a student is trained to make small: distance to the teacher's logits, and to the true labels."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import torch
import torch.nn.functional as F

from deploycompress.errors import UsageError


class LossKind(StrEnum):
    """How teacher and labels are weighed."""

    KL = "kl"  # RL-Pruner, eq. 25-26
    L2 = "l2"  # N2N, section 3.5


@dataclass(frozen=True, slots=True, kw_only=True)
class LossSettings:
    """A loss with its weights; the defaults are RL-Pruner's.

    Attributes:
        kind: `kl`: tau * T^2 KL(teacher, student) + (1 - tau) * cross-entropy;
            `l2`: cross-entropy + l2_weight * mean squared L2 distance of the logits.
        tau: weight of the teacher under `kl`, in [0, 1].
        temperature: T, positive.
        l2_weight: N2N's lambda, which the paper leaves open.
    """

    kind: LossKind = LossKind.KL
    tau: float = 0.75
    temperature: float = 4.0
    l2_weight: float = 0.05

    def __post_init__(self) -> None:
        if not 0 <= self.tau <= 1:
            raise UsageError(f"The teacher's weight tau is {self.tau}; expected a number from 0 to 1.")
        if not self.temperature > 0:
            raise UsageError(f"The distillation temperature is {self.temperature}; expected a positive number.")
        if not self.l2_weight >= 0:
            raise UsageError(f"The weight of the L2 loss is {self.l2_weight}; expected zero or more.")


def combined_loss(
    student: torch.Tensor, teacher: torch.Tensor, labels: torch.Tensor, settings: LossSettings
) -> torch.Tensor:
    """Compute the loss of a batch in float32.

    Args:
        student: logits [B, K].
        teacher: logits [B, K].
        labels: class numbers [B].
        settings: which loss.

    Returns:
        A scalar.
    """
    student, teacher = student.float(), teacher.float()
    hard = F.cross_entropy(student, labels)
    if settings.kind is LossKind.L2:
        return hard + settings.l2_weight * logits_l2(student, teacher)  # N2N, section 3.5
    soft = soft_kl(student, teacher, settings.temperature)
    return settings.tau * soft + (1 - settings.tau) * hard  # RL-Pruner, eq. 25-26


def logits_l2(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Compute the mean over samples of the squared L2 distance of logits [B, K] (N2N, section 3.5)."""
    return (student - teacher).square().sum(dim=1).mean()


def soft_kl(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """Compute T^2 KL(teacher || student) of logits [B, K] softened by T, mean over samples (Hinton 2015)."""
    log_student = F.log_softmax(student / temperature, dim=1)
    log_teacher = F.log_softmax(teacher / temperature, dim=1)
    return F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True) * temperature**2
