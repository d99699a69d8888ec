"""What is asked next: an action around the policy or the cut, and the widths that it leads to."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from deploycompress.constraint import Constraint
from deploycompress.search.costs import fits
from deploycompress.search.engine import Kind
from deploycompress.search.rl_pruner.axes import candidate_at
from deploycompress.search.rl_pruner.pace import foreseen_rows, relaxed, smallest_amount
from deploycompress.search.rl_pruner.policy import Distribution, sample_action
from deploycompress.search.rl_pruner.q_values import parent_of
from deploycompress.search.rl_pruner.removal import remove_channels
from deploycompress.search.rl_pruner.replay import best_of
from deploycompress.search.rl_pruner.state import Question, State
from deploycompress.search.rounding import snap_all
from deploycompress.search.schedules import decayed
from deploycompress.search.space import Candidate

REDRAWS = 12
NOISE_GROWTH = 1.5  # of the variance, after a draw that brought nothing new
LEAST_NOISE = 0.02  # of the variance there was at first


def ask_for_sample(state: State) -> State:
    """Draw an action around the policy whose student this step has not seen.

    In a step that ends with the cut of its best action, the policy itself is the last one sampled.
    """
    rng = state.rng()
    share = max(decayed(state.settings.noise_decay, state.stage / state.settings.stages), LEAST_NOISE)
    variance = state.settings.noise_variance * share
    question = _question(state, state.policy)
    if not _is_last_sample(state) or digest(question.candidate) in state.seen:
        for _ in range(REDRAWS):
            question = _question(state, sample_action(state.policy, variance=variance, rng=rng))
            if digest(question.candidate) not in state.seen:
                break
            variance *= NOISE_GROWTH
    return replace(state, question=question, draws=state.draws + 1)


def ask_for_cut(state: State) -> State:
    """Ask for the cut that ends the step."""
    if state.settings.cuts_best and state.buffer:
        best = best_of(state.buffer)
        candidate = _candidate(state, best.widths)
        question = Question(kind=Kind.ADVANCE, action=best.action, widths=best.widths, candidate=candidate)
        return replace(state, question=question)
    return replace(state, question=replace(_question(state, state.policy), kind=Kind.ADVANCE))


def rounded(state: State, widths: Sequence[float]) -> tuple[int, ...]:
    """Round real-valued widths to allowed ones that are not above the current student's, shape [D]."""
    return snap_all(widths, [axis.widths for axis in state.axes], ceilings=state.student)


def floors_of(state: State) -> tuple[int, ...]:
    """List the smallest width of every axis, shape [D]."""
    return tuple(axis.widths[0] for axis in state.axes)


def digest(candidate: Candidate) -> str:
    """Shorten a candidate to what tells it from others."""
    return hashlib.blake2b(candidate.to_json().encode(), digest_size=8).hexdigest()


def _is_last_sample(state: State) -> bool:
    chosen = state.settings
    return chosen.cuts_best and (state.stage, len(state.samples)) == (chosen.stages - 1, chosen.samples - 1)


def _question(state: State, action: Distribution) -> Question:
    before, level = _start(state)
    aims = _aims(state, level)
    widths = remove_channels(before, action, _amount(state, before, action, aims), floors=floors_of(state))
    if state.settings.fills_limit and aims and state.is_last_step:
        widths = _filled(state, before, widths, action, aims)
    return Question(kind=Kind.SAMPLE, action=action, widths=widths, candidate=_candidate(state, widths))


def _start(state: State) -> tuple[tuple[float, ...], int]:
    """Give the widths that the next action is applied to, and how many actions led there from the current student."""
    index, level, widths = len(state.samples), 0, state.widths
    while (index := parent_of(index, state.settings.samples)) >= 0:
        widths = state.samples[index].widths if level == 0 else widths
        level += 1
    return widths, level


def _aims(state: State, level: int) -> tuple[Constraint, ...]:
    """List the rows that a student of this step is foreseen to meet; none where the table foresees no limit."""
    share = (state.step + 1 + level) / state.settings.steps
    margin = state.margin if share >= 1 else 0.0
    rows = foreseen_rows(state.space, state.reward_settings.constraints)
    return tuple(relaxed(row, state.space, share).tightened(margin) for row in rows)


def _amount(state: State, before: Sequence[float], action: Distribution, aims: Sequence[Constraint]) -> float:
    even = state.settings.step_sparsity * sum(axis.width for axis in state.axes)
    if not aims:
        return even

    def is_enough(amount: float) -> bool:
        widths = remove_channels(before, action, amount, floors=floors_of(state))
        return fits(state.space, _candidate(state, widths), aims, state.correction)

    room = sum(before) - sum(floors_of(state))
    amount = smallest_amount(is_enough, least=min(_gap(state), even), most=room)
    return even if amount is None else amount


def _filled(
    state: State, before: Sequence[float], widths: Sequence[float], action: Distribution, aims: Sequence[Constraint]
) -> tuple[float, ...]:
    """Give back what fits, one allowed width at a time, first to the axes that the action takes least from."""
    chosen, most = list(rounded(state, widths)), rounded(state, before)
    for index in sorted(range(len(chosen)), key=lambda index: action[index]):
        for wider in (width for width in state.axes[index].widths if chosen[index] < width <= most[index]):
            trial = [*chosen[:index], wider, *chosen[index + 1 :]]
            if not fits(state.space, candidate_at(state.space, state.axes, trial), aims, state.correction):
                break
            chosen = trial
    return tuple(float(width) for width in chosen) if tuple(chosen) != most else tuple(widths)


def _gap(state: State) -> float:
    """Give the widest gap between allowed widths: a smaller amount may change nothing."""
    return max(wide - narrow for axis in state.axes for narrow, wide in pairwise(axis.widths))


def _candidate(state: State, widths: Sequence[float]) -> Candidate:
    return candidate_at(state.space, state.axes, rounded(state, widths))
