from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from deploycompress.errors import DataError
from deploycompress.train.data import load_data


def save_picture(path: Path, pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def plain(
    color: tuple[int, int, int], height: int = 8, width: int = 8
) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.full((height, width, 3), color, dtype=np.uint8)


def test_folders_give_classes_in_the_order_of_their_names(tmp_path: Path) -> None:
    save_picture(tmp_path / "dog" / "a.png", plain((200, 0, 0)))
    save_picture(tmp_path / "cat" / "b.png", plain((0, 100, 0)))
    save_picture(tmp_path / "cat" / "deep" / "c.png", plain((0, 0, 50)))
    (tmp_path / "cat" / "notes.txt").write_text("no picture")
    data = load_data(str(tmp_path), input_shape=(3, 8, 8), num_classes=2)
    assert data.class_names == ("cat", "dog")
    assert data.labels is not None
    assert data.labels.tolist() == [0, 0, 1]
    assert data.images[:, 0, 0].tolist() == [[0, 100, 0], [0, 0, 50], [200, 0, 0]]


def test_pictures_in_no_class_folders_have_no_labels(tmp_path: Path) -> None:
    for name, color in (("b", 2), ("a", 1)):
        save_picture(tmp_path / f"{name}.png", plain((color, 0, 0)))
    data = load_data(str(tmp_path), input_shape=(3, 8, 8), num_classes=2)
    assert not data.is_labelled
    assert data.class_names == ()
    assert data.images[:, 0, 0, 0].tolist() == [1, 2]


def test_pictures_are_cropped_at_the_centre_and_resized(tmp_path: Path) -> None:
    wide = plain((10, 10, 10), 8, 24)
    wide[:, 8:16] = 250
    save_picture(tmp_path / "a" / "wide.png", wide)
    save_picture(tmp_path / "b" / "small.png", plain((7, 7, 7), 3, 3))
    data = load_data(str(tmp_path), input_shape=(1, 4, 4))
    assert data.image_shape == (1, 4, 4)
    assert np.all(data.images[0][:, 1:3] == 250)
    assert np.all(data.images[0] > 130)  # the filter reaches a little beyond the crop
    assert np.all(data.images[1] == 7)


def test_without_a_size_pictures_must_agree(tmp_path: Path) -> None:
    save_picture(tmp_path / "a" / "a.png", plain((1, 1, 1)))
    save_picture(tmp_path / "b" / "b.png", plain((1, 1, 1), 9, 8))
    with pytest.raises(DataError, match=r"b\.png is 9x8, but .*a\.png is 8x8"):
        load_data(str(tmp_path))


def test_splits_of_a_folder_are_asked_for_by_name(tmp_path: Path) -> None:
    for split, color in (("train", 1), ("test", 2)):
        for name in ("a", "b"):
            save_picture(tmp_path / split / name / "x.png", plain((color, 0, 0)))
    assert load_data(f"{tmp_path}#test").images[0, 0, 0, 0] == 2
    with pytest.raises(DataError, match=r"holds splits \(test, train\), not classes; write .*#train"):
        load_data(str(tmp_path))


def test_a_damaged_picture_is_named(tmp_path: Path) -> None:
    save_picture(tmp_path / "a" / "a.png", plain((1, 1, 1), 64, 64))
    save_picture(tmp_path / "b" / "b.png", plain((1, 1, 1), 64, 64))
    damaged = tmp_path / "b" / "b.png"
    damaged.write_bytes(damaged.read_bytes()[:60])
    with pytest.raises(DataError, match=r"b\.png' cannot be read"):
        load_data(str(tmp_path))


def test_empty_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no pictures"):
        load_data(str(tmp_path))
    (tmp_path / "a").mkdir()
    with pytest.raises(DataError, match="holds no pictures"):
        load_data(str(tmp_path))


def write_mnist(folder: Path, prefix: str, images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    count = len(images)
    header = struct.pack(">IIII", 2051, count, *images.shape[1:])
    (folder / f"{prefix}-images-idx3-ubyte").write_bytes(header + images.tobytes())
    labels = (np.arange(count) % 10).astype(np.uint8)
    (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, count) + labels.tobytes())


def test_torchvision_reads_files_that_are_there(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    raw = tmp_path / "MNIST" / "raw"
    train, test = (rng.integers(0, 256, (count, 28, 28), dtype=np.uint8) for count in (20, 10))
    write_mnist(raw, "train", train)
    write_mnist(raw, "t10k", test)
    spec = f"torchvision:MNIST:{tmp_path}"
    np.testing.assert_array_equal(load_data(spec, input_shape=(1, 28, 28), num_classes=10).images[..., 0], train)
    np.testing.assert_array_equal(load_data(f"{spec}#test").images[..., 0], test)
    assert load_data(spec, input_shape=(3, 14, 14)).image_shape == (3, 14, 14)
