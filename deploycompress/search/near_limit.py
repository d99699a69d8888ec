"""Random candidates that use what the limits allow: as much goes as must, and what fits returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from deploycompress.constraint import Constraint
from deploycompress.search.costs import Correction, fits
from deploycompress.search.journal import Journal
from deploycompress.search.moves import Move, applied, moves, smallest
from deploycompress.search.space import Candidate, Space
from deploycompress.search.tightening import loosened, tightened

RETRIES = 20
"""Draws before a candidate that was proposed before is proposed again."""


def is_guided(space: Space, rows: Sequence[Constraint], correction: Correction) -> bool:
    """Say whether the table foresees that the teacher breaks a row and that the smallest candidate meets them all."""
    reaches = fits(space, smallest(space), rows, correction)
    return reaches and not fits(space, space.candidate(), rows, correction)


def drawn(journal: Journal, rng: np.random.Generator) -> Candidate:
    """Draw a candidate: random steps from the teacher to the limit, any number of them where nothing foresees it."""
    space = journal.space
    if is_guided(space, journal.rows, journal.correction):
        return brought(journal, space.candidate(), rng)
    return _walked(space, rng)


def brought(journal: Journal, candidate: Candidate, rng: np.random.Generator) -> Candidate:
    """Bring a candidate to the limit by random steps; it stays as it is where nothing foresees the limit."""
    space, rows, correction = journal.space, journal.rows, journal.correction
    if not is_guided(space, rows, correction):
        return candidate

    def choose(possible: Sequence[Move]) -> Move:
        return possible[int(rng.integers(len(possible)))]

    small = tightened(space, candidate, rows, choose, correction)
    return loosened(space, small, rows, lambda _: float(rng.random()), correction)


def drawn_anew(journal: Journal, draw: Callable[[np.random.Generator], Candidate]) -> Candidate:
    """Draw until a candidate is new; then anywhere at the limit, then anywhere, and in the end take what comes.

    Args:
        journal: says what is not new.
        draw: the way of drawing.
    """
    rng = journal.rng()
    candidate = draw(rng)
    for way in (draw, partial(drawn, journal), partial(_walked, journal.space)):
        for _ in range(RETRIES):
            if not journal.has_seen(candidate):
                return candidate
            candidate = way(rng)
    return candidate


def _walked(space: Space, rng: np.random.Generator) -> Candidate:
    levels = len(space.removals)
    levels += sum(len(dimension.widths) - 1 for dimension in space.free)
    levels += sum(len(kernel.sizes) - 1 for kernel in space.kernels)
    candidate = space.candidate()
    for _ in range(rng.integers(1, levels + 1)):
        possible = moves(space, candidate)
        if not possible:
            break
        candidate = applied(space, candidate, possible[rng.integers(len(possible))])
    return candidate
