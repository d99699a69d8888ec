"""Compares what two runs of a detection network found: sets of rows, whose order and number hang on ties.

Scores that differ in their last digit change places, and pass or miss a threshold. So rows are matched before they are
compared, and a few may be missing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deploycompress.graph import Array

WIDEST_KEY = 16  # elements of a row by which it is matched; boxes, scores and labels are, masks are not
CHUNK = 256  # rows matched at a time; detections are a few hundred


def missing_share(expected: Sequence[Array], found: Sequence[Array], tolerance: float) -> float:
    """Give the share of findings that have no equal among the others, in the direction in which it is larger.

    Args:
        expected: outputs of the source, one row per finding each, shape [K, ...].
        found: outputs of the graph, shape [L, ...].
        tolerance: difference at which rows are equal, relative to the largest value of their output.
    """
    scales = [max(float(np.max(np.abs(array), initial=0.0)), 1e-12) for array in expected]
    return max(_unmatched(expected, found, scales, tolerance), _unmatched(found, expected, scales, tolerance))


def _unmatched(rows: Sequence[Array], others: Sequence[Array], scales: Sequence[float], tolerance: float) -> float:
    count = rows[0].shape[0]
    if count == 0:
        return 0.0
    if others[0].shape[0] == 0:
        return 1.0
    partner = _nearest(_key(rows, scales), _key(others, scales))
    worst = np.zeros(count)
    for right, result, scale in zip(rows, others, scales, strict=True):
        distance = np.abs(right.astype(np.float64) - result[partner].astype(np.float64)).reshape(count, -1)
        worst = np.maximum(worst, distance.max(axis=1, initial=0.0) / scale)
    return float(np.mean(worst > tolerance))


def _key(arrays: Sequence[Array], scales: Sequence[float]) -> Array:
    count = arrays[0].shape[0]
    rows = [array.reshape(count, -1).astype(np.float64) / s for array, s in zip(arrays, scales, strict=True)]
    narrow = [row for row in rows if row.shape[1] <= WIDEST_KEY]
    return np.concatenate(narrow or [row[:, :WIDEST_KEY] for row in rows], axis=1)


def _nearest(rows: Array, candidates: Array) -> Array:
    parts = [
        np.abs(rows[start : start + CHUNK, None] - candidates[None]).max(axis=2).argmin(axis=1)
        for start in range(0, len(rows), CHUNK)
    ]
    return np.concatenate(parts)
