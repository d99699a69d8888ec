"""The search itself: ask the engine, have the environment evaluate, tell the engine, until there is reason to stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from deploycompress.evaluation import Evaluation
from deploycompress.search.engine import Engine, Kind, Proposal, State, StopReason
from deploycompress.search.environment import Environment
from deploycompress.search.outcome import SearchOutcome, TraceEntry, best_of, is_feasible
from deploycompress.search.reward import RewardSettings, reward, worth_training


def run(
    engine: Engine[State],
    state: State,
    environment: Environment,
    *,
    should_stop: Callable[[], bool],
    on_evaluation: Callable[[TraceEntry, State], None],
    max_evaluations: int | None = None,
    trace: Sequence[TraceEntry] = (),
) -> SearchOutcome[State]:
    """Search until the engine is done or somebody says stop.

    Two samples that round to the same plan between two advances are evaluated once.

    Args:
        engine: the way of searching, such as the module `rl_pruner`.
        state: where it stands.
        environment: evaluates; its current student is the state's.
        should_stop: asked before every evaluation.
        on_evaluation: told of every evaluation and of the state after it; what continues a search is that state.
        max_evaluations: how many evaluations the whole search may cost, those of `trace` included.
        trace: evaluations of the same search before it was interrupted.
    """
    entries = list(trace)
    known = _since_last_advance(entries)
    reason = state.stop
    while reason is None:
        proposal = engine.ask(state)
        key = proposal.plan.to_json()
        cached = known.get(key) if proposal.kind is Kind.SAMPLE else None
        if should_stop():
            reason = StopReason.STOPPED
        elif cached is not None:
            state = engine.tell(state, proposal, cached)
            reason = state.stop
        elif max_evaluations is not None and len(entries) >= max_evaluations:
            reason = StopReason.EVALUATIONS
        else:
            evaluation = _evaluate(environment, proposal, state.reward_settings)
            known = {} if proposal.kind is Kind.ADVANCE else {**known, key: evaluation}
            scores = environment.scores() if proposal.kind is Kind.ADVANCE else None
            value = reward(evaluation, state.reward_settings, proposal.progress)
            entries.append(TraceEntry(proposal=proposal, evaluation=evaluation, reward=value))
            state = engine.tell(state, proposal, evaluation, scores)
            reason = state.stop
            on_evaluation(entries[-1], state)
    return _outcome(state, reason, entries)


def _since_last_advance(entries: Sequence[TraceEntry]) -> dict[str, Evaluation]:
    known: dict[str, Evaluation] = {}
    for entry in entries:
        is_sample = entry.proposal.kind is Kind.SAMPLE
        known = {**known, entry.proposal.plan.to_json(): entry.evaluation} if is_sample else {}
    return known


def _evaluate(environment: Environment, proposal: Proposal, settings: RewardSettings) -> Evaluation:
    act = environment.advance if proposal.kind is Kind.ADVANCE else environment.evaluate
    return act(proposal.plan, lambda metrics: worth_training(metrics, settings, proposal.progress))


def _outcome(state: State, reason: StopReason, entries: list[TraceEntry]) -> SearchOutcome[State]:
    best = best_of(entries, state.reward_settings)
    return SearchOutcome(
        plan=best.proposal.plan if best else None,
        evaluation=best.evaluation if best else None,
        is_feasible=best is not None and is_feasible(best.evaluation, state.reward_settings),
        reason=reason,
        evaluations=len(entries),
        trace=tuple(entries),
        state=state,
    )
