"""The search itself: ask the engine, have the environment evaluate, tell the engine, until there is reason to stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from deploycompress.errors import PlanError
from deploycompress.evaluation import Evaluation
from deploycompress.plan import Plan
from deploycompress.search.engine import Engine, Kind, Proposal, State, StopReason
from deploycompress.search.environment import Environment
from deploycompress.search.fidelity import Climb, Ladder, foreseen, goes_on
from deploycompress.search.outcome import SearchOutcome, TraceEntry, best_of, is_feasible
from deploycompress.search.reward import RewardSettings, meets, reward, worth_training

MOST_REPEATS = 100
"""Proposals in a row that bring no new student, after which a search ends."""


def run(
    engine: Engine[State],
    state: State,
    environment: Environment,
    *,
    ladder: Ladder,
    should_stop: Callable[[], bool],
    on_evaluation: Callable[[TraceEntry, State], None],
    max_evaluations: int | None = None,
    trace: Sequence[TraceEntry] = (),
) -> SearchOutcome[State]:
    """Search until the engine is done or somebody says stop.

    A student that was evaluated before costs nothing, whatever candidate led to it: students go by their graph.

    Args:
        engine: the way of searching, such as the module `rl_pruner`.
        state: where it stands.
        environment: evaluates; its current student is the state's.
        ladder: how dearly accuracy is taken.
        should_stop: asked before every evaluation.
        on_evaluation: told of every evaluation and of the state after it; what continues a search is that state.
        max_evaluations: how many evaluations the whole search may cost, those of `trace` included.
        trace: evaluations of the same search before it was interrupted.
    """
    entries = list(trace)
    known = _known(entries)
    repeats, reason = 0, state.stop
    while reason is None:
        proposal = engine.ask(state)
        key = environment.key(proposal.candidate)
        seen = known.get(key) if proposal.kind is Kind.SAMPLE else None
        if should_stop():
            reason = StopReason.STOPPED
        elif seen is not None and _is_enough(seen, proposal, state.reward_settings):
            state = engine.tell(
                state, proposal, seen.evaluation, _worth(seen.evaluation, entries, state, proposal, ladder)
            )
            repeats += 1
            reason = state.stop or (StopReason.REPEATING if repeats >= MOST_REPEATS else None)
        elif max_evaluations is not None and len(entries) >= max_evaluations:
            reason = StopReason.EVALUATIONS
        else:
            entry = _evaluated(environment, proposal, key, entries, state, ladder)
            entries.append(entry)
            known = {**known, key: entry} if proposal.kind is Kind.SAMPLE else {}
            state = engine.tell(state, proposal, entry.evaluation, entry.reward)
            repeats, reason = 0, state.stop
            on_evaluation(entry, state)
    best = best_of(entries, state.reward_settings)
    return SearchOutcome(
        best=best,
        is_feasible=best is not None and is_feasible(best.evaluation, state.reward_settings),
        reason=reason,
        trace=tuple(entries),
        state=state,
    )


def _known(entries: Sequence[TraceEntry]) -> dict[str, TraceEntry]:
    """Give the students that were looked at since the current one became it, by key."""
    advances = [index for index, entry in enumerate(entries) if entry.proposal.kind is Kind.ADVANCE]
    since = advances[-1] + 1 if advances else 0
    return {entry.key: entry for entry in entries[since:]}


def climbs_of(entries: Sequence[TraceEntry], settings: RewardSettings) -> tuple[Climb, ...]:
    """Give the accuracies by rung of all students that meet the constraints."""
    climbing = (entry.evaluation for entry in entries if entry.evaluation.climb)
    return tuple(evaluation.climb for evaluation in climbing if _is_met(evaluation, settings))


def _is_enough(seen: TraceEntry, proposal: Proposal, settings: RewardSettings) -> bool:
    """Say whether what is known of a student answers a proposal: nothing more would be taken for it now."""
    if seen.evaluation.accuracy is not None or seen.evaluation.is_degenerate:
        return True
    return not (proposal.needs_accuracy or worth_training(seen.evaluation.metrics, settings, proposal.progress))


def _evaluated(
    environment: Environment,
    proposal: Proposal,
    key: str,
    entries: Sequence[TraceEntry],
    state: State,
    ladder: Ladder,
) -> TraceEntry:
    evaluation = _evaluation(environment, proposal, entries, state.reward_settings, ladder)
    try:
        plan = environment.plan(proposal.candidate)
    except PlanError:
        plan = Plan()
    worth = _worth(evaluation, entries, state, proposal, ladder)
    return TraceEntry(key=key, proposal=proposal, plan=plan, evaluation=evaluation, reward=worth)


def _evaluation(
    environment: Environment,
    proposal: Proposal,
    entries: Sequence[TraceEntry],
    settings: RewardSettings,
    ladder: Ladder,
) -> Evaluation:
    evaluation = environment.measure(proposal.candidate)
    is_worth = not evaluation.is_degenerate and worth_training(evaluation.metrics, settings, proposal.progress)
    if proposal.kind is Kind.ADVANCE:
        return environment.advance(proposal.candidate, distils=is_worth)
    if evaluation.is_degenerate or not (is_worth or proposal.needs_accuracy):
        return evaluation
    climbs = climbs_of(entries, settings)
    for rung, steps in enumerate(ladder.steps):
        evaluation = environment.judge(proposal.candidate, evaluation, steps)
        if not (_is_met(evaluation, settings) and goes_on(evaluation.climb[-1], rung, climbs, ladder)):
            break
    return evaluation


def _is_met(evaluation: Evaluation, settings: RewardSettings) -> bool:
    """Say whether rows that do not read the accuracy are met: that may still grow on the way up."""
    return meets(evaluation.metrics, [row for row in settings.constraints if "accuracy" not in row.metrics])


def _worth(
    evaluation: Evaluation, entries: Sequence[TraceEntry], state: State, proposal: Proposal, ladder: Ladder
) -> float:
    if evaluation.climb and proposal.kind is Kind.SAMPLE:
        accuracy = foreseen(evaluation.climb, climbs_of(entries, state.reward_settings), ladder)
        evaluation = replace(evaluation, metrics={**evaluation.metrics, "accuracy": accuracy})
    return reward(evaluation, state.reward_settings, proposal.progress)
