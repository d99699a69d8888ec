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
    """One evaluation of a search and the reward the policy learnt from it."""

    proposal: Proposal
    evaluation: Evaluation
    reward: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchOutcome(Generic[State]):
    """What a search found.

    Attributes:
        plan: the recommended student, none when no student could be measured.
        evaluation: of that student: distilled if it comes from an advance, else as sampled.
        is_feasible: whether it was seen to meet all constraints.
        reason: why the search ended.
        evaluations: how many the environment made.
        trace: all of them, in order.
        state: where the engine stands, to go on from.
    """

    plan: Plan | None
    evaluation: Evaluation | None
    is_feasible: bool
    reason: StopReason
    evaluations: int
    trace: tuple[TraceEntry, ...]
    state: State


def is_feasible(evaluation: Evaluation, settings: RewardSettings) -> bool:
    """Say whether a student works, its accuracy is known, and it meets all constraints."""
    is_known = not evaluation.is_degenerate and evaluation.accuracy is not None
    return is_known and meets(evaluation.metrics, settings.constraints)


def best_of(trace: Sequence[TraceEntry], settings: RewardSettings) -> TraceEntry | None:
    """Choose the student to recommend, by reward without annealing.

    Accuracy is taken after distillation for advanced students and before it for sampled ones, so the two are never
    compared with each other: a feasible advanced student wins over any sampled one, and only where there is none the
    best feasible sample does. Where nothing is feasible, the student that breaks the constraints least wins. Of equals
    the later one wins, for it is smaller.

    Returns:
        The best entry, none when every evaluation failed.
    """
    feasible = [entry for entry in trace if is_feasible(entry.evaluation, settings)]
    for kind in (Kind.ADVANCE, Kind.SAMPLE):
        candidates = [entry for entry in feasible if entry.proposal.kind is kind]
        if candidates:
            return max(reversed(candidates), key=lambda entry: reward(entry.evaluation, settings))
    measured = [entry for entry in trace if not entry.evaluation.is_degenerate]
    return min(
        reversed(measured),
        key=lambda entry: total_excess(entry.evaluation.metrics, settings.constraints),
        default=None,
    )
