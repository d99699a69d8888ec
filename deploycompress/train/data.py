"""From `--data SPEC` to a dataset that fits the network: which source reads what, and the last checks."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deploycompress.errors import DataError
from deploycompress.train.dataset import Dataset, check_several_classes, concatenate
from deploycompress.train.source_digits import read_digits
from deploycompress.train.source_factory import FACTORY, read_factory
from deploycompress.train.source_folder import read_folder
from deploycompress.train.source_npz import expand_npz, read_npz
from deploycompress.train.source_torchvision import PREFIX as TORCHVISION_PREFIX
from deploycompress.train.source_torchvision import read_torchvision

ImageShape = tuple[int, int, int]

SPLITS = ("train", "test")
FORMS = (
    "a folder of class folders or of pictures, .npz files, 'torchvision:NAME:ROOT', 'digits', or "
    "'package.module:factory', where the source has them with '#train' or '#test'"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    place: str
    split: str
    shape: ImageShape | None


_READERS: Mapping[str, Callable[[_Request], Dataset]] = {
    "digits": lambda request: read_digits(split=request.split),
    "torchvision": lambda request: read_torchvision(request.place, split=request.split, shape=request.shape),
    "folder": lambda request: read_folder(request.place, split=request.split, shape=request.shape),
    "npz": lambda request: concatenate([read_npz(path) for path in expand_npz(request.place)]),
    "factory": lambda request: read_factory(request.place),
}
_WITH_SPLITS = frozenset({"digits", "torchvision", "folder"})


def load_data(
    spec: str | Sequence[str],
    *,
    input_shape: ImageShape | None = None,
    num_classes: int | None = None,
    default_split: str = "",
) -> Dataset:
    """Read images, with labels where the source has them, and check that they fit the network.

    Arrays (`.npz`, `digits`, factories) must have the network's size; pictures (folders, torchvision) are
    cropped at the centre to its aspect ratio and resized. A source that has splits gives its training
    split when none is asked for, so that the test split never enters by omission.

    Args:
        spec: one source or several, each as the command line takes it; a text may hold several, separated by
            commas or spaces.
        input_shape: (C, H, W) the network reads; `None` leaves it open.
        num_classes: how many classes the network tells apart; `None` leaves it open.
        default_split: split of a source that has some, where the spec names none; empty for the training split.

    Raises:
        DataError: nothing is found there, it cannot be read, or it does not fit the network.
    """
    places = _split_spec(spec)
    if not places:
        raise DataError(f"No data were named; give {FORMS}.")
    data = concatenate([_read(place, input_shape, default_split) for place in places])
    check_fits(data, input_shape=input_shape, num_classes=num_classes)
    return data


def check_fits(data: Dataset, *, input_shape: ImageShape | None, num_classes: int | None) -> None:
    """Check a dataset against the network that shall read it.

    Raises:
        DataError: image size, channels or classes differ from the network's, or there is one class only.
    """
    check_several_classes(data)
    if input_shape is not None and data.image_shape != input_shape:
        raise DataError(
            f"The images of {data.source} are {_size(data.image_shape)}, the network reads {_size(input_shape)}"
            f"{_layout_hint(data.image_shape, input_shape)}; give images of that size."
        )
    if num_classes is None or data.labels is None:
        return
    highest = int(data.labels.max())
    if highest >= num_classes:
        raise DataError(
            f"{data.source} has the label {highest}, but the network tells {num_classes} classes apart "
            f"(labels 0 to {num_classes - 1}); give the data it was trained for."
        )
    if data.class_names and len(data.class_names) != num_classes:
        raise DataError(
            f"{data.source} names {len(data.class_names)} classes, but the network tells {num_classes} apart; "
            "give one folder or name per class of the network."
        )


def is_there(place: str) -> bool:
    """Say whether a text names a file or folder; one too long for a name does not."""
    return os.path.exists(place)  # noqa: PTH110  Path.exists fails where a name is too long


def _split_spec(spec: str | Sequence[str]) -> list[str]:
    texts = [spec] if isinstance(spec, str) else list(spec)
    places: list[str] = []
    for text in texts:
        whole = is_there(text.partition("#")[0]) or is_there(text)
        places += [text] if whole and text else re.split(r"[,\s]+", text)
    return list(dict.fromkeys(place for place in places if place))


def _read(text: str, input_shape: ImageShape | None, default_split: str) -> Dataset:
    place, split = _take_split(text)
    kind = _kind(place)
    if split and kind not in _WITH_SPLITS:
        raise DataError(f"{place!r} has no splits; leave out '#{split}'.")
    wanted = split or (default_split if kind in ("digits", "torchvision") else "")
    return _READERS[kind](_Request(place=place, split=wanted, shape=input_shape))


def _take_split(text: str) -> tuple[str, str]:
    if "#" not in text or is_there(text):
        return text, ""
    place, _, split = text.rpartition("#")
    if split not in SPLITS:
        raise DataError(f"{text!r} asks for the split {split!r}; known are {' and '.join(SPLITS)}.")
    return place, split


def _kind(place: str) -> str:
    if place == "digits":
        return "digits"
    if place.startswith(TORCHVISION_PREFIX):
        return "torchvision"
    if Path(place).is_dir():
        return "folder"
    if place.endswith(".npz"):
        return "npz"
    if FACTORY.fullmatch(place):
        return "factory"
    found = "is a file of another kind" if is_there(place) else "does not exist"
    raise DataError(f"{place!r} {found}; give {FORMS}.")


def _size(shape: ImageShape) -> str:
    channels, height, width = shape
    return f"{height}x{width} with {channels} channel{'s' if channels > 1 else ''}"


def _layout_hint(found: ImageShape, expected: ImageShape) -> str:
    as_channels_first = (found[1], found[2], found[0])
    return " (they look like [N, C, H, W]; transpose them to [N, H, W, C])" if as_channels_first == expected else ""
