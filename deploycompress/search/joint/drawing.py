"""How the next student of a joint search is drawn: a probe in the survey, then a rollout or one of the best, shaken."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from deploycompress.search.joint import survey
from deploycompress.search.joint.choices import Vector, number
from deploycompress.search.joint.exchange import exchanged
from deploycompress.search.joint.policy import Task, logits, rolled_out
from deploycompress.search.joint.sensitivity import LEAST_PRICE, Sensitivities, first_belief, fitted
from deploycompress.search.joint.state import Rollout, State
from deploycompress.search.journal import Journal
from deploycompress.search.moves import applied, moves, undone
from deploycompress.search.n2n.weights import from_text, one_thread
from deploycompress.search.near_limit import drawn, drawn_anew, is_guided
from deploycompress.search.space import Candidate

RETRIES = 12
BOLDER = 1.3
MOST_SHAKES = 2


def with_next(state: State) -> State:
    """Add the next rollout, one that is new if that can be."""
    rng = state.journal.rng()
    single = survey.next_single(state)
    if single is not None:
        choice, candidate = single
        rollout = Rollout(candidate=candidate, is_probe=True, single=choice)
        return replace(state, rollouts=(*state.rollouts, rollout))
    journal = state.informed()
    if is_guided(journal.space, journal.rows, journal.correction):
        outlook, boldness = _outlook(state, journal), _boldness(state)
        for _ in range(RETRIES):
            rollout = _rollout(state, outlook, rng, boldness)
            if not journal.has_seen(rollout.candidate):
                return replace(state, rollouts=(*state.rollouts, rollout))
            boldness *= BOLDER
    rollout = Rollout(candidate=drawn_anew(journal, lambda source: drawn(journal, source)))
    return replace(state, rollouts=(*state.rollouts, rollout))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outlook:
    """What a rollout is drawn from: the limit, the policy's logits, and after the survey the losses to expect."""

    task: Task
    savings: Vector
    logits: Vector
    beliefs: Sensitivities | None


def _outlook(state: State, journal: Journal) -> _Outlook:
    rows, choices, beliefs = journal.rows, number(journal.space), None
    if survey.is_on(state):
        rows = tuple(survey.on_the_way(row, journal.space, state.settings.probe_depth) for row in rows)
    task = Task(choices=choices, rows=rows, correction=journal.correction)
    savings = task.savings()
    if not survey.is_on(state):
        gone, probes = np.asarray(state.seen).reshape(-1, len(choices)), np.asarray(state.probes, dtype=np.bool_)
        prior = first_belief(savings, state.singles, state.settings.singles_weight)
        beliefs = fitted(gone, np.asarray(state.rewards), probes, prior, state.whole)
    return _Outlook(task=task, savings=savings, logits=_logits(state, task), beliefs=beliefs)


def _rollout(state: State, outlook: _Outlook, rng: np.random.Generator, boldness: float) -> Rollout:
    """Roll the policy out; after the survey the sensitivities it believes in then say what to exchange."""
    task, savings = outlook.task, outlook.savings
    if outlook.beliefs is None:
        return _probe(state, outlook, rng)
    losses = outlook.beliefs.drawn(rng, boldness)
    price = losses / savings
    usual = float(price.mean())
    believed = np.maximum(losses - outlook.logits * usual * savings, LEAST_PRICE * usual * savings)
    if state.elite and rng.random() < state.settings.local_share:
        start = _shaken(state, task, rng)
        return Rollout(candidate=exchanged(task, start, believed, 0))
    rollout = _policy_rollout(state, outlook, -state.settings.sensitivity_weight * price / usual, rng)
    better = exchanged(task, rollout.candidate, believed, state.settings.exchanges)
    return replace(rollout, candidate=better)


def _probe(state: State, outlook: _Outlook, rng: np.random.Generator) -> Rollout:
    """Take steps on the way to the limit, those first that were tried least."""
    rollout = _policy_rollout(state, outlook, _rarity(state, len(outlook.savings)), rng)
    if state.settings.probe_depth < 1:
        return Rollout(candidate=rollout.candidate, is_probe=True)
    return rollout


def _policy_rollout(state: State, outlook: _Outlook, offset: Vector, rng: np.random.Generator) -> Rollout:
    preference = outlook.logits + offset
    candidate, taken, behaviour = rolled_out(outlook.task, preference, rng, state.settings.temperature)
    return Rollout(candidate=candidate, offset=tuple(offset.tolist()), taken=taken, behaviour=behaviour)


def _shaken(state: State, task: Task, rng: np.random.Generator) -> Candidate:
    """Take one of the best students and let one or two things return or go."""
    space = task.choices.space
    start = state.elite[int(rng.integers(len(state.elite)))].candidate
    for _ in range(int(rng.integers(1, MOST_SHAKES + 1))):
        around = undone(space, start)
        if rng.random() < 0.5 or not around:
            around = tuple(applied(space, start, move) for move in moves(space, start))
        start = around[int(rng.integers(len(around)))] if around else start
    return start


def _rarity(state: State, choices: int) -> Vector:
    """Prefer in the survey what was tried least."""
    used = np.asarray(state.seen).reshape(-1, choices).sum(axis=0)
    return np.asarray(used.mean() - used)


def _boldness(state: State) -> float:
    chosen, journal = state.settings, state.journal
    begun = survey.length(state)
    share = min(max((len(journal.seen) - begun) / max(journal.evaluations - begun, 1), 0.0), 1.0)
    return chosen.boldness + share * (chosen.last_boldness - chosen.boldness)


def _logits(state: State, task: Task) -> Vector:
    with one_thread(), torch.no_grad():
        found = logits(from_text(state.weights), task.choices).double().numpy()
    return np.asarray(found - found.mean())
