from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from deploycompress.errors import UsageError
from deploycompress.train.losses import (
    LossKind,
    LossSettings,
    combined_loss,
    logits_l2,
    outputs_loss,
    own_loss,
    soft_kl,
)

Logits = NDArray[np.float64]


def some_logits() -> tuple[Logits, Logits, list[int]]:
    rng = np.random.default_rng(0)
    return rng.normal(0, 3, (5, 4)), rng.normal(0, 3, (5, 4)), [0, 3, 1, 1, 2]


def softmax(row: NDArray[np.float64]) -> list[float]:
    total = sum(math.exp(value) for value in row)
    return [math.exp(value) / total for value in row]


def l2_by_loop(student: Logits, teacher: Logits) -> float:
    return sum(sum((s - t) ** 2 for s, t in zip(*rows, strict=True)) for rows in zip(student, teacher, strict=True)) / 5


def kl_by_loop(student: Logits, teacher: Logits, temperature: float) -> float:
    total = 0.0
    for row_s, row_t in zip(student, teacher, strict=True):
        p_s, p_t = softmax(row_s / temperature), softmax(row_t / temperature)
        total += sum(t * math.log(t / s) for s, t in zip(p_s, p_t, strict=True))
    return temperature**2 * total / 5


def hard_by_loop(student: Logits, labels: list[int]) -> float:
    return sum(-math.log(softmax(row)[label]) for row, label in zip(student, labels, strict=True)) / 5


def test_l2_is_the_mean_squared_distance_of_logits() -> None:
    student, teacher, _ = some_logits()
    found = logits_l2(torch.tensor(student), torch.tensor(teacher))
    assert float(found) == pytest.approx(l2_by_loop(student, teacher))


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_soft_kl_is_scaled_by_the_squared_temperature(temperature: float) -> None:
    student, teacher, _ = some_logits()
    found = soft_kl(torch.tensor(student), torch.tensor(teacher), temperature)
    assert float(found) == pytest.approx(kl_by_loop(student, teacher, temperature))


def test_combinations_weigh_as_the_papers_do() -> None:
    student, teacher, labels = some_logits()
    hard, kl = hard_by_loop(student, labels), kl_by_loop(student, teacher, 4.0)
    tensors = torch.tensor(student), torch.tensor(teacher), torch.tensor(labels)
    found_kl = combined_loss(*tensors, LossSettings())
    assert float(found_kl) == pytest.approx(0.75 * kl + 0.25 * hard, rel=1e-5)
    found_l2 = combined_loss(*tensors, LossSettings(kind=LossKind.L2, l2_weight=0.3))
    assert float(found_l2) == pytest.approx(hard + 0.3 * l2_by_loop(student, teacher), rel=1e-5)


@pytest.mark.parametrize("wrong", [{"tau": 1.5}, {"temperature": 0.0}, {"l2_weight": -1.0}])
def test_impossible_weights_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=str(next(iter(wrong.values())))):
        LossSettings(**wrong)  # type: ignore[arg-type]  # one float among fields of several types


@pytest.mark.parametrize("kind", [LossKind.KL, LossKind.L2])
def test_without_labels_the_teacher_alone_counts(kind: LossKind) -> None:
    student, teacher, _ = some_logits()
    found = combined_loss(torch.tensor(student), torch.tensor(teacher), None, LossSettings(kind=kind, tau=0.3))
    expected = kl_by_loop(student, teacher, 4.0) if kind is LossKind.KL else l2_by_loop(student, teacher)
    assert float(found) == pytest.approx(expected, rel=1e-5)


def test_outputs_of_any_size_count_alike_by_their_relative_error() -> None:
    rng = np.random.default_rng(0)
    wanted = [rng.normal(0, scale, shape) for scale, shape in ((1, (5, 2, 3, 3)), (100, (5, 4)))]
    found = [array + rng.normal(0, 0.1, array.shape) for array in wanted]
    errors = [((f - w) ** 2).mean() / (w**2).mean() for f, w in zip(found, wanted, strict=True)]
    student, teacher = ((*(torch.tensor(array) for array in arrays), torch.arange(5)) for arrays in (found, wanted))
    loss = combined_loss(student, teacher, None, LossSettings(kind=LossKind.OUTPUTS))
    assert float(loss) == pytest.approx(sum(errors) / 2, rel=1e-5)
    assert float(outputs_loss(student[0], teacher[0])) == pytest.approx(errors[0], rel=1e-5)


def test_a_networks_own_loss_follows_what_it_says() -> None:
    logits, _, labels = some_logits()
    said = [int(np.argmax(row)) for row in logits]
    assert float(own_loss(torch.tensor(logits), torch.tensor(labels))) == pytest.approx(hard_by_loop(logits, labels))
    assert float(own_loss(torch.tensor(logits), None)) == pytest.approx(hard_by_loop(logits, said))
    maps = torch.tensor(logits).view(5, 2, 2).requires_grad_()
    (slope,) = torch.autograd.grad(own_loss((maps,), None), maps)
    assert torch.allclose(slope / slope[0, 0, 0], maps / maps[0, 0, 0]), "the gradient is the output itself"
