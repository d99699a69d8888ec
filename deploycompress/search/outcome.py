"""Which student a search recommends, as a function of everything that was evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic

from deploycompress.evaluation import Evaluation
from deploycompress.plan import Plan
from deploycompress.search.engine import Kind, Proposal, State, StopReason
from deploycompress.search.reward import RewardSettings, meets, reward, total_excess


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceEntry:
    """One evaluation of a search.

    Attributes:
        key: names the student; the same key is the same graph.
        proposal: what was asked.
        plan: what surgery made of it; empty when it could not.
        evaluation: of the student.
        reward: what the policy learnt from it.
    """

    key: str
    proposal: Proposal
    plan: Plan
    evaluation: Evaluation
    reward: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOutcome(Generic[State]):
    """What a search found.

    Attributes:
        best: the recommended student's entry, none when no student could be measured.
        is_feasible: whether it was seen to meet all constraints.
        reason: why the search ended.
        trace: all evaluations, in order.
        state: where the engine stands, to go on from.
    """

    best: TraceEntry | None
    is_feasible: bool
    reason: StopReason
    trace: tuple[TraceEntry, ...]
    state: State


def is_feasible(evaluation: Evaluation, settings: RewardSettings) -> bool:
    """Say whether a student works, its accuracy is known, and it meets all constraints."""
    is_known = not evaluation.is_degenerate and evaluation.accuracy is not None
    return is_known and meets(evaluation.metrics, settings.constraints)


def best_of(trace: Sequence[TraceEntry], settings: RewardSettings) -> TraceEntry | None:
    """Choose the student to recommend, by reward without annealing.

    Accuracies taken after different training are never compared with each other: a feasible student that was distilled
    on an advance wins over any other, and of the others those that climbed highest are compared. Where nothing is
    feasible, the student that breaks the constraints least wins. Of equals the later one wins.

    Returns:
        The best entry, none when every evaluation failed.
    """
    few = best_few(trace, settings, 1)
    if few:
        return few[0]
    measured = [entry for entry in trace if not entry.evaluation.is_degenerate]
    return min(
        reversed(measured),
        key=lambda entry: total_excess(entry.evaluation.metrics, settings.constraints),
        default=None,
    )


def best_few(trace: Sequence[TraceEntry], settings: RewardSettings, count: int) -> tuple[TraceEntry, ...]:
    """Choose the feasible students that `best_of` chooses from, at most so many different ones, the best first."""
    feasible = [entry for entry in trace if is_feasible(entry.evaluation, settings)]
    if not feasible:
        return ()
    highest = max(_training(entry) for entry in feasible)
    candidates = [entry for entry in reversed(feasible) if _training(entry) == highest]
    candidates.sort(key=lambda entry: -reward(entry.evaluation, settings))  # stable: of equals the later one wins
    distinct: dict[str, TraceEntry] = {}
    for entry in candidates:
        distinct.setdefault(entry.key, entry)
    return tuple(distinct.values())[:count]


def _training(entry: TraceEntry) -> tuple[bool, int]:
    return entry.proposal.kind is Kind.ADVANCE and not entry.evaluation.climb, len(entry.evaluation.climb)
