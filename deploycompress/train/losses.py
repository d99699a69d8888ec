"""What a student is trained to make small: distance to the teacher's outputs, and to the true labels."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import torch
import torch.nn.functional as F

from deploycompress.errors import UsageError

Outputs = torch.Tensor | tuple[torch.Tensor, ...]

UNKNOWN_LABEL = -1
"""Class number of an image whose class is not known; it counts for the teacher's part of a loss only."""

_LEAST_SQUARE = 1e-12  # of an output that the teacher leaves at zero


class LossKind(StrEnum):
    """How teacher and labels are weighed."""

    KL = "kl"  # RL-Pruner, eq. 25-26
    L2 = "l2"  # N2N, section 3.5
    OUTPUTS = "outputs"


@dataclass(frozen=True, slots=True, kw_only=True)
class LossSettings:
    """A loss with its weights; the defaults are RL-Pruner's.

    Attributes:
        kind: `kl`: tau * T^2 KL(teacher, student) + (1 - tau) * cross-entropy;
            `l2`: cross-entropy + l2_weight * mean squared L2 distance of the logits;
            `outputs`: mean squared error relative to the teacher's mean square, for outputs of any number and shape.
            Without labels the cross-entropy is left out.
        tau: weight of the teacher under `kl`, in [0, 1].
        temperature: T, positive.
        l2_weight: N2N's lambda, which the paper leaves open.
    """

    kind: LossKind = LossKind.KL
    tau: float = 0.75
    temperature: float = 4.0
    l2_weight: float = 0.05

    @property
    def has_teacher(self) -> bool:
        """Whether the teacher's answers count at all."""
        return {LossKind.KL: self.tau, LossKind.L2: self.l2_weight}.get(self.kind, 1.0) > 0

    def __post_init__(self) -> None:
        if not 0 <= self.tau <= 1:
            raise UsageError(f"The teacher's weight tau is {self.tau}; expected a number from 0 to 1.")
        if not self.temperature > 0:
            raise UsageError(f"The distillation temperature is {self.temperature}; expected a positive number.")
        if not self.l2_weight >= 0:
            raise UsageError(f"The weight of the L2 loss is {self.l2_weight}; expected zero or more.")


def combined_loss(
    student: Outputs, teacher: Outputs, labels: torch.Tensor | None, settings: LossSettings
) -> torch.Tensor:
    """Compute the loss of a batch in float32.

    Args:
        student: logits [B, K]; under `outputs` one tensor or several of any shape.
        teacher: the same.
        labels: class numbers [B], `UNKNOWN_LABEL` where one is not known; none where nobody knows any.
        settings: which loss.

    Returns:
        A scalar.
    """
    if settings.kind is LossKind.OUTPUTS or isinstance(student, tuple) or isinstance(teacher, tuple):
        return outputs_loss(student, teacher)
    student, teacher = student.float(), teacher.float()
    if settings.kind is LossKind.L2:
        soft, weight, hard_weight = logits_l2(student, teacher), settings.l2_weight, 1.0  # N2N, section 3.5
    else:
        soft, weight = soft_kl(student, teacher, settings.temperature), settings.tau
        hard_weight = 1 - settings.tau  # RL-Pruner, eq. 25-26
    return soft if labels is None else weight * soft + hard_weight * _hard(student, labels)


def _hard(student: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Sum the cross-entropy with the labels that are known, over the size of the batch."""
    return F.cross_entropy(student, labels, ignore_index=UNKNOWN_LABEL, reduction="sum") / len(labels)


def outputs_loss(student: Outputs, teacher: Outputs) -> torch.Tensor:
    """Compute the squared error relative to the teacher's mean square, averaged over the outputs of float type."""
    pairs = zip(_several(student), _several(teacher), strict=True)
    losses = [_relative(found, wanted, wanted) for found, wanted in pairs if wanted.is_floating_point()]
    return torch.stack(losses).mean()


def own_loss(outputs: Outputs, labels: torch.Tensor | None) -> torch.Tensor:
    """Compute a loss that changes when what a network says changes, for the importance of its channels.

    Args:
        outputs: logits [B, K] where there are labels; without them, one tensor or several of any shape.
        labels: class numbers [B], or none.

    Returns:
        Cross-entropy with the labels; without them, that with the classes the network itself names; for what are no
        logits, half the outputs' relative squares, whose gradient is the outputs themselves.
    """
    if isinstance(outputs, torch.Tensor) and outputs.ndim == 2 and outputs.shape[1] > 1:
        return F.cross_entropy(outputs, outputs.argmax(dim=1) if labels is None else labels)
    floats = [one for one in _several(outputs) if one.is_floating_point()]
    return torch.stack([_relative(one, torch.zeros_like(one), one.detach()) for one in floats]).mean() / 2


def _relative(found: torch.Tensor, wanted: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    return F.mse_loss(found.float(), wanted.float()) / scale.float().square().mean().clamp_min(_LEAST_SQUARE)


def _several(outputs: Outputs) -> tuple[torch.Tensor, ...]:
    return outputs if isinstance(outputs, tuple) else (outputs,)


def logits_l2(student: torch.Tensor, teacher: torch.Tensor) -> torch.Tensor:
    """Compute the mean over samples of the squared L2 distance of logits [B, K] (N2N, section 3.5)."""
    return (student - teacher).square().sum(dim=1).mean()


def soft_kl(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """Compute T^2 KL(teacher || student) of logits [B, K] softened by T, mean over samples (Hinton 2015)."""
    log_student = F.log_softmax(student / temperature, dim=1)
    log_teacher = F.log_softmax(teacher / temperature, dim=1)
    return F.kl_div(log_student, log_teacher, reduction="batchmean", log_target=True) * temperature**2
