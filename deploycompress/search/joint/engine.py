"""The joint search: survey, believe, roll out at the limit, learn.

The survey tries everything once, or where that is too much, several things at once (`survey`). From then on every
rollout believes in a draw of the sensitivities, which becomes less bold towards the end, and the policy's own logits
are learnt from the rewards by REINFORCE (N2N, eq. 2) with a moving average as baseline.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from deploycompress.evaluation import Evaluation
from deploycompress.search.engine import Proposal, StopReason
from deploycompress.search.joint.choices import number
from deploycompress.search.joint.drawing import with_next
from deploycompress.search.joint.learning import updated
from deploycompress.search.joint.policy import OTHERS, first_weights
from deploycompress.search.joint.settings import Settings
from deploycompress.search.joint.state import State
from deploycompress.search.joint.survey import with_single
from deploycompress.search.joint.table import measured
from deploycompress.search.journal import Journal, check_answered, is_met, noted
from deploycompress.search.n2n.policy_file import Policies
from deploycompress.search.n2n.policy_file import from_text as policies_from_text
from deploycompress.search.n2n.weights import from_text, to_text
from deploycompress.search.reward import DEGENERATE_REWARD, RATIO_METRICS, RewardSettings, unconstrained
from deploycompress.search.space import Candidate, Space


def init(space: Space, reward_settings: RewardSettings, *, settings: Settings, evaluations: int, seed: int) -> State:
    """Start with the survey (see `search.engine.Engine`).

    Raises:
        UsageError: fewer than one evaluation, or the given policy does not fit.
    """
    journal = Journal(space=space, reward_settings=reward_settings, evaluations=evaluations, seed=seed)
    weights = first_weights(number(space), journal.rng())
    if settings.policies:
        weights = {**weights, **_given(settings.policies)}
    state = State(settings=replace(settings, policies=""), journal=_turned(journal), weights=to_text(weights))
    return with_next(state)


def ask(state: State) -> Proposal:
    """Propose the last rollout's candidate.

    Raises:
        ValueError: the search is over.
    """
    if state.stop is not None:
        raise ValueError(f"The search is over: {state.stop}.")
    last = state.rollouts[-1]
    return state.journal.asking(last.candidate, step=state.updates, needs_accuracy=last.is_probe)


def tell(state: State, proposal: Proposal, evaluation: Evaluation, reward: float) -> State:
    """Learn what a student was worth.

    Raises:
        ValueError: the proposal is not what was asked.
    """
    check_answered(ask(state), proposal)
    journal = noted(state.informed(), proposal.candidate, evaluation)
    state = replace(state, journal=_turned(replace(journal, space=state.journal.space)))
    state = replace(state, whole=_whole(state, evaluation))
    is_enough = is_met(journal, evaluation)
    single = state.rollouts[-1].single
    if single is None and not evaluation.is_degenerate:
        found = measured(state.journal.space, proposal.candidate, evaluation.metrics)
        state = replace(state, measured=(*state.measured, found))
    if single is not None:
        if evaluation.climb and not evaluation.is_degenerate:
            lost = state.whole - _untrained(state, evaluation)
            state = with_single(state, single, proposal.candidate, lost)
    elif evaluation.climb and not evaluation.is_degenerate and (is_enough or proposal.needs_accuracy):
        state = _with_seen(state, proposal.candidate, reward if is_enough else _untrained(state, evaluation), is_enough)
    told = replace(state.rollouts[-1], reward=reward)
    if reward > DEGENERATE_REWARD and is_enough:
        best = sorted((*state.elite, told), key=lambda one: -(one.reward or 0.0))
        state = replace(state, elite=tuple(best[: state.settings.elite]))
    state = replace(state, rollouts=(*state.rollouts[:-1], told))
    if len(state.rollouts) >= state.settings.rollouts:
        state = updated(state)
    if journal.is_over:
        return replace(state, stop=StopReason.FINISHED)
    return with_next(state)


def _with_seen(state: State, candidate: Candidate, worth: float, is_enough: bool) -> State:
    gone = number(state.journal.space).gone(candidate)
    return replace(
        state,
        seen=(*state.seen, tuple(gone.tolist())),
        rewards=(*state.rewards, worth),
        probes=(*state.probes, not is_enough),
    )


def _untrained(state: State, evaluation: Evaluation) -> float:
    """Give what a student would be worth after recalibration alone, whatever it breaks."""
    metrics = {**evaluation.metrics, "accuracy": evaluation.climb[0]}
    return unconstrained(replace(evaluation, metrics=metrics), state.reward_settings)


def policies_of(state: State) -> Policies:
    """Give the removal policy as it has been learnt; what groups and kernels have learnt is this network's own."""
    kept = {name: tensor for name, tensor in from_text(state.weights).items() if name != OTHERS}
    return Policies(removal=to_text(kept))


def _whole(state: State, evaluation: Evaluation) -> float:
    """Give the teacher's own reward, which a failed student does not change; nothing of the teacher is saved."""
    teacher = {**dict.fromkeys(RATIO_METRICS.values(), 1.0), **state.journal.space.teacher}
    teacher["accuracy"] = evaluation.teacher_accuracy
    return unconstrained(replace(evaluation, metrics=teacher, failure=""), state.reward_settings)


def _given(text: str) -> dict[str, torch.Tensor]:
    removal = policies_from_text(text).removal
    return from_text(removal) if removal else {}


def _turned(journal: Journal) -> Journal:
    return replace(journal, draws=journal.draws + 1)
