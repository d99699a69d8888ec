"""Refusals: what is no number, or not there, never becomes a score."""

from __future__ import annotations

from torch import Tensor

from deploycompress.errors import DataError, ModelError


def check_finite(what: str, value: Tensor) -> None:
    """Refuse weights, values or a loss that hold NaN or infinity.

    Raises:
        ModelError: naming it.
    """
    if not value.isfinite().all():
        raise ModelError(
            f"{what} holds NaN or infinity, so channels cannot be scored; "
            "the model file is damaged, or training has diverged."
        )


def check_images(images: Tensor) -> None:
    """Refuse a batch in which an image holds NaN or infinity.

    Raises:
        DataError: saying which.
    """
    is_sound = images.isfinite().flatten(1).all(dim=1).tolist()
    if not all(is_sound):
        raise DataError(
            f"Calibration image {is_sound.index(False)} of a batch of {len(images)} holds NaN or infinity after "
            "normalisation; remove or repair it."
        )


def check_count(batches: int) -> None:
    """Refuse to score on nothing.

    Raises:
        DataError: there was no batch.
    """
    if batches == 0:
        raise DataError("There are no calibration images to score channels on; give at least one.")
