from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deploycompress.errors import DataError
from deploycompress.train.data import load_data
from deploycompress.train.dataset import Dataset

SHAPE = (3, 5, 4)
Arrays = dict[str, Any]


def some_arrays(count: int = 6, seed: int = 0) -> Arrays:
    rng = np.random.default_rng(seed)
    return {
        "images": rng.integers(0, 256, (count, 5, 4, 3), dtype=np.uint8),
        "labels": np.arange(count, dtype=np.uint8) % 3,
    }


def save(path: Path, arrays: Arrays) -> str:
    np.savez(path, **arrays)
    return str(path)


def test_an_archive_gives_its_arrays_back(tmp_path: Path) -> None:
    arrays = some_arrays()
    data = load_data(save(tmp_path / "a.npz", arrays), input_shape=SHAPE, num_classes=3)
    np.testing.assert_array_equal(data.images, arrays["images"])
    np.testing.assert_array_equal(data.labels, arrays["labels"])
    assert data.images.dtype == np.uint8
    assert data.labels is not None
    assert data.labels.dtype == np.int64
    assert data.image_shape == SHAPE


def test_images_may_come_without_labels(tmp_path: Path) -> None:
    bare = {"images": some_arrays()["images"]}
    paths = [save(tmp_path / f"{name}.npz", bare) for name in "ab"]
    data = load_data(paths, input_shape=SHAPE, num_classes=3)
    assert not data.is_labelled
    assert len(data) == 12
    assert data.take(np.array([3, 1])).images.tolist() == bare["images"][[3, 1]].tolist()


def test_answers_stay_with_their_images() -> None:
    numbers = np.arange(6)
    images = np.zeros((6, 2, 2, 1), np.uint8)
    data = Dataset(images=images, labels=None, source="six", answers=(numbers, 10 * numbers[:, None]))
    taken = data.take(np.array([4, 0]))
    assert taken.answers is not None
    assert [answer.tolist() for answer in taken.answers] == [[4, 0], [[40], [0]]]


@pytest.mark.parametrize("form", ["{0}/part-*.npz", "{0}/part-0.npz,{0}/part-1.npz", "{0}/part-0.npz {0}/part-1.npz"])
def test_patterns_and_lists_join_archives_in_order(tmp_path: Path, form: str) -> None:
    parts = [some_arrays(seed=seed) for seed in (0, 1)]
    for index, part in enumerate(parts):
        save(tmp_path / f"part-{index}.npz", part)
    data = load_data(form.format(tmp_path))
    np.testing.assert_array_equal(data.images, np.concatenate([part["images"] for part in parts]))


def test_a_sequence_of_sources_is_joined_and_named_once(tmp_path: Path) -> None:
    path = save(tmp_path / "with space.npz", some_arrays())
    assert len(load_data([path, path])) == 6


def test_float_images_become_float32(tmp_path: Path) -> None:
    arrays = some_arrays() | {"images": np.linspace(0, 1, 6 * 60).reshape(6, 5, 4, 3)}
    data = load_data(save(tmp_path / "a.npz", arrays))
    assert data.images.dtype == np.float32
    assert not data.is_bytes


def nan_images(arrays: Arrays) -> Arrays:
    images = arrays["images"].astype(np.float32)
    images[4, 0, 0, 0] = np.nan
    return arrays | {"images": images}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda a: {"pictures": a["images"], "labels": a["labels"]}, "no array 'images'"),
        (lambda a: {"images": a["images"], "classes": a["labels"]}, "'classes' looks like labels"),
        (lambda a: a | {"labels": a["labels"][:-1]}, "6 images but 5 labels"),
        (lambda a: a | {"labels": a["labels"].astype(float)}, "labels of .* are float64"),
        (lambda a: a | {"labels": a["labels"][:, None]}, r"labels .* shape \(6, 1\)"),
        (lambda a: a | {"labels": np.zeros(6, dtype=np.int64)}, "All 6 images .* of class 0"),
        (lambda a: a | {"labels": a["labels"].astype(np.int64) - 1}, "label -1; class numbers start at 0"),
        (lambda a: a | {"labels": a["labels"] + 7}, "label 9, but the network tells 3 classes"),
        (lambda a: a | {"images": a["images"].astype(np.int64)}, "are int64; expected uint8"),
        (lambda a: a | {"images": a["images"][..., 0]}, r"shape \(6, 5, 4\); expected four axes"),
        (lambda a: a | {"images": a["images"][:, :4]}, "4x4 with 3 channels, the network reads 5x4 with 3 channels"),
        (lambda a: a | {"images": a["images"][..., :1]}, "5x4 with 1 channel, the network reads"),
        (lambda a: a | {"images": a["images"].transpose(0, 3, 1, 2)}, r"transpose them to \[N, H, W, C\]"),
        (lambda a: {"images": a["images"][:0], "labels": a["labels"][:0]}, "holds no images"),
        (nan_images, "Image 4 of .* NaN"),
        (lambda a: a | {"images": np.array([None] * 6, dtype=object)}, "cannot be read as .npz: Object arrays"),
        (lambda a: a | {"class_names": np.array(["a", "b"])}, "label 2 but only 2 class names"),
        (lambda a: a | {"class_names": np.array(["a", "b", "c", "d"])}, "names 4 classes, but the network tells 3"),
    ],
)
def test_unfit_arrays_are_refused_with_the_reason(
    tmp_path: Path, spoil: Callable[[Arrays], Arrays], message: str
) -> None:
    path = save(tmp_path / "a.npz", spoil(some_arrays()))
    with pytest.raises(DataError, match=message):
        load_data(path, input_shape=SHAPE, num_classes=3)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "No data were named"),
        ("missing.npz", "'missing.npz' does not exist"),
        ("missing-*.npz", "No file matches 'missing-*.npz'".replace("*", r"\*")),
        ("missing", "'missing' does not exist; give a folder of class folders"),
        ("digits#validation", "split 'validation'; known are train and test"),
        ("a.npz#test", "has no splits"),
        ("torchvision:CIFAR10", "names no folder"),
        ("torchvision:CIFR10:.", "did you mean 'CIFAR10'"),
        ("torchvision:CIFAR10:.", "CIFAR10 .train. cannot be read .* Nothing is downloaded"),
        ("no.such.package:factory", "ModuleNotFoundError"),
    ],
)
def test_sources_that_are_not_there_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=message):
        load_data(spec)


def test_a_broken_archive_is_refused(tmp_path: Path) -> None:
    whole = Path(save(tmp_path / "a.npz", some_arrays()))
    broken = tmp_path / "broken.npz"
    broken.write_bytes(whole.read_bytes()[:200])
    with pytest.raises(DataError, match=r"cannot be read as \.npz"):
        load_data(str(broken))


def test_files_of_different_kinds_are_not_joined(tmp_path: Path) -> None:
    save(tmp_path / "a.npz", some_arrays())
    save(tmp_path / "b.npz", some_arrays() | {"images": np.zeros((6, 5, 5, 3), dtype=np.uint8)})
    with pytest.raises(DataError, match="give files of one kind"):
        load_data(f"{tmp_path}/*.npz")


def test_files_with_and_without_labels_are_not_joined(tmp_path: Path) -> None:
    save(tmp_path / "a.npz", some_arrays())
    save(tmp_path / "b.npz", {"images": some_arrays()["images"]})
    with pytest.raises(DataError, match=r"b\.npz has no labels, other files have"):
        load_data(f"{tmp_path}/*.npz")


def test_splits_of_the_digits_are_disjoint_complete_and_balanced() -> None:
    from sklearn.datasets import load_digits

    train, test = load_data("digits"), load_data("digits#test")
    assert len(train) + len(test) == len(load_digits().target)
    assert not {image.tobytes() for image in train.images} & {image.tobytes() for image in test.images}
    assert train.labels is not None
    assert test.labels is not None
    shares = np.bincount(test.labels) / (np.bincount(test.labels) + np.bincount(train.labels))
    assert np.all(np.abs(shares - 0.2) < 0.005)
    assert train.image_shape == (1, 8, 8)
    assert train.images.max() == 255


def test_a_factory_is_called_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_data_for_test.py").write_text(
        "import numpy as np\n"
        "def make():\n    return np.zeros((4, 2, 2, 1), np.uint8), [0, 1, 0, 1]\n"
        "def bare():\n    return np.zeros((4, 2, 2, 1), np.uint8)\n"
        "def fail():\n    return 1 / 0\n"
        "def forget():\n    pass\n"
    )
    monkeypatch.chdir(tmp_path)
    data = load_data("own_data_for_test:make")
    assert data.image_shape == (1, 2, 2)
    assert data.labels is not None
    assert data.labels.tolist() == [0, 1, 0, 1]
    assert not load_data("own_data_for_test:bare").is_labelled
    with pytest.raises(DataError, match="ZeroDivisionError"):
        load_data("own_data_for_test:fail")
    with pytest.raises(DataError, match="returned NoneType"):
        load_data("own_data_for_test:forget")
