"""RL-Pruner, section 3.2, as init, ask and tell over an explicit state.

A pruning step is a number of sampling stages and one cut. A stage samples actions around the policy, stores them
with their Q-values in the replay buffer, and moves the policy towards one of them. The cut removes channels as the
learnt policy itself shares them, as in the paper, or in a short search as the best action did. Widths stay
real-valued from step to step, so what one candidate rounds away the next one has.

Points the paper leaves open:

* The buffer is emptied after each cut, since its Q-values are of a state that is no more.
* An action whose students all fail or, in the last step, break a constraint teaches nothing and is not stored, nor
  is one that is too small to change the current student; while the buffer is empty the policy stays.
* Students of the steps before the last break the limits by design; they are worth what they would be without.
* A cut that changes no rounded width asks for no distillation; the next step goes on from its real-valued widths.
* Where an action leads to a student that this step has seen, another is drawn, with more and more noise.

After the planned steps, more follow until the student meets the constraints or nothing can shrink.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from deploycompress.evaluation import Evaluation
from deploycompress.search.costs import NO_CORRECTION, corrected
from deploycompress.search.engine import Kind, Proposal, StopReason
from deploycompress.search.reward import DEGENERATE_REWARD, RewardSettings, meets, unconstrained
from deploycompress.search.rl_pruner.axes import axes_of
from deploycompress.search.rl_pruner.planning import planned
from deploycompress.search.rl_pruner.policy import initial_policy, updated_policy
from deploycompress.search.rl_pruner.q_values import root_values
from deploycompress.search.rl_pruner.questions import ask_for_cut, ask_for_sample, digest, floors_of, rounded
from deploycompress.search.rl_pruner.removal import is_exhausted
from deploycompress.search.rl_pruner.replay import Experience, remember, select_action
from deploycompress.search.rl_pruner.settings import RlPrunerSettings
from deploycompress.search.rl_pruner.state import Sample, State
from deploycompress.search.schedules import exploration_rate
from deploycompress.search.space import Space

MARGIN_UP = 0.006  # with this ratio to the next, a quarter of the students of the last step breaks a limit
MARGIN_DOWN = 0.002
MOST_MARGIN = 0.1


def init(
    space: Space,
    reward_settings: RewardSettings,
    *,
    settings: RlPrunerSettings,
    evaluations: int,
    seed: int,
) -> State:
    """Start a search at the whole teacher.

    Args:
        space: what may go.
        reward_settings: formula and constraints.
        settings: of the engine; laid out anew where they take more evaluations than there are.
        evaluations: how many there will be at most.
        seed: the same seed and evaluations give the same candidates.

    Raises:
        UsageError: fewer than two evaluations.
    """
    axes = axes_of(space, removes_blocks=settings.removes_blocks)
    widths = tuple(axis.width for axis in axes)
    state = State(
        settings=planned(settings, space, axes, reward_settings.constraints, evaluations),
        reward_settings=reward_settings,
        space=space,
        axes=axes,
        policy=initial_policy(widths),
        widths=tuple(float(width) for width in widths),
        student=widths,
        correction=dict(NO_CORRECTION),
        is_met=not reward_settings.constraints,
        seed=seed,
    )
    return _begin_step(state)


def ask(state: State) -> Proposal:
    """Propose the next candidate to sample or to advance to.

    Raises:
        ValueError: the search is over.
    """
    if state.stop is not None or state.question is None:
        raise ValueError(f"The search is over: {state.stop.sentence if state.stop else 'nothing is asked.'}")
    return Proposal(
        candidate=state.question.candidate,
        kind=state.question.kind,
        progress=state.progress,
        step=state.step,
        needs_accuracy=not state.is_last_step,
    )


def tell(state: State, proposal: Proposal, evaluation: Evaluation, reward: float) -> State:
    """Learn from the evaluation of what was asked.

    Args:
        state: the state that was asked.
        proposal: its answer.
        evaluation: of the proposal's candidate.
        reward: what the student is worth; before the last step its worth without constraints counts instead.

    Raises:
        ValueError: the proposal is not this state's.
    """
    if state.stop is not None or state.question is None or proposal != ask(state):
        raise ValueError("The proposal was not made by this state.")
    state = _with_better_forecasts(state, evaluation)
    if proposal.kind is Kind.SAMPLE:
        worth = reward if state.is_last_step else unconstrained(evaluation, state.reward_settings)
        return _learn_from_sample(state, worth)
    is_met = meets(evaluation.metrics, state.reward_settings.constraints) and not evaluation.failure
    return _end_step(replace(state, is_met=is_met))


def _with_better_forecasts(state: State, evaluation: Evaluation) -> State:
    if state.question is None or evaluation.is_degenerate:
        return state
    correction = corrected(state.correction, state.space, state.question.candidate, evaluation.metrics)
    state = replace(state, correction=correction)
    if not state.is_last_step:
        return state
    rows = [row for row in state.reward_settings.constraints if row.metrics <= state.space.teacher.keys()]
    change = -MARGIN_DOWN if meets(evaluation.metrics, rows) else MARGIN_UP
    return replace(state, margin=min(max(state.margin + change, 0.0), MOST_MARGIN))


def _learn_from_sample(state: State, worth: float) -> State:
    if state.question is None:
        return state
    sample = Sample(action=state.question.action, widths=state.question.widths, reward=worth)
    seen = (*state.seen, digest(state.question.candidate))
    state = replace(state, samples=(*state.samples, sample), seen=seen)
    if len(state.samples) < state.settings.tree_size:
        return ask_for_sample(state)
    return _end_stage(state)


def _end_stage(state: State) -> State:
    state = _remember_stage(state)
    state = replace(_update_policy(state) if state.buffer else state, samples=(), stage=state.stage + 1)
    if state.stage < state.settings.stages:
        return ask_for_sample(state)
    cut = ask_for_cut(state)
    if cut.question is not None and rounded(cut, cut.question.widths) == cut.student:
        return _end_step(cut)
    return cut


def _remember_stage(state: State) -> State:
    rewards = [sample.reward for sample in state.samples]
    worst = _root_values(state, [DEGENERATE_REWARD] * len(rewards))[0]
    buffer = state.buffer
    for sample, value in zip(state.samples, _root_values(state, rewards), strict=False):  # the first level has Q-values
        if value > worst and rounded(state, sample.widths) != state.student:
            experience = Experience(action=sample.action, value=value, widths=sample.widths)
            buffer = remember(buffer, experience, state.settings.buffer_size)
    return replace(state, buffer=buffer)


def _root_values(state: State, rewards: Sequence[float]) -> tuple[float, ...]:
    chosen = state.settings
    return root_values(rewards, samples=chosen.samples, sample_steps=chosen.sample_steps, discount=chosen.discount)


def _update_policy(state: State) -> State:
    chosen = state.settings
    epsilon = exploration_rate(
        chosen.exploration,
        chosen.exploration_decay,
        step=state.step * chosen.stages + state.stage,
        steps=chosen.steps * chosen.stages,
        share=chosen.exploration_share,
    )
    action = select_action(state.buffer, epsilon=epsilon, rng=state.rng())
    policy = updated_policy(state.policy, action, step_size=chosen.step_size, clip_ratio=chosen.clip_ratio)
    return replace(state, policy=policy, draws=state.draws + 1)


def _end_step(state: State) -> State:
    widths = state.widths if state.question is None else state.question.widths
    return _begin_step(replace(state, widths=widths, student=rounded(state, widths), step=state.step + 1))


def _begin_step(state: State) -> State:
    state = replace(state, question=None, buffer=(), samples=(), seen=(), stage=0, stop=_stop_reason(state))
    return state if state.stop else ask_for_sample(state)


def _stop_reason(state: State) -> StopReason | None:
    is_enough = state.step >= state.settings.steps
    if state.settings.stop_when_met and state.reward_settings.constraints:
        is_enough = True
    if is_enough and state.is_met:
        return StopReason.FINISHED
    return StopReason.EXHAUSTED if is_exhausted(state.widths, floors=floors_of(state)) else None
