from __future__ import annotations

import pytest
import torch
from torch import nn

from deploycompress.train import answers
from deploycompress.train.answers import Answers


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.asked = 0
        self.inner = nn.Linear(3, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.asked += len(images)
        answer: torch.Tensor = self.inner(images)
        return answer


class Pair(Counting):
    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # type: ignore[override]
        answer = super().forward(images)
        return answer, answer


IMAGES = torch.randn(10, 3, generator=torch.Generator().manual_seed(0))


def test_each_view_is_asked_about_once_and_the_answer_is_the_teachers() -> None:
    teacher = Counting()
    known = Answers(teacher, count=10)
    for numbers in (torch.arange(5), torch.arange(5, 10), torch.tensor([9, 0, 4]), torch.arange(10)):
        found = known.to(IMAGES[numbers], numbers)
        assert isinstance(found, torch.Tensor)
        assert not found.requires_grad
        assert torch.allclose(found, teacher.inner(IMAGES[numbers]))
    assert teacher.asked == 10


def test_a_batch_with_one_new_view_is_asked_about_whole() -> None:
    teacher = Counting()
    known = Answers(teacher, count=10)
    known.to(IMAGES[:4], torch.arange(4))
    found = known.to(IMAGES[2:6], torch.arange(2, 6))
    assert isinstance(found, torch.Tensor)
    assert torch.allclose(found, teacher.inner(IMAGES[2:6]))


def test_answers_too_large_to_keep_are_asked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answers, "MOST_BYTES", 10 * 4 * 4 - 1)
    teacher = Counting()
    known = Answers(teacher, count=10)
    for _ in range(2):
        known.to(IMAGES, torch.arange(10))
    assert teacher.asked == 20


def test_several_outputs_are_asked_for_again() -> None:
    teacher = Pair()
    known = Answers(teacher, count=10)
    for _ in range(2):
        found = known.to(IMAGES, torch.arange(10))
        assert isinstance(found, tuple)
        assert torch.allclose(found[1], teacher.inner(IMAGES))
    assert teacher.asked == 20
