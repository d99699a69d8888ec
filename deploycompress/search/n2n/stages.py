"""What each of the two stages draws, and how its policy learns from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from deploycompress.search.n2n import removal, shrinkage
from deploycompress.search.n2n.features import Decision, decisions
from deploycompress.search.n2n.limits import Limit, evenly_narrowed, limited_actions, limited_removal, sized
from deploycompress.search.n2n.networks import ACTIONS
from deploycompress.search.n2n.reinforce import (
    Batch,
    Learning,
    Moments,
    Tables,
    entropy_of,
    moving_average,
    reinforced,
)
from deploycompress.search.n2n.removal import KEEP, REMOVE
from deploycompress.search.n2n.settings import Settings
from deploycompress.search.n2n.state import Rollout, Stage, State
from deploycompress.search.n2n.weights import Weights, from_text, to_text
from deploycompress.search.reward import DEGENERATE_REWARD

LEAST_SPREAD = 1e-4
TRIES = 12  # draws for a rollout that was not seen before, after which a known one is taken


def limit_of(state: State) -> Limit:
    """Give the limit as it is foreseen now; without rows where rollouts are not brought to it."""
    rows = state.reward_settings.constraints if state.settings.meets_limits else ()
    counted = 1 - state.reserve
    correction = {name: counted * state.correction.get(name, 1.0) for name in state.space.teacher}
    foreseen = tuple(row for row in rows if row.metrics <= state.space.teacher.keys())
    return Limit(space=state.space, rows=foreseen, correction=correction)


def asked_of(state: State) -> tuple[Decision, ...]:
    """List what the second stage decides on the first one's best student."""
    return decisions(state.space, state.space.gone(state.best.remove))


def tables_of(state: State) -> Tables:
    """Give the learning policy."""
    if state.stage is Stage.REMOVAL:
        return removal.tables(state.space)
    return shrinkage.tables(state.space, asked_of(state))


def weights_of(state: State) -> dict[str, Tensor]:
    """Give the learning policy's tensors."""
    return from_text(state.removal if state.stage is Stage.REMOVAL else state.shrinkage)


def with_weights(state: State, weights: Weights) -> State:
    """Replace the learning policy's tensors."""
    text = to_text(weights)
    return replace(state, removal=text) if state.stage is Stage.REMOVAL else replace(state, shrinkage=text)


def drawn(state: State, count: int) -> State:
    """Sample the rollouts of the coming update."""
    generator = np.random.default_rng((state.seed, state.draws))
    weights, limit = weights_of(state), limit_of(state)
    rollouts: list[Rollout] = []
    known = set(state.seen)
    for _ in range(TRIES):
        missing = count - len(rollouts)
        sample = _removals if state.stage is Stage.REMOVAL else _shrinkages
        latest = sample(state, weights, limit, missing, generator)
        for rollout in latest:
            if rollout.name not in known:
                rollouts.append(rollout)
                known.add(rollout.name)
        if len(rollouts) == count:
            break
    else:
        rollouts += latest[: count - len(rollouts)]
    entropy = _entropy(state, weights, rollouts)
    return replace(state, pending=tuple(rollouts), draws=state.draws + 1, entropy=entropy)


def learnt(state: State) -> State:
    """Update the learning policy from the answered rollouts."""
    settings = state.settings
    fresh = tuple(rollout for rollout in state.pending if rollout.reward is not None)
    kept = (*state.learnt, *fresh)[-settings.memory * settings.rollouts :]
    known = [rollout.reward for rollout in kept if rollout.reward is not None]
    rewards, scale = levelled(known) if settings.normalises else (known, 1.0)
    baseline = moving_average(state.baseline, rewards[-len(fresh) :], settings.baseline_decay)
    batch = Batch(
        actions=torch.tensor([rollout.actions for rollout in kept], dtype=torch.int64),
        behaviour=torch.tensor([rollout.behaviour for rollout in kept]),
        rewards=torch.tensor(rewards),
        baseline=baseline,
        scale=scale,
    )
    moments = _moments(state)
    weights, moments = reinforced(tables_of(state), weights_of(state), moments, batch, _learning(state))
    state = replace(
        state,
        baseline=baseline,
        learnt=kept,
        pending=(),
        updates=state.updates + 1,
        all_updates=state.all_updates + 1,
        moments=to_text({f"{which}.{name}": tensor for which, name, tensor in _named(moments)}),
        adam_steps=moments.steps,
    )
    return with_weights(state, weights)


def levelled(rewards: Sequence[float]) -> tuple[list[float], float]:
    """Bring degenerate rewards to just below the others, and give the spread of what results."""
    useful = [reward for reward in rewards if reward > DEGENERATE_REWARD]
    if not useful:
        return list(rewards), 1.0
    spread = max(float(np.std(useful)), LEAST_SPREAD)
    levels = [max(reward, min(useful) - spread) for reward in rewards]
    return levels, max(float(np.std(levels)), LEAST_SPREAD)


def _removals(
    state: State, weights: Weights, limit: Limit, count: int, generator: np.random.Generator
) -> list[Rollout]:
    logits = np.asarray(removal.keep_logits(weights, state.space))
    rollouts = []
    for _ in range(count):
        # A block stays when its logit plus logistic noise is positive: that has the policy's probability.
        scores = logits + generator.logistic(size=len(logits))
        remove = limited_removal(limit, [float(score) for score in scores])
        actions = tuple(REMOVE if block.block in remove else KEEP for block in state.space.removals)
        behaviour = removal.log_probabilities(logits.tolist(), actions)
        candidate = evenly_narrowed(limit, remove, generator)
        rollouts.append(Rollout(actions=actions, behaviour=behaviour, candidate=candidate))
    return rollouts


def _shrinkages(
    state: State, weights: Weights, limit: Limit, count: int, generator: np.random.Generator
) -> list[Rollout]:
    asked, remove = asked_of(state), state.best.remove
    sampled = shrinkage.drawn(weights, state.space, asked, count, generator)
    policy = shrinkage.tables(state.space, asked)
    preference = _table(policy, weights, sampled) + generator.gumbel(size=(*sampled.shape, len(ACTIONS)))
    limited = np.asarray(
        [
            limited_actions(limit, remove, asked, [int(action) for action in row], wanted)
            for row, wanted in zip(sampled, preference, strict=True)
        ]
    )
    behaviour = np.take_along_axis(_table(policy, weights, limited), limited[:, :, None], axis=2)[:, :, 0]
    rollouts = []
    for actions, log_probabilities in zip(limited.tolist(), behaviour.tolist(), strict=True):
        sizes = [shrinkage.size_of(one, action) for one, action in zip(asked, actions, strict=True)]
        candidate = sized(state.space, remove, asked, sizes)
        rollouts.append(Rollout(actions=tuple(actions), behaviour=tuple(log_probabilities), candidate=candidate))
    return rollouts


def _table(policy: Tables, weights: Weights, actions: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        table, _ = policy(weights, torch.from_numpy(np.ascontiguousarray(actions)))
    return table.double().numpy()


def _entropy(state: State, weights: Weights, rollouts: Sequence[Rollout]) -> float:
    actions = torch.tensor([rollout.actions for rollout in rollouts], dtype=torch.int64)
    with torch.no_grad():
        table, _ = tables_of(state)(weights, actions)
        return float(entropy_of(table).mean())


def _learning(state: State) -> Learning:
    settings: Settings = state.settings
    is_removal = state.stage is Stage.REMOVAL
    return Learning(
        rate=settings.removal_learning_rate if is_removal else settings.shrinkage_learning_rate,
        epochs=settings.epochs,
        clip=settings.clip,
        trust=settings.trust,
        entropy_weight=settings.entropy_weight,
    )


def _moments(state: State) -> Moments:
    if not state.moments:
        return Moments()
    tensors = from_text(state.moments)
    parts = {
        which: {name.removeprefix(f"{which}."): tensor for name, tensor in tensors.items() if name.startswith(which)}
        for which in ("first", "second")
    }
    return Moments(steps=state.adam_steps, first=parts["first"], second=parts["second"])


def _named(moments: Moments) -> list[tuple[str, str, Tensor]]:
    first = [("first", name, tensor) for name, tensor in moments.first.items()]
    return first + [("second", name, tensor) for name, tensor in moments.second.items()]
