"""A rectangle of the partner, the rest untouched; views with one have no label, and come back the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from deploycompress.train.batches import default_augmentation
from deploycompress.train.dataset import Dataset, make_dataset
from deploycompress.train.generator import make_generator
from deploycompress.train.losses import UNKNOWN_LABEL, LossKind, LossSettings, combined_loss
from deploycompress.train.paste import Rectangles, draw_rectangles, paste
from deploycompress.train.views import view_batches


def _data(count: int = 24) -> Dataset:
    images = np.random.default_rng(0).integers(0, 256, (count, 16, 16, 3)).astype(np.uint8)
    return make_dataset(images, np.arange(count) % 4, source="noise")


def test_the_rectangle_is_the_partners_and_the_rest_is_not() -> None:
    images, others = torch.zeros(2, 6, 8, 1), torch.ones(2, 6, 8, 1)
    rectangles = Rectangles(partner=torch.tensor([5, -1]), box=torch.tensor([[1, 2, 3, 4], [0, 0, 6, 8]]))
    expected = torch.zeros(6, 8)
    expected[1:4, 2:6] = 1
    found = paste(images, others, rectangles)
    assert torch.equal(found[0, :, :, 0], expected)
    assert torch.equal(found[1], images[1])


def test_rectangles_lie_inside_and_are_of_middling_size() -> None:
    rectangles = draw_rectangles(2000, 10, (32, 24), share=0.5, generator=make_generator(0))
    first, sides = rectangles.box[:, :2].int(), rectangles.box[:, 2:].int()
    assert (first >= 0).all()
    assert ((first + sides) <= torch.tensor([32, 24])).all()
    assert {int(side) for side in sides[:, 0]} == set(range(12, 21))
    assert {int(side) for side in sides[:, 1]} == set(range(9, 16))
    assert set(rectangles.partner.tolist()) == set(range(-1, 10))
    assert (rectangles.partner >= 0).float().mean().item() == pytest.approx(0.5, abs=0.05)


def test_a_view_shows_the_same_each_time_and_has_no_label_where_something_was_pasted() -> None:
    data = _data()
    batches = view_batches(
        data, batch_size=24, generator=make_generator(1), augmentation=default_augmentation(data), views=1, pasted=0.5
    )
    first, second = next(batches), next(batches)
    assert first.labels is not None
    order, again = first.numbers.argsort(), second.numbers.argsort()
    assert torch.equal(first.pixels[order], second.pixels[again])
    unknown = first.labels == UNKNOWN_LABEL
    assert 0 < int(unknown.sum()) < 24
    assert torch.equal(first.labels[~unknown], torch.from_numpy(data.labels)[first.numbers % 24][~unknown])


def test_unknown_labels_count_for_the_teachers_part_alone() -> None:
    student, teacher = torch.randn(4, 3, generator=make_generator(2)), torch.randn(4, 3, generator=make_generator(3))
    settings = LossSettings(kind=LossKind.KL, tau=0.75)
    soft = combined_loss(student, teacher, None, settings) * settings.tau
    none = combined_loss(student, teacher, torch.full((4,), UNKNOWN_LABEL), settings)
    assert none.item() == pytest.approx(soft.item())
    one = combined_loss(student, teacher, torch.tensor([2, -1, -1, -1]), settings)
    expected = -torch.log_softmax(student, 1)[0, 2] / 4 * (1 - settings.tau)
    assert (one - none).item() == pytest.approx(expected.item(), rel=1e-5)
