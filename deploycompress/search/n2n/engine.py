"""N2N (Ashok et al., 2018, algorithm 1): a policy removes layers, a second one shrinks what is left.

The first stage's best student gives its blocks to the second. What deviates from the paper is in `Settings`, and:
a rollout that was evaluated before is drawn anew, for a known student costs nothing and teaches little; in the first
stage widths are narrowed evenly where removal alone does not meet the limit, so that students of both stages are
comparable; stages are planned by evaluations, since these are what costs; and where the
second stage has seen all there is before they are used up, the first goes on for a part of them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from torch import Tensor

from deploycompress.errors import UsageError
from deploycompress.evaluation import Evaluation
from deploycompress.search import costs
from deploycompress.search.engine import Proposal, StopReason
from deploycompress.search.n2n import stages
from deploycompress.search.n2n.calibration import with_removal_bias, with_shrinkage_bias
from deploycompress.search.n2n.networks import REMOVAL, SHRINKAGE, Architecture, initial
from deploycompress.search.n2n.policy_file import Policies, from_text
from deploycompress.search.n2n.settings import Method, Settings
from deploycompress.search.n2n.state import Stage, State
from deploycompress.search.n2n.weights import from_text as weights_from_text
from deploycompress.search.n2n.weights import one_thread, to_text
from deploycompress.search.reward import RewardSettings, meets
from deploycompress.search.space import Candidate, Space

RESERVE_UP = 0.02  # after a student broke a limit that it was foreseen to meet
RESERVE_DOWN = 0.004  # after one met it: about one in six breaks it in the long run
MOST_RESERVE = 0.3
MOST_BARREN = 2


def init(space: Space, reward_settings: RewardSettings, *, settings: Settings, evaluations: int, seed: int) -> State:
    """Start at the whole teacher.

    Raises:
        UsageError: there is nothing to decide, no evaluation to learn from, or the given policies do not fit.
    """
    if space.is_empty:
        raise UsageError("Nothing can be removed or narrowed in this network, so there is nothing to search.")
    if evaluations < 1:
        raise UsageError(f"The search may make {evaluations} evaluations; N2N needs at least 1.")
    given = from_text(settings.policies) if settings.policies else Policies()
    state = State(
        space=space,
        reward_settings=reward_settings,
        settings=replace(settings, policies=""),
        evaluations=evaluations,
        seed=seed,
        removal=given.removal,
        shrinkage=given.shrinkage,
    )
    with one_thread():
        return _drawn(_begun(state, Stage.REMOVAL if space.removals else Stage.SHRINKAGE))


def ask(state: State) -> Proposal:
    """Propose the next rollout of the coming update.

    Raises:
        ValueError: the search is over.
    """
    if state.stop is not None:
        raise ValueError(f"The search is over: {state.stop.sentence}")
    return Proposal(
        candidate=state.pending[state.answered].candidate,
        progress=min(state.told / state.evaluations, 1.0),
        step=state.all_updates,
    )


def tell(state: State, proposal: Proposal, evaluation: Evaluation, reward: float) -> State:
    """Note a rollout's reward; after the last one of an update, learn and draw the next.

    Raises:
        ValueError: the proposal is not what the state asks.
    """
    if proposal != ask(state):
        raise ValueError("The answer is to another question than the state asks.")
    state = _noted(state, evaluation, reward)
    if state.answered < len(state.pending) and state.told < state.evaluations:
        return state
    with one_thread():
        return _next(state)


def _noted(state: State, evaluation: Evaluation, reward: float) -> State:
    place = state.answered
    rollout = replace(state.pending[place], reward=float(reward))
    state = replace(state, pending=(*state.pending[:place], rollout, *state.pending[place + 1 :]))
    if rollout.name not in state.seen:
        state = replace(
            _corrected(state, rollout.candidate, evaluation),
            told=state.told + 1,
            stage_told=state.stage_told + 1,
            seen=(*state.seen, rollout.name),
            idle=-1,
        )
    if state.stage is Stage.REMOVAL and (state.best_reward is None or reward > state.best_reward):
        state = replace(state, best=rollout.candidate, best_reward=float(reward))
    return state


def _corrected(state: State, candidate: Candidate, evaluation: Evaluation) -> State:
    """Learn from a measurement how far the table can be trusted."""
    if evaluation.is_degenerate:
        return state
    limit = stages.limit_of(state)
    reserve = state.reserve
    if limit.rows and limit.says_something and limit.fits(candidate):
        reserve += -RESERVE_DOWN if meets(evaluation.metrics, limit.rows) else RESERVE_UP
    correction = costs.corrected(state.correction, state.space, candidate, evaluation.metrics)
    return replace(state, correction=dict(correction), reserve=min(max(reserve, 0.0), MOST_RESERVE))


def _next(state: State) -> State:
    """Learn, and go on to the next update, the next stage, or the end."""
    state = stages.learnt(state)
    state = replace(state, idle=state.idle + 1)
    if state.told >= state.evaluations:
        return replace(state, stop=StopReason.FINISHED)
    is_spent = state.stage_told >= state.stage_budget
    if not is_spent and state.idle < state.settings.patience:
        return _drawn(state)
    state = replace(state, barren=state.barren + 1 if state.stage_told == 0 else 0)
    if state.barren == MOST_BARREN:
        return replace(state, stop=StopReason.FINISHED)
    if state.stage is Stage.REMOVAL and stages.asked_of(state):
        return _drawn(_begun(state, Stage.SHRINKAGE))
    if state.stage is Stage.SHRINKAGE and state.space.removals:
        return _drawn(_begun(state, Stage.REMOVAL))
    return replace(state, stop=StopReason.FINISHED)


def _budget(state: State, stage: Stage) -> int:
    """Say how many new students a stage may look at; all that are left where no other stage comes after it."""
    left = state.evaluations - state.told
    if stage is Stage.SHRINKAGE or not (state.space.free or state.space.kernels):
        return left
    return max(round(state.settings.removal_share * left), 1)


def _drawn(state: State) -> State:
    left = min(state.evaluations - state.told, state.stage_budget - state.stage_told)
    return stages.drawn(state, max(min(state.settings.rollouts, left), 1))


def _begun(state: State, stage: Stage) -> State:
    """Enter a stage: its policy, given or new, starts about where the limit is, unless it has learnt here before."""
    is_again = stage is Stage.REMOVAL and state.told > 0
    state = replace(
        state,
        stage=stage,
        stage_told=0,
        stage_budget=_budget(state, stage),
        best_reward=None if stage is Stage.REMOVAL else state.best_reward,
        updates=0,
        idle=0,
        learnt=(),
        baseline=None,
        moments="",
        adam_steps=0,
        draws=state.draws + 1,
    )
    given = state.removal if stage is Stage.REMOVAL else state.shrinkage
    weights = _prepared(state, given, REMOVAL if stage is Stage.REMOVAL else SHRINKAGE)
    limit = stages.limit_of(state)
    if stage is Stage.REMOVAL:
        if limit.says_something and not is_again:
            weights = with_removal_bias(weights, limit, state.settings.removal_part)
        elif not given:
            weights["policy.bias"] = weights["policy.bias"] + state.settings.keep_bias
    elif limit.says_something:
        seed = (state.seed, state.draws)
        weights = with_shrinkage_bias(weights, limit, state.best.remove, stages.asked_of(state), seed)
    return stages.with_weights(replace(state, draws=state.draws + 1), weights)


def _prepared(state: State, given: str, architecture: Architecture) -> dict[str, Tensor]:
    """Take a given policy, or draw one; a critic is always new, for rewards do not transfer."""
    with_critic = state.settings.method is Method.ACTOR_CRITIC
    generator = np.random.default_rng((state.seed, state.draws))
    weights = initial(architecture, generator, with_critic=with_critic)
    return {**weights, **weights_from_text(given)} if given else weights


def policies_of(state: State) -> Policies:
    """Give the policies as they have learnt so far; one that has not begun is missing."""
    return Policies(removal=_without_critic(state.removal), shrinkage=_without_critic(state.shrinkage))


def _without_critic(text: str) -> str:
    if not text:
        return ""
    return to_text({name: one for name, one in weights_from_text(text).items() if not name.startswith("critic.")})
