"""Non-negative least squares against the conditions that its optimum must meet."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploycompress.calibration.least_squares import nonnegative_least_squares


@given(seed=st.integers(0, 10_000), features=st.integers(1, 5), rows=st.integers(1, 30))
@settings(max_examples=150, deadline=None)
def test_the_solution_meets_the_optimality_conditions(seed: int, features: int, rows: int) -> None:
    """Karush-Kuhn-Tucker: no coefficient below 0, no gradient below 0, and where one is positive the other is 0."""
    rng = np.random.default_rng(seed)
    matrix, targets = rng.standard_normal((rows, features)), rng.standard_normal(rows)
    found = nonnegative_least_squares(matrix, targets)
    gradient = matrix.T @ (matrix @ found - targets)
    assert (found >= 0).all()
    assert (gradient > -1e-7).all()
    assert np.abs(found * gradient).max() < 1e-7


def test_features_that_never_vary_share_what_they_cost() -> None:
    found = nonnegative_least_squares(np.ones((5, 4)), np.full(5, 8.0))
    assert found.sum() == pytest.approx(8.0)
    assert (found >= 0).all()


def test_too_many_features_are_refused() -> None:
    with pytest.raises(ValueError, match="subsets"):
        nonnegative_least_squares(np.ones((3, 9)), np.ones(3))
