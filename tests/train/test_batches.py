from __future__ import annotations

import itertools

import numpy as np
import torch

from deploycompress.train.batches import (
    Augmentation,
    augment,
    default_augmentation,
    evaluation_batches,
    training_batches,
)
from deploycompress.train.dataset import Dataset, make_dataset
from deploycompress.train.generator import make_generator


def numbered(count: int, size: int = 1, channels: int = 1) -> Dataset:
    images = np.tile(np.arange(count, dtype=np.uint8)[:, None, None, None], (1, size, size, channels))
    return make_dataset(images, np.arange(count) % 2, source="numbered")


def test_every_round_shows_every_image_once_in_a_new_order() -> None:
    stream = training_batches(numbered(12), batch_size=5, generator=make_generator(0), augmentation=None)
    seen = torch.cat([pixels.ravel() for pixels, _ in itertools.islice(stream, 12)]).tolist()
    rounds = [seen[start : start + 12] for start in range(0, 60, 12)]
    assert all(sorted(one) == list(range(12)) for one in rounds)
    assert rounds[0] != rounds[1]


def test_labels_stay_with_their_images_and_the_seed_decides() -> None:
    def draw(seed: int) -> list[tuple[int, int]]:
        stream = training_batches(numbered(9), batch_size=4, generator=make_generator(seed), augmentation=None)
        return [
            pair
            for pixels, labels in itertools.islice(stream, 5)
            for pair in zip(pixels.ravel().tolist(), labels.tolist(), strict=True)
        ]

    assert all(number % 2 == label for number, label in draw(0))
    assert draw(0) == draw(0)
    assert draw(0) != draw(1)


def test_evaluation_goes_through_once_in_order() -> None:
    batches = list(evaluation_batches(numbered(7), batch_size=3))
    assert [len(labels) for _, labels in batches] == [3, 3, 1]
    assert torch.cat([pixels.ravel() for pixels, _ in batches]).tolist() == list(range(7))


def test_every_augmented_image_is_a_shift_of_the_original_and_all_occur() -> None:
    image = torch.arange(1, 13, dtype=torch.uint8).view(3, 4, 1)
    batch = image.expand(400, 3, 4, 1).contiguous()
    found = augment(batch, Augmentation(shift=1, mirror=True), generator=make_generator(3))
    expected = set()
    for mirrored in (image, image.flip(1)):
        for down, right in itertools.product((-1, 0, 1), repeat=2):
            shifted = torch.zeros_like(image)
            for y, x in itertools.product(range(3), range(4)):
                if 0 <= y - down < 3 and 0 <= x - right < 4:
                    shifted[y, x] = mirrored[y - down, x - right]
            expected.add(shifted.numpy().tobytes())
    assert {one.numpy().tobytes() for one in found} == expected
    assert len(expected) == 18


def test_channels_travel_together() -> None:
    batch = torch.arange(8 * 8, dtype=torch.float32).view(1, 8, 8, 1).repeat(16, 1, 1, 3)
    found = augment(batch, Augmentation(shift=2, mirror=True), generator=make_generator(0))
    assert torch.equal(found[..., 0], found[..., 2])
    assert not torch.equal(found, batch)


def test_grey_images_are_never_mirrored() -> None:
    assert default_augmentation(numbered(2, size=32, channels=3)) == Augmentation(shift=4, mirror=True)
    assert default_augmentation(numbered(2, size=8)) == Augmentation(shift=1, mirror=False)
    image = torch.arange(16, dtype=torch.uint8).view(1, 4, 4, 1)
    assert torch.equal(augment(image, Augmentation(shift=0, mirror=False), generator=make_generator(0)), image)
    assert augment(image, None, generator=make_generator(0)) is image
