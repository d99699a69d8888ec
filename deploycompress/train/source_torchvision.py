"""Reads torchvision's classification data sets from files that are already there; downloads nothing."""

from __future__ import annotations

import difflib
import inspect
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from deploycompress.errors import DataError
from deploycompress.train.dataset import Dataset, make_dataset
from deploycompress.train.picture import picture_to_array

PREFIX = "torchvision:"


def read_torchvision(place: str, *, split: str = "", shape: tuple[int, int, int] | None = None) -> Dataset:
    """Read `torchvision:NAME:ROOT`, such as `torchvision:CIFAR10:data`.

    Args:
        place: the text above.
        split: `train` or `test`; empty gives the training split.
        shape: (C, H, W) to bring every picture to; without it all must be of one size.

    Raises:
        DataError: there is no such data set, its files are absent, or it is no classification data set.
    """
    name, _, root = place.removeprefix(PREFIX).partition(":")
    if not root:
        raise DataError(
            f"{place!r} names no folder; write 'torchvision:NAME:ROOT', such as 'torchvision:CIFAR10:data'."
        )
    items = _open(name, root, split or "train")
    source = f"{place}#{split or 'train'}"
    images: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    for index in range(len(items)):
        picture, label = items[index]
        if not isinstance(picture, Image.Image) or not isinstance(label, int | np.integer):
            raise DataError(f"torchvision's {name} is no data set of pictures with one class each; give one that is.")
        image = picture_to_array(picture, shape or (_channels(picture), picture.height, picture.width))
        if images and image.shape != images[0].shape:
            raise DataError(f"The pictures of {source} differ in size; give the network's input shape.")
        images.append(image)
        labels.append(int(label))
    if not images:
        raise DataError(f"{source} holds no images; check the folder {root!r}.")
    names = getattr(items, "classes", None)
    return make_dataset(
        np.stack(images),
        np.array(labels, dtype=np.int64),
        source=source,
        class_names=[str(entry) for entry in names] if isinstance(names, list | tuple) else (),
    )


def _open(name: str, root: str, split: str) -> Any:  # Any: torchvision ships no types for its data sets
    from torchvision import datasets  # slow to import, and only this source needs it

    known = [entry for entry in datasets.__all__ if "root" in _parameters(getattr(datasets, entry))]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "see torchvision.datasets for the names."
        raise DataError(f"torchvision has no data set {name!r} that can be used here; {hint}")
    factory = getattr(datasets, name)
    options: dict[str, Any] = {"root": root}  # Any: keyword arguments of several types
    if "train" in _parameters(factory):
        options["train"] = split == "train"
    elif "split" in _parameters(factory):
        options["split"] = split
    if "download" in _parameters(factory):
        options["download"] = False
    try:
        return factory(**options)
    except (RuntimeError, OSError, ValueError, TypeError) as error:
        raise DataError(
            f"torchvision's {name} ({split}) cannot be read from {root!r}: {error} "
            "Nothing is downloaded here; put the files there first."
        ) from error


def _parameters(factory: object) -> frozenset[str]:
    return frozenset(inspect.signature(factory).parameters) if callable(factory) else frozenset()


def _channels(picture: Image.Image) -> int:
    return 1 if picture.mode in {"L", "1", "I", "F"} else 3
