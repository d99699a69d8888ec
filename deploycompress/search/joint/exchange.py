"""Brings a rollout to what the sensitivities it believes in call best: some things return and others go for them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from deploycompress.search.joint.choices import Vector
from deploycompress.search.joint.policy import Task
from deploycompress.search.moves import applied, moves, undone
from deploycompress.search.space import Candidate
from deploycompress.search.tightening import loosened


def exchanged(task: Task, candidate: Candidate, losses: Vector, rounds: int) -> Candidate:
    """Fill the limit, and exchange while that is believed to be better.

    Args:
        task: the limit.
        candidate: where to start; it meets the limit, or nothing does.
        losses: believed of every choice when all of it goes, above zero, shape [P].
        rounds: most exchanges.
    """

    def worth(one: Candidate) -> float:
        return -float(losses @ task.choices.gone(one))

    def filled(one: Candidate) -> Candidate:
        space = task.choices.space
        while not task.fits(one) and (possible := moves(space, one)):
            one = min(
                (applied(space, one, move) for move in possible), key=lambda after: _price(task, worth, one, after)
            )
        return loosened(space, one, task.rows, worth, task.correction)

    def neighbours(one: Candidate) -> Iterator[Candidate]:
        space = task.choices.space
        yield from (filled(back) for back in undone(space, one))
        yield from (filled(applied(space, one, move)) for move in moves(space, one))

    best = filled(candidate)
    for _ in range(rounds):
        found = max(neighbours(best), key=worth, default=best)
        if not worth(found) > worth(best) + 1e-12:
            break
        best = found
    return best


def _price(task: Task, worth: Callable[[Candidate], float], before: Candidate, after: Candidate) -> float:
    """Give what a step is believed to lose for what it saves of the excess; steps that save nothing come last."""
    saved = task.excess(before) - task.excess(after)
    return (worth(before) - worth(after)) / saved if saved > 0 else math.inf
