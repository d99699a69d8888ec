"""Neighbours of a good candidate: one thing returns, others go for it, and what then fits returns too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from deploycompress.search.baselines.sensitivity import Sensitivities, cheapest, expected_loss, keyed, squares
from deploycompress.search.costs import fits
from deploycompress.search.journal import Journal
from deploycompress.search.moves import Move, applied, moves, undone
from deploycompress.search.near_limit import drawn_anew, is_guided
from deploycompress.search.space import Candidate
from deploycompress.search.tightening import loosened

MOST_KICKS = 3


def exchanged(journal: Journal, best: Candidate, sensitivities: Sensitivities) -> Candidate:
    """Give the new neighbour that is expected to lose the least; when there is none, one a few random steps away.

    Args:
        journal: the task, the costs, and what is not new.
        best: whose neighbours.
        sensitivities: what is known of the losses.
    """
    task = _Task(journal=journal, sensitivities=sensitivities)
    neighbours = dict.fromkeys(task.neighbours(best))
    fitting = sorted((one for one in neighbours if task.is_allowed(one)), key=task.loss)
    for neighbour in fitting:
        full = task.filled(neighbour)
        if not journal.has_seen(full):
            return full
        if not journal.has_seen(neighbour):
            return neighbour
    return drawn_anew(journal, lambda rng: task.kicked(best, rng))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Task:
    journal: Journal
    sensitivities: Sensitivities

    def loss(self, candidate: Candidate) -> float:
        return expected_loss(self.journal.space, candidate, self.sensitivities)

    def is_allowed(self, candidate: Candidate) -> bool:
        journal = self.journal
        return not candidate.is_empty and fits(journal.space, candidate, journal.rows, journal.correction)

    def neighbours(self, candidate: Candidate) -> Iterator[Candidate]:
        space = self.journal.space
        returned = undone(space, candidate)
        yield from returned
        for back in returned:
            yield from (applied(space, back, move) for move in moves(space, back))
            yield self.tightened(back, except_for=_difference(self.journal, candidate, back))
        yield from (applied(space, candidate, move) for move in moves(space, candidate))

    def tightened(self, candidate: Candidate, except_for: str = "") -> Candidate:
        journal = self.journal
        while not fits(journal.space, candidate, journal.rows, journal.correction):
            possible = [one for one in moves(journal.space, candidate) if keyed(one.kind, one.name) != except_for]
            if not possible:
                break
            candidate = applied(journal.space, candidate, self.cheapest(candidate, possible))
        return candidate

    def cheapest(self, candidate: Candidate, possible: Sequence[Move]) -> Move:
        journal = self.journal
        return cheapest(journal.space, candidate, journal.rows, self.sensitivities, journal.correction, possible)

    def filled(self, candidate: Candidate) -> Candidate:
        journal = self.journal
        if not is_guided(journal.space, journal.rows, journal.correction):
            return candidate
        return loosened(journal.space, candidate, journal.rows, lambda one: -self.loss(one), journal.correction)

    def kicked(self, candidate: Candidate, rng: np.random.Generator) -> Candidate:
        space = self.journal.space
        for _ in range(rng.integers(1, MOST_KICKS + 1)):
            around = [*undone(space, candidate), *(applied(space, candidate, move) for move in moves(space, candidate))]
            candidate = around[rng.integers(len(around))] if around else candidate
        if not is_guided(space, self.journal.rows, self.journal.correction):
            return candidate
        return self.filled(self.tightened(candidate))


def _difference(journal: Journal, before: Candidate, after: Candidate) -> str:
    """Name what a step back changed."""
    old, new = squares(journal.space, before), squares(journal.space, after)
    return next(key for key, square in old.items() if new.get(key) != square)
