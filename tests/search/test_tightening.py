"""To the limit and not beyond: what is tightened fits, and what is loosened has no room left."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from deploycompress.constraint import parse_constraint
from deploycompress.search.costs import fits
from deploycompress.search.moves import Move, moves, smallest, undone
from deploycompress.search.space import Candidate
from deploycompress.search.tightening import loosened, tightened
from tests.search.toy import accuracy_of, make_space

SPACE = make_space()


def drawing(seed: int) -> Callable[[Sequence[Move]], Move]:
    rng = np.random.default_rng(seed)
    return lambda possible: possible[int(rng.integers(len(possible)))]


@given(st.integers(0, 2**31), st.floats(0.2, 1.0), st.floats(0.6, 1.4))
def test_the_result_fits_and_cannot_grow(seed: int, limit: float, factor: float) -> None:
    rows = [parse_constraint(f"latency_ratio <= {limit}")]
    correction = {"latency_ratio": factor}
    small = tightened(SPACE, Candidate(), rows, drawing(seed), correction)
    if not fits(SPACE, small, rows, correction):
        assert moves(SPACE, small) == ()
        return
    full = loosened(SPACE, small, rows, accuracy_of, correction)
    assert fits(SPACE, full, rows, correction)
    assert not any(fits(SPACE, larger, rows, correction) for larger in undone(SPACE, full))


def test_what_fits_is_not_tightened() -> None:
    rows = [parse_constraint("latency_ratio <= 0.9")]
    candidate = SPACE.candidate(remove=["b2"])
    assert tightened(SPACE, candidate, rows, drawing(0)) == candidate


def test_what_does_not_fit_is_not_loosened() -> None:
    rows = [parse_constraint("latency_ratio <= 0.05")]
    assert loosened(SPACE, smallest(SPACE), rows, accuracy_of) == smallest(SPACE)


def test_a_limit_out_of_reach_leaves_the_smallest() -> None:
    assert moves(SPACE, tightened(SPACE, Candidate(), [parse_constraint("latency_ratio <= 0.01")], drawing(1))) == ()


def test_what_returns_is_the_worthiest() -> None:
    rows = [parse_constraint("latency_ratio <= 0.75")]
    candidate = SPACE.candidate(remove=["b0", "b4"])
    steps = [one for one in undone(SPACE, candidate) if fits(SPACE, one, rows)]
    assert steps == []
    loose = [parse_constraint("latency_ratio <= 0.87")]
    assert loosened(SPACE, candidate, loose, accuracy_of) == SPACE.candidate(remove=["b4"])


def test_without_rows_everything_returns() -> None:
    assert loosened(SPACE, SPACE.candidate(remove=["b0"], widths={"g3": 16}), [], accuracy_of).is_empty
