"""The demonstration's teacher is a network that x86 leaves room in, and the way it is loaded works."""

from __future__ import annotations

import torch

from tools.demo_teacher import CLASSES, WIDTHS, DigitsNet, train_teacher


def test_widths_leave_room_for_the_channel_quantum() -> None:
    assert all(width % 16 == 0 and width > 16 for width in WIDTHS)


def test_it_maps_digits_to_logits() -> None:
    network = DigitsNet().eval()
    with torch.no_grad():
        assert network(torch.zeros(2, 1, 8, 8)).shape == (2, CLASSES)


def test_one_epoch_learns_more_than_chance_and_is_repeatable() -> None:
    first, accuracy = train_teacher(epochs=1)
    second, _ = train_teacher(epochs=1)
    assert accuracy > 0.5
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )
