"""Policy gradients (N2N, section 3.4): what rollouts and their rewards do to a policy's tensors.

Knows nothing of layers or students: a policy is a function from tensors and actions to tables of log-probabilities.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from deploycompress.search.n2n.weights import Weights

Tables = Callable[[Weights, Tensor], tuple[Tensor, Tensor | None]]
"""Policy: tensors and actions [K, D] to log-probabilities [K, D, A] and, with a critic, values [K, D]: rewards as
foreseen, relative to the baseline and in units of the scale, so that a critic that has learnt nothing does no harm."""

VALUE_WEIGHT = 0.5
DECAYS = (0.9, 0.999)  # Adam's usual ones
TINY = 1e-8
MOST_HALVINGS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Learning:
    """How to learn; see `Settings` for what the numbers mean."""

    rate: float
    epochs: int = 1
    clip: float = 0.3
    trust: float = 0.0
    entropy_weight: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Rollouts to learn from.

    Attributes:
        actions: index of every action taken, shape [K, D].
        behaviour: its log-probability when it was taken, shape [K, D].
        rewards: of each rollout, shape [K].
        baseline: what rewards are compared with; a critic's values are added to it.
        scale: what advantages are divided by.
    """

    actions: Tensor
    behaviour: Tensor
    rewards: Tensor
    baseline: float
    scale: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Adam's memory.

    Attributes:
        steps: taken so far.
        first: running mean of the gradients, by tensor; missing before the first step.
        second: running mean of their squares.
    """

    steps: int = 0
    first: Weights = field(default_factory=dict)
    second: Weights = field(default_factory=dict)


def moving_average(baseline: float | None, rewards: Sequence[float], decay: float) -> float:
    """Follow the rewards of one update; the first update sets the average."""
    mean = sum(rewards) / len(rewards)
    return mean if baseline is None else decay * baseline + (1 - decay) * mean


def loss_of(tables: Tables, weights: Weights, batch: Batch, learning: Learning) -> Tensor:
    """Compute what gradient descent lowers; its gradient on fresh rollouts is eq. 2 with the sign turned."""
    table_kda, value_kd = tables(weights, batch.actions)
    taken_kd = table_kda.gather(2, batch.actions.unsqueeze(2)).squeeze(2)
    ratio_kd = torch.exp(taken_kd - batch.behaviour)
    relative_k = (batch.rewards.unsqueeze(1) - batch.baseline) / batch.scale
    advantage_kd = relative_k if value_kd is None else relative_k - value_kd.detach()
    clipped_kd = ratio_kd.clamp(1 - learning.clip, 1 + learning.clip)
    gained = torch.minimum(ratio_kd * advantage_kd, clipped_kd * advantage_kd).sum(1).mean()
    loss = -gained - learning.entropy_weight * entropy_of(table_kda).sum(1).mean()
    if value_kd is not None:
        loss = loss + VALUE_WEIGHT * (relative_k - value_kd).square().sum(1).mean()
    return loss


def entropy_of(table: Tensor) -> Tensor:
    """Give the entropy of each decision in nats from log-probabilities, shape [...] from [..., A]."""
    return -(table.exp() * table).sum(-1)


def reinforced(
    tables: Tables, weights: Weights, moments: Moments, batch: Batch, learning: Learning
) -> tuple[dict[str, Tensor], Moments]:
    """Update a policy by some gradient steps on rollouts.

    Args:
        tables: the policy.
        weights: its tensors.
        moments: Adam's memory.
        batch: rollouts.
        learning: how.

    Returns:
        New tensors and memory; those given are not changed.
    """
    current = dict(weights)
    with torch.no_grad():
        before, _ = tables(weights, batch.actions)
    for _ in range(learning.epochs):
        gradients = _gradients(tables, current, batch, learning)
        moments = _remembered(moments, gradients)
        step = {name: _adam_step(moments, name, learning.rate) for name in current}
        moved = _trusted(tables, current, step, batch, before, learning.trust)
        if moved is None:
            break
        current = moved
    return current, moments


def _gradients(tables: Tables, weights: Weights, batch: Batch, learning: Learning) -> dict[str, Tensor]:
    leaves = {name: tensor.detach().requires_grad_() for name, tensor in weights.items()}
    with torch.enable_grad():
        loss = loss_of(tables, leaves, batch, learning)
    # A space without blocks leaves the removal policy out of the loss: what was not used has gradient zero.
    found = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True, materialize_grads=True)
    return dict(zip(leaves, found, strict=True))


def _remembered(moments: Moments, gradients: Weights) -> Moments:
    fast, slow = DECAYS
    first = {
        name: gradient * (1 - fast) + fast * moments.first.get(name, torch.zeros_like(gradient))
        for name, gradient in gradients.items()
    }
    second = {
        name: gradient.square() * (1 - slow) + slow * moments.second.get(name, torch.zeros_like(gradient))
        for name, gradient in gradients.items()
    }
    return Moments(steps=moments.steps + 1, first=first, second=second)


def _adam_step(moments: Moments, name: str, rate: float) -> Tensor:
    mean = moments.first[name] / (1 - DECAYS[0] ** moments.steps)
    square = moments.second[name] / (1 - DECAYS[1] ** moments.steps)
    return -rate * mean / (square.sqrt() + TINY)


def _trusted(
    tables: Tables, weights: Weights, step: Weights, batch: Batch, before: Tensor, trust: float
) -> dict[str, Tensor] | None:
    """Take a step, halved until the policy stays near what it was before the update; none if it never does."""
    share = 1.0
    for _ in range(MOST_HALVINGS):
        moved = {name: tensor + share * step[name] for name, tensor in weights.items()}
        if not trust or _divergence(tables, moved, batch, before) <= trust:
            return moved
        share /= 2
    return None


def _divergence(tables: Tables, weights: Weights, batch: Batch, before: Tensor) -> float:
    with torch.no_grad():
        after, _ = tables(weights, batch.actions)
    return float((before.exp() * (before - after)).sum(-1).mean())
