"""RL-Pruner, section 3.2, as init, ask and tell over an explicit state.

A pruning step is a number of sampling stages and one cut. A stage samples actions around the policy, stores them
with their Q-values in the replay buffer, and moves the policy towards one of them. The cut removes channels as the
learnt policy itself shares them, as in the paper: the policy is what many samples agree on, while the best single
sample is the luckiest of many noisy accuracies. Widths stay real-valued from step to step, so what one plan rounds
away the next one has.

Three points the paper leaves open:

* The buffer is emptied after each cut, since its Q-values are of a state that is no more.
* An action all of whose students are degenerate or break constraints that are not tolerated teaches nothing and is
  not stored, nor is one that is too small to change the current student; while the buffer is empty the policy stays.
* A cut that changes no rounded width asks for no distillation; the next step goes on from its real-valued widths.

After the planned steps, steps of the same size follow until the student meets the constraints or nothing can shrink.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from deploycompress.evaluation import Evaluation
from deploycompress.search.engine import Kind, Proposal, Scores, StopReason
from deploycompress.search.reward import DEGENERATE_REWARD, RewardSettings, meets, reward
from deploycompress.search.rl_pruner.policy import initial_policy, sample_action, updated_policy
from deploycompress.search.rl_pruner.q_values import parent_of, root_values
from deploycompress.search.rl_pruner.removal import is_exhausted, remove_channels
from deploycompress.search.rl_pruner.replay import Experience, remember, select_action
from deploycompress.search.rl_pruner.settings import RlPrunerSettings
from deploycompress.search.rl_pruner.state import Sample, State
from deploycompress.search.rounding import snap_all
from deploycompress.search.schedules import exploration_rate
from deploycompress.search.space import Space, plan_for


def init(space: Space, settings: RlPrunerSettings, reward_settings: RewardSettings, seed: int, scores: Scores) -> State:
    """Start a search at the whole teacher.

    Args:
        space: what may be cut.
        settings: of the engine.
        reward_settings: formula and constraints.
        seed: of the random generator; the same seed and evaluations give the same plans.
        scores: importance of the teacher's channels, by group.
    """
    widths = [dimension.width for dimension in space.free]
    policy = initial_policy(widths)
    state = State(
        settings=settings,
        reward_settings=reward_settings,
        space=space,
        scores=dict(scores),
        policy=policy,
        widths=tuple(float(width) for width in widths),
        student=tuple(widths),
        buffer=(),
        samples=(),
        pending=policy,
        kind=Kind.SAMPLE,
        step=0,
        stage=0,
        is_met=not reward_settings.constraints,
        stop=None,
        generator=np.random.PCG64(seed).state,
    )
    return _begin_step(state)


def ask(state: State) -> Proposal:
    """Propose the next plan to sample or to advance to.

    Raises:
        ValueError: the search is over.
    """
    if state.stop is not None:
        raise ValueError(f"The search is over: {state.stop.sentence}")
    groups = (dimension.group for dimension in state.space.free)
    widths = dict(zip(groups, _rounded(state, _pending_widths(state)), strict=True))
    plan = plan_for(state.space, widths, state.scores)
    return Proposal(kind=state.kind, plan=plan, progress=state.progress, step=state.step)


def tell(state: State, proposal: Proposal, evaluation: Evaluation, scores: Scores | None = None) -> State:
    """Learn from the evaluation of what was asked.

    Args:
        state: the state that was asked.
        proposal: its answer.
        evaluation: of the proposal's plan.
        scores: importance of the new student's channels after an advance.

    Raises:
        ValueError: the proposal is not this state's, or scores are missing after an advance.
    """
    if proposal != ask(state):
        raise ValueError("The proposal was not made by this state.")
    if proposal.kind is Kind.SAMPLE:
        return _learn_from_sample(state, evaluation)
    if scores is None:
        raise ValueError("After an advance the scores of the new student's channels are needed.")
    is_met = meets(evaluation.metrics, state.reward_settings.constraints) and not evaluation.failure
    return _end_step(replace(state, scores=dict(scores), is_met=is_met))


def _learn_from_sample(state: State, evaluation: Evaluation) -> State:
    worth = reward(evaluation, state.reward_settings, state.progress)
    sample = Sample(action=state.pending, widths=_pending_widths(state), reward=worth)
    state = replace(state, samples=(*state.samples, sample))
    if len(state.samples) < state.settings.tree_size:
        return _draw_action(state)
    return _end_stage(state)


def _end_stage(state: State) -> State:
    state = _remember_stage(state)
    state = replace(_update_policy(state) if state.buffer else state, samples=(), stage=state.stage + 1)
    if state.stage < state.settings.stages:
        return _draw_action(state)
    cut = replace(state, kind=Kind.ADVANCE, pending=state.policy)
    return _end_step(cut) if _rounded(cut, _pending_widths(cut)) == cut.student else cut


def _remember_stage(state: State) -> State:
    rewards = [sample.reward for sample in state.samples]
    worst = _root_values(state, [DEGENERATE_REWARD] * len(rewards))[0]
    buffer = state.buffer
    for sample, value in zip(state.samples, _root_values(state, rewards), strict=False):  # the first level has Q-values
        if value > worst and _rounded(state, sample.widths) != state.student:
            buffer = remember(buffer, Experience(action=sample.action, value=value), state.settings.buffer_size)
    return replace(state, buffer=buffer)


def _root_values(state: State, rewards: Sequence[float]) -> tuple[float, ...]:
    chosen = state.settings
    return root_values(rewards, samples=chosen.samples, sample_steps=chosen.sample_steps, discount=chosen.discount)


def _update_policy(state: State) -> State:
    chosen, rng = state.settings, state.rng()
    epsilon = exploration_rate(
        chosen.exploration,
        chosen.exploration_decay,
        step=state.step,
        steps=chosen.steps,
        share=chosen.exploration_share,
    )
    action = select_action(state.buffer, epsilon=epsilon, rng=rng)
    policy = updated_policy(state.policy, action, step_size=chosen.step_size, clip_ratio=chosen.clip_ratio)
    return replace(state, policy=policy, generator=rng.bit_generator.state)


def _end_step(state: State) -> State:
    widths = _pending_widths(state)
    return _begin_step(replace(state, widths=widths, student=_rounded(state, widths), step=state.step + 1))


def _begin_step(state: State) -> State:
    state = replace(state, kind=Kind.SAMPLE, buffer=(), samples=(), stage=0, stop=_stop_reason(state))
    return state if state.stop else _draw_action(state)


def _stop_reason(state: State) -> StopReason | None:
    is_enough = state.step >= state.settings.steps
    if state.settings.stop_when_met and state.reward_settings.constraints:
        is_enough = True
    if is_enough and state.is_met:
        return StopReason.FINISHED
    return StopReason.EXHAUSTED if is_exhausted(state.widths, floors=_floors(state)) else None


def _draw_action(state: State) -> State:
    rng = state.rng()
    action = sample_action(state.policy, variance=state.settings.noise_variance, rng=rng)
    return replace(state, pending=action, generator=rng.bit_generator.state)


def _pending_widths(state: State) -> tuple[float, ...]:
    widths = state.widths
    if state.kind is Kind.SAMPLE:
        parent = parent_of(len(state.samples), state.settings.samples)
        widths = state.samples[parent].widths if parent >= 0 else widths
    amount = state.settings.step_sparsity * sum(dimension.width for dimension in state.space.free)
    return remove_channels(widths, state.pending, amount, floors=_floors(state))


def _rounded(state: State, widths: Sequence[float]) -> tuple[int, ...]:
    allowed = [dimension.widths for dimension in state.space.free]
    return snap_all(widths, allowed, ceilings=state.student)


def _floors(state: State) -> tuple[int, ...]:
    return tuple(dimension.widths[0] for dimension in state.space.free)
