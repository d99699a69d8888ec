"""Reads a folder with one picture per file, in class folders where the classes are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deploycompress.errors import DataError
from deploycompress.train.dataset import Dataset, make_dataset
from deploycompress.train.picture import picture_to_array

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp"})
_SPLIT_NAMES = frozenset({"train", "test", "val", "valid", "validation"})


def read_folder(place: str, *, split: str = "", shape: tuple[int, int, int] | None = None) -> Dataset:
    """Read pictures whose class is the name of their folder; classes are numbered in the order of the names.

    Pictures that lie in no class folders have no class.

    Args:
        place: the folder.
        split: name of a subfolder that holds the class folders or pictures, or empty.
        shape: (C, H, W) to bring every picture to; without it all must be of one size, and are read as colour.

    Raises:
        DataError: a folder is missing or empty, or a picture cannot be read.
    """
    folder = Path(place, split)
    classes = _class_folders(folder)
    found = [_pictures(folder / name) for name in classes] or [_pictures(folder)]
    files = [file for pictures in found for file in pictures]
    first = _read_picture(files[0], shape)
    images = np.empty((len(files), *first.shape), dtype=np.uint8)
    for index, file in enumerate(files):
        image = _read_picture(file, shape)
        if image.shape != first.shape:
            raise DataError(
                f"{file} is {image.shape[0]}x{image.shape[1]}, but {files[0]} is {first.shape[0]}x{first.shape[1]}; "
                "give the network's input shape, or pictures of one size."
            )
        images[index] = image
    labels = np.repeat(np.arange(len(found)), [len(pictures) for pictures in found]) if classes else None
    return make_dataset(images, labels, source=str(folder), class_names=classes)


def _class_folders(folder: Path) -> list[str]:
    if not folder.is_dir():
        raise DataError(f"The data folder '{folder}' does not exist; check the path.")
    names = sorted(child.name for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))
    if names and _SPLIT_NAMES.issuperset(names):
        raise DataError(f"'{folder}' holds splits ({', '.join(names)}), not classes; write '{folder}#train'.")
    return names


def _pictures(folder: Path) -> list[Path]:
    found = sorted(file for file in folder.rglob("*") if file.suffix.lower() in EXTENSIONS)
    if not found:
        raise DataError(
            f"The folder '{folder}' holds no pictures ({', '.join(sorted(EXTENSIONS))}); add some or remove it."
        )
    return found


def _read_picture(file: Path, shape: tuple[int, int, int] | None) -> NDArray[np.uint8]:
    try:
        with Image.open(file) as picture:
            return picture_to_array(picture, shape)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"The picture '{file}' cannot be read: {error}; repair or remove it.") from error
