"""Scores against plain loops over single images."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from deploycompress.train.accuracy import score_module, with_answers
from deploycompress.train.dataset import Answers, make_dataset
from deploycompress.train.normalize import make_normalization, normalize_numpy
from deploycompress.train.score import ACCURACY, AGREEMENT, OUTPUT_MATCH, Answered, relative_error

Floats = NDArray[np.float32]


def draw(shape: tuple[int, ...], seed: int) -> Floats:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def in_batches(outputs: Answers, answers: Answers, labels: NDArray[np.int64] | None = None) -> Iterator[Answered]:
    for part in (slice(0, 4), slice(4, 5), slice(5, None)):
        yield Answered(
            outputs=tuple(output[part] for output in outputs),
            labels=None if labels is None else labels[part],
            answers=tuple(answer[part] for answer in answers),
        )


def test_agreement_counts_images_of_which_both_say_the_same() -> None:
    student, teacher = draw((9, 3), 0), draw((9, 3), 1)
    pairs = list(zip(student, teacher, strict=True))
    same = [max(range(3), key=lambda k: s[k]) == max(range(3), key=lambda k: t[k]) for s, t in pairs]
    assert AGREEMENT.take(in_batches((student,), (teacher,))) == sum(same) / 9
    assert AGREEMENT.take(in_batches((teacher,), (teacher,))) == 1.0


def test_accuracy_counts_true_classes_whatever_the_teacher_says() -> None:
    logits, labels = draw((9, 3), 0), np.arange(9) % 3
    right = [int(np.argmax(row)) == label for row, label in zip(logits, labels, strict=True)]
    assert ACCURACY.take(in_batches((logits,), (draw((9, 3), 1),), labels)) == sum(right) / 9


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_logits_that_are_no_numbers_name_no_class(bad: float) -> None:
    teacher = draw((9, 3), 0)
    student = teacher.copy()
    student[2, 0] = bad
    assert AGREEMENT.take(in_batches((student,), (teacher,))) == 8 / 9
    assert AGREEMENT.take(in_batches((student,), (student,))) == 8 / 9, "naming nothing alike is no agreement"
    assert OUTPUT_MATCH.take(in_batches((student,), (teacher,))) == 0.0


def test_relative_error_is_the_mean_over_outputs_of_the_quotient_of_norms() -> None:
    teacher = (draw((9, 2, 3, 3), 0), 100 * draw((9, 5), 1), np.arange(9))
    student = (draw((9, 2, 3, 3), 2), 90 * draw((9, 5), 1), np.zeros(9, np.int64))
    maps = np.linalg.norm((student[0] - teacher[0]).ravel()) / np.linalg.norm(teacher[0].ravel())
    assert relative_error(in_batches(student, teacher)) == pytest.approx((maps + 0.1) / 2, rel=1e-5)
    close = (teacher[0] * 0.9, teacher[1] * 1.2, teacher[2])
    assert OUTPUT_MATCH.take(in_batches(close, teacher)) == pytest.approx(1 / 1.15)
    assert OUTPUT_MATCH.take(in_batches((-teacher[0], -teacher[1], teacher[2]), teacher)) == pytest.approx(1 / 3)


def test_an_output_that_the_teacher_leaves_at_zero_must_be_zero() -> None:
    zero, one = np.zeros((9, 2), np.float32), np.ones((9, 2), np.float32)
    assert relative_error(in_batches((zero,), (zero,))) == 0.0
    assert OUTPUT_MATCH.take(in_batches((one,), (zero,))) == 0.0


def test_a_dead_output_does_not_hide_the_others_but_a_broken_one_counts() -> None:
    zero, one = np.zeros((9, 2), np.float32), np.ones((9, 2), np.float32)
    assert relative_error(in_batches((zero + 1e-6, 0.9 * one), (zero, one))) == pytest.approx(0.1, rel=1e-5)
    assert relative_error(in_batches((zero * np.nan, one), (zero, one))) == np.inf


class _Two(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x * 2, x.mean((2, 3))


def test_a_module_of_several_outputs_is_asked_about_every_image_in_order() -> None:
    data = make_dataset(np.random.default_rng(0).integers(0, 256, (11, 4, 4, 3)).astype(np.uint8), None, source="some")
    normalization = make_normalization("unit", data)
    answered = with_answers(data, _Two(), normalization, batch_size=4)
    pixels = normalize_numpy(data.images, normalization)
    assert answered.answers is not None
    doubled, mean = answered.answers
    assert np.allclose(doubled.astype(np.float32), 2 * pixels, rtol=1e-6)
    assert np.allclose(mean.astype(np.float32), pixels.mean((2, 3)), rtol=1e-5)
    assert score_module(_Two(), answered, normalization, score=OUTPUT_MATCH, batch_size=3) == pytest.approx(1.0)
