"""Brings a rollout to what the sensitivities it believes in call best: one thing returns, another goes for it."""

from __future__ import annotations

from deploycompress.search.joint.choices import Vector
from deploycompress.search.joint.policy import Task, best_move
from deploycompress.search.moves import undone
from deploycompress.search.space import Candidate
from deploycompress.search.tightening import loosened, tightened


def exchanged(task: Task, candidate: Candidate, losses: Vector, savings: Vector, rounds: int) -> Candidate:
    """Fill the limit, and exchange while that is believed to be better.

    Args:
        task: the limit.
        candidate: where to start; it meets the limit, or nothing does.
        losses: believed of every choice when all of it goes, above zero, shape [P].
        savings: of every choice, shape [P].
        rounds: most exchanges.
    """
    price = losses / savings

    def worth(one: Candidate) -> float:
        return -float(losses @ task.choices.gone(one))

    def filled(one: Candidate) -> Candidate:
        small = tightened(
            task.choices.space, one, task.rows, lambda some: best_move(some, task.choices, -price), task.correction
        )
        return loosened(task.choices.space, small, task.rows, worth, task.correction)

    best = filled(candidate)
    for _ in range(rounds):
        found = max((filled(back) for back in undone(task.choices.space, best)), key=worth, default=best)
        if not worth(found) > worth(best) + 1e-12:
            break
        best = found
    return best
