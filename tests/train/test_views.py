from __future__ import annotations

import itertools

import torch

from deploycompress.train.batches import Augmentation
from deploycompress.train.generator import make_generator
from deploycompress.train.views import ViewBatch, view_batches
from tests.train.test_batches import numbered

SHIFTS = Augmentation(shift=3, mirror=True)


def drawn(count: int, *, batch_size: int, batches: int, seed: int = 0, views: int = 8) -> list[ViewBatch]:
    stream = view_batches(
        numbered(count), batch_size=batch_size, generator=make_generator(seed), augmentation=None, views=views
    )
    return list(itertools.islice(stream, batches))


def test_every_round_shows_every_image_once_in_a_new_order() -> None:
    seen = torch.cat([batch.pixels.ravel() for batch in drawn(12, batch_size=5, batches=12)]).tolist()
    rounds = [seen[start : start + 12] for start in range(0, 60, 12)]
    assert all(sorted(one) == list(range(12)) for one in rounds)
    assert rounds[0] != rounds[1]


def test_labels_stay_with_their_images_and_the_seed_decides() -> None:
    def pairs(seed: int) -> list[tuple[int, int]]:
        found = []
        for batch in drawn(9, batch_size=4, batches=5, seed=seed):
            assert batch.labels is not None
            found += list(zip(batch.pixels.ravel().tolist(), batch.labels.tolist(), strict=True))
        return found

    assert all(number % 2 == label for number, label in pairs(0))
    assert pairs(0) == pairs(0)
    assert pairs(0) != pairs(1)


def test_a_view_that_comes_back_looks_the_same_and_others_do_not() -> None:
    data = numbered(6, size=9, channels=3)
    data.images[:] += torch.arange(81, dtype=torch.uint8).view(1, 9, 9, 1).numpy()
    stream = view_batches(data, batch_size=6, generator=make_generator(1), augmentation=SHIFTS, views=2)
    seen: dict[int, torch.Tensor] = {}
    for batch in itertools.islice(stream, 6):
        for number, pixels in zip(batch.numbers.tolist(), batch.pixels, strict=True):
            assert torch.equal(seen.setdefault(number, pixels), pixels)
    assert sorted(seen) == list(range(12))
    assert sum(not torch.equal(seen[number], seen[number + 6]) for number in range(6)) >= 4
    numbers = [one.numbers for one in itertools.islice(stream, 2)]
    assert numbers[0].max() < 6 <= numbers[1].min()


def test_without_changes_there_is_one_view() -> None:
    assert all(batch.numbers.max() < 12 for batch in drawn(12, batch_size=6, batches=8))
