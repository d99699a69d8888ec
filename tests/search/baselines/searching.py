"""Whole searches on the toy problem, and its answer by trying everything."""

from __future__ import annotations

import itertools
from functools import cache
from typing import Any

from deploycompress.constraint import parse_constraint
from deploycompress.search.engine import Engine
from deploycompress.search.fidelity import Ladder
from deploycompress.search.loop import run
from deploycompress.search.outcome import SearchOutcome, TraceEntry
from deploycompress.search.reward import RewardSettings
from deploycompress.search.schedules import Annealing
from deploycompress.search.space import Candidate, Space
from tests.search.toy import IMPORTANCE, WIDTHS, Toy, accuracy_of, latency_of, make_space

LADDER = Ladder(steps=(0, 20, 60))
AnyEngine = Engine[Any]  # Any: each engine has its own state


def limited(limit: float) -> RewardSettings:
    return RewardSettings(constraints=(parse_constraint(f"latency_ratio <= {limit}"),), annealing=Annealing.HARD)


def searched(
    engine: Any,  # Any: a module
    settings: object,
    *,
    limit: float = 0.6,
    evaluations: int = 60,
    seed: int = 0,
    toy: Toy | None = None,
    states: list[Any] | None = None,  # Any: the engine's state
) -> SearchOutcome[Any]:
    toy = toy or Toy()
    state = engine.init(toy.space, limited(limit), settings=settings, evaluations=evaluations, seed=seed)
    seen = [] if states is None else states

    def keep(_: TraceEntry, after: Any) -> None:  # Any: the engine's state
        seen.append(after)

    return run(
        engine,
        state,
        toy,
        ladder=LADDER,
        should_stop=lambda: False,
        on_evaluation=keep,
        max_evaluations=evaluations,
    )


def accuracy_found(outcome: SearchOutcome[Any]) -> float:
    assert outcome.best is not None
    assert outcome.is_feasible
    return accuracy_of(outcome.best.proposal.candidate)


@cache
def everything() -> tuple[tuple[float, float], ...]:
    """List latency and accuracy of every candidate there is."""
    return tuple((latency_of(one), accuracy_of(one)) for one in _all(make_space()))


def best_accuracy(limit: float) -> float:
    return max(accuracy for latency, accuracy in everything() if latency <= limit)


def _all(space: Space) -> list[Candidate]:
    choices = itertools.product((0, *WIDTHS), repeat=len(IMPORTANCE))
    return [
        space.candidate(
            remove=[f"b{block}" for block, width in enumerate(widths) if not width],
            widths={f"g{block}": width for block, width in enumerate(widths) if width},
        )
        for widths in choices
        if any(widths)
    ]
