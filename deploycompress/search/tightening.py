"""Brings a candidate to the limit: what is over it gives in a given order, and what fits back returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from deploycompress.constraint import Constraint
from deploycompress.search.costs import NO_CORRECTION, Correction, fits
from deploycompress.search.moves import Move, applied, moves, undone
from deploycompress.search.space import Candidate, Space

Choose = Callable[[Sequence[Move]], Move]


def tightened(
    space: Space,
    candidate: Candidate,
    rows: Sequence[Constraint],
    choose: Choose,
    correction: Correction = NO_CORRECTION,
) -> Candidate:
    """Take steps until a candidate is foreseen to meet every row, or nothing is left to take.

    Args:
        space: what may go.
        candidate: where to start.
        rows: limits; those that the table does not foresee are left to the measurement.
        choose: picks the next of the possible steps.
        correction: of the forecast.
    """
    while not fits(space, candidate, rows, correction) and (possible := moves(space, candidate)):
        candidate = applied(space, candidate, choose(possible))
    return candidate


def loosened(
    space: Space,
    candidate: Candidate,
    rows: Sequence[Constraint],
    worth: Callable[[Candidate], float],
    correction: Correction = NO_CORRECTION,
) -> Candidate:
    """Take steps back while the candidate is still foreseen to meet every row, the worthiest first.

    Args:
        space: what may return.
        candidate: where to start; returned as it is when it does not fit itself.
        rows: limits.
        worth: says how good a candidate is; of those a step back leads to, the best is taken.
        correction: of the forecast.
    """
    while larger := [one for one in undone(space, candidate) if fits(space, one, rows, correction)]:
        candidate = max(larger, key=worth)
    return candidate
