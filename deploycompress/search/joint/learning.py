"""How the policy of a joint search learns from its rollouts: REINFORCE (N2N, eq. 2) over orders of choices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from deploycompress.search.joint.choices import number
from deploycompress.search.joint.policy import tables
from deploycompress.search.joint.state import Rollout, State
from deploycompress.search.n2n.reinforce import Batch, Learning, Moments, entropy_of, moving_average, reinforced
from deploycompress.search.n2n.weights import from_text, one_thread, to_text
from deploycompress.search.reward import DEGENERATE_REWARD


def updated(state: State) -> State:
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
