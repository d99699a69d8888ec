"""Takes a validation part out of the training data, the same share of every class where classes are known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deploycompress.errors import DataError
from deploycompress.train.dataset import Dataset


def split_validation(
    data: Dataset, *, generator: np.random.Generator, fraction: float = 0.1, at_most: int = 5000
) -> tuple[Dataset, Dataset]:
    """Split a dataset in two disjoint parts that together are the whole.

    Args:
        data: training data.
        generator: decides which images go where.
        fraction: share of each class, or of all images without labels or with more classes than `at_most`, that becomes
            validation data, in (0, 1); at least one image of each class, or of all, stays on either side.
        at_most: upper limit of the validation part, in images (lowers the share).

    Returns:
        Training part and validation part, each in the order of the original.

    Raises:
        DataError: a class has one image only, or there is one in all, so it cannot be on both sides.
    """
    if not 0 < fraction < 1 or at_most < 1:
        raise DataError(f"A validation share of {fraction} with at most {at_most} images; expected a share in (0, 1).")
    share = min(fraction, at_most / len(data))
    is_validation = np.zeros(len(data), dtype=bool)
    for name, members in _strata(data, most=at_most):
        if len(members) < 2:
            raise DataError(f"{name} has one image; at least two are needed, one to train and one to check.")
        count = min(max(1, int(share * len(members) + 0.5)), len(members) - 1)
        is_validation[generator.choice(members, size=count, replace=False)] = True
    return data.take(np.flatnonzero(~is_validation)), data.take(np.flatnonzero(is_validation))


def _strata(data: Dataset, *, most: int) -> list[tuple[str, NDArray[np.int64]]]:
    if data.labels is None or len(np.unique(data.labels)) > most:
        return [(data.source, np.arange(len(data)))]
    return [
        (f"Class {label} of {data.source}", np.flatnonzero(data.labels == label)) for label in np.unique(data.labels)
    ]
