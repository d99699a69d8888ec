from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from deploycompress.errors import UsageError
from deploycompress.train.losses import LossKind, LossSettings, combined_loss, logits_l2, soft_kl

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
