"""The joint search: survey, believe, roll out at the limit, learn.

The survey tries everything about equally often, in students at the limit. From then on every rollout believes in a
draw of the sensitivities, which becomes less bold towards the end, and the policy's own logits are learnt from the
rewards by REINFORCE (N2N, eq. 2) with a moving average as baseline.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from deploycompress.constraint import Constraint
from deploycompress.evaluation import Evaluation
from deploycompress.search.engine import Proposal, StopReason
from deploycompress.search.joint.choices import Vector, number
from deploycompress.search.joint.exchange import exchanged
from deploycompress.search.joint.policy import OTHERS, Task, first_weights, logits, rolled_out, tables
from deploycompress.search.joint.sensitivity import LEAST_PRICE, Sensitivities, fitted
from deploycompress.search.joint.settings import Settings
from deploycompress.search.joint.state import Rollout, State
from deploycompress.search.journal import Journal, check_answered, is_met, noted
from deploycompress.search.moves import applied, moves, undone
from deploycompress.search.n2n.policy_file import Policies
from deploycompress.search.n2n.policy_file import from_text as policies_from_text
from deploycompress.search.n2n.reinforce import Batch, Learning, Moments, entropy_of, moving_average, reinforced
from deploycompress.search.n2n.weights import from_text, one_thread, to_text
from deploycompress.search.near_limit import drawn, drawn_anew, is_guided
from deploycompress.search.reward import DEGENERATE_REWARD, RATIO_METRICS, RewardSettings, unconstrained
from deploycompress.search.space import Candidate, Space

RETRIES = 12
BOLDER = 1.3
MOST_SHAKES = 2


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
    return _drawn(state)


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
    journal = noted(state.journal, proposal.candidate, evaluation)
    state = replace(state, journal=_turned(journal))
    state = replace(state, whole=_whole(state, evaluation))
    is_enough = is_met(journal, evaluation)
    if evaluation.climb and not evaluation.is_degenerate and (is_enough or proposal.needs_accuracy):
        state = _with_seen(state, proposal.candidate, reward if is_enough else _untrained(state, evaluation), is_enough)
    told = replace(state.rollouts[-1], reward=reward)
    if reward > DEGENERATE_REWARD and is_enough:
        best = sorted((*state.elite, told), key=lambda one: -(one.reward or 0.0))
        state = replace(state, elite=tuple(best[: state.settings.elite]))
    state = replace(state, rollouts=(*state.rollouts[:-1], told))
    if len(state.rollouts) >= state.settings.rollouts:
        state = _updated(state)
    if journal.is_over:
        return replace(state, stop=StopReason.FINISHED)
    return _drawn(state)


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


def _drawn(state: State) -> State:
    """Add the next rollout, one that is new if that can be."""
    journal, rng = state.journal, state.journal.rng()
    if is_guided(journal.space, journal.rows, journal.correction):
        outlook, boldness = _outlook(state), _boldness(state)
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


def _outlook(state: State) -> _Outlook:
    journal = state.journal
    rows, choices, beliefs = journal.rows, number(journal.space), None
    if _is_survey(state):
        rows = tuple(_on_the_way(row, journal.space, state.settings.probe_depth) for row in rows)
    task = Task(choices=choices, rows=rows, correction=journal.correction)
    savings = task.savings()
    if not _is_survey(state):
        gone, probes = np.asarray(state.seen).reshape(-1, len(choices)), np.asarray(state.probes, dtype=np.bool_)
        beliefs = fitted(gone, np.asarray(state.rewards), probes, savings, state.whole)
    return _Outlook(task=task, savings=savings, logits=_logits(state, task), beliefs=beliefs)


def _on_the_way(row: Constraint, space: Space, depth: float) -> Constraint:
    """Put a limit between the teacher and where it is, at a share of the way."""
    if not row.metrics <= space.teacher.keys():
        return row
    whole = row.value(space.teacher)
    return replace(row, bound=min(max(whole - depth * (whole - row.bound), row.bound), whole))


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


def _is_survey(state: State) -> bool:
    return len(state.journal.seen) < state.settings.survey_share * state.journal.evaluations


def _boldness(state: State) -> float:
    chosen, journal = state.settings, state.journal
    begun = chosen.survey_share * journal.evaluations
    share = min(max((len(journal.seen) - begun) / max(journal.evaluations - begun, 1), 0.0), 1.0)
    return chosen.boldness + share * (chosen.last_boldness - chosen.boldness)


def _logits(state: State, task: Task) -> Vector:
    with one_thread(), torch.no_grad():
        found = logits(from_text(state.weights), task.choices).double().numpy()
    return np.asarray(found - found.mean())


def _updated(state: State) -> State:
    """Let the policy learn from the rollouts, and begin the next ones."""
    learning = [rollout for rollout in state.rollouts if rollout.taken]
    rewards = [_tamed(rollout.reward, _at_the_limit(state)) for rollout in learning]
    state = replace(state, rollouts=(), updates=state.updates + 1)
    if not learning:
        return state
    baseline = moving_average(state.baseline, rewards, state.settings.baseline_decay)
    expected = baseline if state.baseline is None else state.baseline
    state = replace(state, baseline=baseline)
    with one_thread():
        return _reinforced(state, learning, rewards, expected)


def _reinforced(state: State, learning: list[Rollout], rewards: list[float], expected: float) -> State:
    chosen = state.settings
    longest = max(len(rollout.taken) for rollout in learning)
    policy = tables(
        number(state.journal.space),
        [rollout.offset for rollout in learning],
        [rollout.taken for rollout in learning],
        chosen.temperature,
    )
    batch = Batch(
        actions=torch.tensor([(*one.taken, *[0] * (longest - len(one.taken))) for one in learning]),
        behaviour=torch.tensor([(*one.behaviour, *[0.0] * (longest - len(one.behaviour))) for one in learning]),
        rewards=torch.tensor(rewards, dtype=torch.float32),
        baseline=expected,
        scale=max(float(np.std(_at_the_limit(state) or (0.0, 1.0))), 1e-3),
    )
    weights = from_text(state.weights)
    table, _ = policy(weights, batch.actions)
    learning_how = Learning(rate=chosen.learning_rate, epochs=chosen.epochs, clip=chosen.clip, trust=chosen.trust)
    weights, moments = reinforced(policy, weights, _moments(state), batch, learning_how)
    return replace(
        state,
        weights=to_text(weights),
        moments=to_text(_flat(moments)),
        adam_steps=moments.steps,
        entropy=float(entropy_of(table.detach()).mean()),
    )


def _at_the_limit(state: State) -> tuple[float, ...]:
    """Give the rewards of students that met the limit."""
    return tuple(reward for reward, is_probe in zip(state.rewards, state.probes, strict=True) if not is_probe)


def _tamed(reward: float | None, others: tuple[float, ...]) -> float:
    """Bring a degenerate student near the others: the differences between good ones are hundredths."""
    if reward is None or reward <= DEGENERATE_REWARD:
        spread = float(np.std(others)) if len(others) > 1 else 0.0
        return min(others, default=DEGENERATE_REWARD) - spread
    return reward


def _moments(state: State) -> Moments:
    if not state.moments:
        return Moments()
    flat = from_text(state.moments)
    first = {name.removeprefix("first."): tensor for name, tensor in flat.items() if name.startswith("first.")}
    second = {name.removeprefix("second."): tensor for name, tensor in flat.items() if name.startswith("second.")}
    return Moments(steps=state.adam_steps, first=first, second=second)


def _flat(moments: Moments) -> dict[str, torch.Tensor]:
    first = {f"first.{name}": tensor for name, tensor in moments.first.items()}
    return first | {f"second.{name}": tensor for name, tensor in moments.second.items()}
