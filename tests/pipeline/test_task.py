"""Data are split so that rewards never see what is held out, and what does not fit is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deploycompress.errors import DataError, ModelError
from deploycompress.graph import Graph
from deploycompress.pipeline.task import VALIDATION_IMAGES, read_data
from deploycompress.train.data import load_data
from deploycompress.train.dataset import Dataset
from tests.build import start


def classifier(classes: int = 4, *, size: int = 8) -> Graph:
    net = start(1)
    x = net.op("Flatten", net.op("GlobalAveragePool", net.conv("x", 6)), axis=1)
    return net.finish(net.linear(x, classes), input_shape=(3, size, size))


def write(
    path: Path, count: int, *, seed: int = 0, dtype: type[np.uint8 | np.float32] = np.uint8, classes: int = 4
) -> str:
    rng = np.random.default_rng(seed)
    images = np.asarray(rng.integers(0, 256, (count, 8, 8, 3)), dtype=dtype)
    np.savez(path, images=images, labels=np.arange(count) % classes)
    return str(path)


def rows(data: Dataset) -> set[bytes]:
    return {image.tobytes() for image in data.images}


def test_training_and_validation_part_what_was_given_and_the_test_data_are_another(tmp_path: Path) -> None:
    train, test = write(tmp_path / "train.npz", 200), write(tmp_path / "test.npz", 40, seed=1)
    task, held_out = read_data(classifier(), train, test, normalize=None, seed=0)
    assert held_out is not None
    assert len(task.training) + len(task.validation) == 200
    assert len(task.validation) > 0
    assert not rows(task.training) & rows(task.validation)
    whole = load_data(train, input_shape=(3, 8, 8), num_classes=4)
    assert rows(task.training) | rows(task.validation) == rows(whole)
    assert rows(held_out) == rows(load_data(test, input_shape=(3, 8, 8), num_classes=4))


def test_the_seed_decides_which_images_validate(tmp_path: Path) -> None:
    train = write(tmp_path / "train.npz", 200)
    first, again, other = (
        read_data(classifier(), train, None, normalize=None, seed=seed)[0].validation for seed in (3, 3, 4)
    )
    assert rows(first) == rows(again) != rows(other)


def test_not_more_images_validate_than_are_needed(tmp_path: Path) -> None:
    train = write(tmp_path / "train.npz", 30_000)
    task, held_out = read_data(classifier(), train, None, normalize=None, seed=0)
    assert len(task.validation) == VALIDATION_IMAGES
    assert held_out is None


def test_a_dataset_in_memory_serves_as_well(tmp_path: Path) -> None:
    whole = load_data(write(tmp_path / "train.npz", 100), input_shape=(3, 8, 8), num_classes=4)
    task, _ = read_data(classifier(), whole, None, normalize=None, seed=0)
    assert rows(task.training) | rows(task.validation) == rows(whole)


def test_a_dataset_that_does_not_fit_the_network_is_refused(tmp_path: Path) -> None:
    whole = load_data(write(tmp_path / "train.npz", 100), input_shape=(3, 8, 8), num_classes=4)
    with pytest.raises(DataError):
        read_data(classifier(size=16), whole, None, normalize=None, seed=0)
    with pytest.raises(DataError):
        read_data(classifier(classes=3), whole, None, normalize=None, seed=0)


def test_training_data_are_no_test_data(tmp_path: Path) -> None:
    train = write(tmp_path / "train.npz", 100)
    with pytest.raises(DataError, match="must be held out"):
        read_data(classifier(), train, train, normalize=None, seed=0)


def test_test_data_in_another_form_are_refused(tmp_path: Path) -> None:
    train = write(tmp_path / "train.npz", 100)
    test = write(tmp_path / "test.npz", 40, dtype=np.float32)
    with pytest.raises(DataError, match=r"float32.*uint8"):
        read_data(classifier(), train, test, normalize=None, seed=0)


def test_classes_of_another_name_are_refused(tmp_path: Path) -> None:
    train = load_data(write(tmp_path / "train.npz", 100), input_shape=(3, 8, 8), num_classes=4)
    named = replace(train, class_names=("a", "b", "c", "d"))
    test = tmp_path / "test"
    assert train.labels is not None
    np.savez(tmp_path / "test.npz", images=train.images[:8], labels=train.labels[:8])
    task, held_out = read_data(classifier(), named, str(test) + ".npz", normalize=None, seed=0)
    assert held_out is not None
    assert not held_out.class_names, "unnamed classes say nothing against it"
    assert task.training.class_names == named.class_names


def test_networks_that_read_no_image_are_refused(tmp_path: Path) -> None:
    train = write(tmp_path / "train.npz", 100)
    flat = start(1)
    flat.width["x"] = 12
    vector = flat.finish(flat.linear("x", 4), input_shape=(12,))
    with pytest.raises(ModelError, match="one image"):
        read_data(vector, train, None, normalize=None, seed=0)
