from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import torch

from deploycompress.train.batches import (
    Augmentation,
    change,
    default_augmentation,
    draw_changes,
    evaluation_batches,
)
from deploycompress.train.dataset import Dataset, make_dataset
from deploycompress.train.generator import make_generator


def numbered(count: int, size: int = 1, channels: int = 1) -> Dataset:
    images = np.tile(np.arange(count, dtype=np.uint8)[:, None, None, None], (1, size, size, channels))
    return make_dataset(images, np.arange(count) % 2, source="numbered")


def changed(images: torch.Tensor, augmentation: Augmentation, *, seed: int) -> torch.Tensor:
    return change(images, draw_changes(len(images), augmentation, generator=make_generator(seed)))


def test_batches_of_images_without_labels_have_none() -> None:
    bare = replace(numbered(7), labels=None)
    batches = list(evaluation_batches(bare, batch_size=3))
    assert [labels for _, labels in batches] == [None, None, None]
    assert torch.cat([pixels.ravel() for pixels, _ in batches]).tolist() == list(range(7))


def test_evaluation_goes_through_once_in_order() -> None:
    batches = list(evaluation_batches(numbered(7), batch_size=3))
    assert [len(pixels) for pixels, _ in batches] == [3, 3, 1]
    assert torch.cat([pixels.ravel() for pixels, _ in batches]).tolist() == list(range(7))


def test_every_augmented_image_is_a_shift_of_the_original_and_all_occur() -> None:
    image = torch.arange(1, 13, dtype=torch.uint8).view(3, 4, 1)
    batch = image.expand(400, 3, 4, 1).contiguous()
    found = changed(batch, Augmentation(shift=1, mirror=True), seed=3)
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
    found = changed(batch, Augmentation(shift=2, mirror=True), seed=0)
    assert torch.equal(found[..., 0], found[..., 2])
    assert not torch.equal(found, batch)


def test_grey_images_are_never_mirrored() -> None:
    assert default_augmentation(numbered(2, size=32, channels=3)) == Augmentation(shift=4, mirror=True)
    assert default_augmentation(numbered(2, size=8)) == Augmentation(shift=1, mirror=False)
    image = torch.arange(16, dtype=torch.uint8).view(1, 4, 4, 1)
    assert torch.equal(changed(image, Augmentation(shift=0, mirror=False), seed=0), image)
