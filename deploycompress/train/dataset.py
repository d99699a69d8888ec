"""Images in memory, with or without labels, kept as compact as they came; knows not where they came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deploycompress.errors import DataError

Images = NDArray[np.uint8] | NDArray[np.float32]
Answers = tuple[NDArray[np.generic], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Images, and the number of each one's class where somebody knows it; checked when it is made.

    Attributes:
        images: shape [N, H, W, C], uint8 or float32.
        labels: class numbers from zero, int64, shape [N]; none when nobody knows them.
        source: where the images came from, for messages and reports.
        class_names: name of each class in the order of the numbers; empty when unknown.
        answers: what the teacher says to each image, an array [N, ...] per output; none when it was not asked.
    """

    images: Images
    labels: NDArray[np.int64] | None
    source: str
    class_names: tuple[str, ...] = ()
    answers: Answers | None = None

    def __post_init__(self) -> None:
        _check_images(self.images, self.source)
        if self.labels is None:
            return
        _check_labels(self.labels, self.source)
        if len(self.images) != len(self.labels):
            raise DataError(
                f"{self.source} has {len(self.images)} images but {len(self.labels)} labels; give one label per image."
            )
        if self.class_names and int(self.labels.max()) >= len(self.class_names):
            raise DataError(
                f"{self.source} has the label {int(self.labels.max())} but only {len(self.class_names)} class names; "
                "give one name per class, or none."
            )

    def __len__(self) -> int:
        return len(self.images)

    @property
    def is_labelled(self) -> bool:
        """Whether the class of every image is known."""
        return self.labels is not None

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Shape of one image as networks read it: (C, H, W)."""
        _, height, width, channels = self.images.shape
        return channels, height, width

    @property
    def is_bytes(self) -> bool:
        """Whether pixels are bytes from 0 to 255 rather than numbers the owner already scaled."""
        return bool(self.images.dtype == np.uint8)

    def take(self, indices: NDArray[np.int64]) -> Dataset:
        """Copy some of the images, in the order of the indices."""
        return Dataset(
            images=self.images[indices],
            labels=None if self.labels is None else self.labels[indices],
            source=self.source,
            class_names=self.class_names,
            answers=None if self.answers is None else tuple(answer[indices] for answer in self.answers),
        )


def make_dataset(
    images: NDArray[np.generic], labels: NDArray[np.generic] | None, *, source: str, class_names: Sequence[str] = ()
) -> Dataset:
    """Bring arrays of any float and integer types into a dataset.

    Args:
        images: shape [N, H, W, C]; uint8, or floats, which become float32.
        labels: integers, shape [N]; none where nobody knows them.
        source: where they came from.
        class_names: one per class, or none.

    Raises:
        DataError: the arrays are no images with labels; the message names what is wrong.
    """
    if labels is not None and labels.dtype.kind not in "iu":
        raise DataError(f"The labels of {source} are {labels.dtype}; give class numbers as integers.")
    if images.dtype.kind == "f":
        images = images.astype(np.float32, copy=False)
    return Dataset(
        # torch shares this memory, and warns about memory it may not write to
        images=np.require(images, requirements=["C", "W"]),
        labels=None if labels is None else np.require(labels, dtype=np.int64, requirements=["C", "W"]),
        source=source,
        class_names=tuple(class_names),
    )


def concatenate(parts: Sequence[Dataset]) -> Dataset:
    """Join datasets of equal image shape, element type and class names, all with labels or all without.

    Raises:
        DataError: two parts do not belong together.
    """
    first, *others = parts
    if not others:
        return first
    for other in others:
        if other.image_shape != first.image_shape or other.images.dtype != first.images.dtype:
            raise DataError(
                f"{other.source} holds {other.images.dtype} images of shape {other.image_shape} (C, H, W), but "
                f"{first.source} holds {first.images.dtype} of {first.image_shape}; give files of one kind."
            )
        if other.class_names != first.class_names:
            raise DataError(
                f"{other.source} and {first.source} name their classes differently; give files of one data set."
            )
        if other.is_labelled != first.is_labelled:
            bare = first if other.is_labelled else other
            raise DataError(f"{bare.source} has no labels, other files have; give files of one kind.")
    images: Images = np.concatenate([part.images for part in parts])
    labels = [part.labels for part in parts if part.labels is not None]
    return Dataset(
        images=images,
        labels=np.concatenate(labels) if labels else None,
        source=", ".join(part.source for part in parts),
        class_names=first.class_names,
    )


def _check_images(images: Images, source: str) -> None:
    if images.ndim != 4:
        raise DataError(
            f"The images of {source} have shape {images.shape}; expected four axes [N, H, W, C] "
            "(images[..., None] adds the channel axis of grey images)."
        )
    if images.dtype not in (np.uint8, np.float32):
        raise DataError(f"The images of {source} are {images.dtype}; expected uint8 (0 to 255) or floats.")
    if images.size == 0:
        raise DataError(f"{source} holds no images (shape {images.shape}); give at least one.")
    if images.dtype == np.float32:
        _check_finite(images, source)


def _check_finite(images: Images, source: str) -> None:
    # one image at a time in memory would be slow, all at once would double it
    for start in range(0, len(images), 1024):
        finite = np.isfinite(images[start : start + 1024]).all(axis=(1, 2, 3))
        if not finite.all():
            raise DataError(
                f"Image {start + int(np.argmin(finite))} of {source} holds NaN or infinity; remove or repair it."
            )


def _check_labels(labels: NDArray[np.int64], source: str) -> None:
    if labels.ndim != 1:
        raise DataError(f"The labels of {source} have shape {labels.shape}; expected one class number per image, [N].")
    if labels.size == 0:
        raise DataError(f"{source} holds no labels; give at least one image per class.")
    if int(labels.min()) < 0:
        raise DataError(f"{source} has the label {int(labels.min())}; class numbers start at 0.")


def check_several_classes(data: Dataset) -> None:
    """Refuse labels that teach nothing.

    Raises:
        DataError: all images are of one class.
    """
    labels = data.labels
    if labels is not None and int(labels.min()) == int(labels.max()):
        raise DataError(
            f"All {len(labels)} images of {data.source} are of class {int(labels[0])}; give images of two classes or "
            "more, or leave out the labels, so that students are judged by how well they agree with the teacher."
        )
