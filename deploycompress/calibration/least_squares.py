"""Least squares with coefficients that cannot be negative: a layer never takes less time for being wider."""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]

MOST_FEATURES = 6


def nonnegative_least_squares(features: Matrix, targets: Matrix) -> Matrix:
    """Solve min |features c - targets| over c >= 0, exactly, by trying every set of features that are not zero.

    The optimum is the least-squares solution of some subset of the columns, so the best feasible one is it.

    Args:
        features: shape [S, F], F at most 6.
        targets: shape [S].

    Returns:
        Coefficients, shape [F].
    """
    count = features.shape[1]
    if count > MOST_FEATURES:
        raise ValueError(f"{count} features have too many subsets; this solver is for {MOST_FEATURES} at most.")
    best, least = np.zeros(count), float(targets @ targets)
    for size in range(count, 0, -1):
        for subset in map(list, combinations(range(count), size)):
            found = np.linalg.lstsq(features[:, subset], targets, rcond=None)[0]
            if (found < 0).any():
                continue
            residual = features[:, subset] @ found - targets
            error = float(residual @ residual)
            if error < least * (1 - 1e-9):
                best, least = np.zeros(count), error
                best[subset] = found
    return best
