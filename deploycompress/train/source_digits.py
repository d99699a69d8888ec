"""Reads the handwritten digits that ship with scikit-learn: 1,797 grey images of 8x8, no download."""

from __future__ import annotations

import numpy as np

from deploycompress.errors import DataError
from deploycompress.train.dataset import Dataset, make_dataset

_EVERY = 5  # one image in five is for testing
_BRIGHTEST = 16


def read_digits(*, split: str = "") -> Dataset:
    """Read one of two fixed, disjoint splits; both hold every class in the same proportion.

    Args:
        split: `train` or `test`; empty gives the training split.

    Returns:
        Images of shape [N, 8, 8, 1], uint8 scaled to 0..255.

    Raises:
        DataError: scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise DataError("The data 'digits' need scikit-learn; run: pip install 'deploycompress[demo]'.") from error
    bunch = load_digits()
    labels = bunch.target.astype(np.int64)
    is_test = _rank_in_class(labels) % _EVERY == _EVERY - 1
    chosen = is_test if split == "test" else ~is_test
    images = np.rint(bunch.images * (255 / _BRIGHTEST)).astype(np.uint8)[..., None]
    return make_dataset(
        images[chosen],
        labels[chosen],
        source=f"digits#{split or 'train'}",
        class_names=[str(name) for name in bunch.target_names],
    )


def _rank_in_class(
    labels: np.ndarray[tuple[int, ...], np.dtype[np.int64]],
) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    # the images come in the order 0, 1, ..., 9, 0, 1, ...: every fifth of all would be two classes only
    ranks = np.empty_like(labels)
    for label in np.unique(labels):
        positions = np.flatnonzero(labels == label)
        ranks[positions] = np.arange(len(positions))
    return ranks
