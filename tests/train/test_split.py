from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycompress.errors import DataError
from deploycompress.train.dataset import Dataset, make_dataset
from deploycompress.train.split import split_validation


def numbered(counts: list[int]) -> Dataset:
    labels = np.repeat(np.arange(len(counts)), counts)
    images = np.arange(len(labels), dtype=np.float32).reshape(-1, 1, 1, 1)
    return make_dataset(images, labels, source="numbered")


@given(st.lists(st.integers(2, 40), min_size=2, max_size=5), st.floats(0.01, 0.9), st.integers(0, 100))
def test_parts_are_disjoint_complete_and_stratified(counts: list[int], fraction: float, seed: int) -> None:
    data = numbered(counts)
    training, validation = split_validation(data, generator=np.random.default_rng(seed), fraction=fraction)
    ids = np.concatenate([training.images.ravel(), validation.images.ravel()])
    assert sorted(ids.tolist()) == list(range(len(data)))
    assert validation.labels is not None
    for label, count in enumerate(counts):
        held = int((validation.labels == label).sum())
        assert 1 <= held <= count - 1
        assert abs(held - fraction * count) <= 1


def test_the_seed_decides_and_the_size_is_limited() -> None:
    data = numbered([100, 100])

    def held(seed: int) -> list[float]:
        validation = split_validation(data, generator=np.random.default_rng(seed), fraction=0.5, at_most=20)[1]
        return [float(value) for value in validation.images.ravel()]

    assert held(1) == held(1)
    assert held(1) != held(2)
    assert len(held(1)) == 20


def test_without_labels_any_image_may_go_either_way() -> None:
    data = make_dataset(np.arange(40, dtype=np.float32).reshape(-1, 1, 1, 1), None, source="bare")
    training, validation = split_validation(data, generator=np.random.default_rng(0), fraction=0.25)
    assert (len(training), len(validation)) == (30, 10)
    assert not training.is_labelled
    ids = np.concatenate([training.images.ravel(), validation.images.ravel()])
    assert sorted(ids.tolist()) == list(range(40))
    assert validation.images.ravel().tolist() != list(range(10)), "drawn, not the first ones"
    with pytest.raises(DataError, match="bare has one image"):
        split_validation(data.take(np.array([0])), generator=np.random.default_rng(0))


def test_a_class_of_one_image_is_refused() -> None:
    with pytest.raises(DataError, match=r"Class 1 .* has one image"):
        split_validation(numbered([5, 1]), generator=np.random.default_rng(0))
