"""Stage two's policy (N2N, section 3.2.2): an autoregressive LSTM that says how much of each width or kernel stays."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from deploycompress.search.n2n.features import Decision, decision_features
from deploycompress.search.n2n.networks import ACTIONS, FIRST_ACTION, SHRINKAGE, hidden_states, logits_of, values_of
from deploycompress.search.n2n.reinforce import Tables
from deploycompress.search.n2n.weights import Weights
from deploycompress.search.space import Space, snap


def size_of(decision: Decision, action: int) -> int:
    """Turn an action into an allowed width or extent, the one nearest to its share of the teacher's."""
    return snap(ACTIONS[action] * decision.sizes[-1], decision.sizes)


def drawn(
    weights: Weights, space: Space, asked: Sequence[Decision], rollouts: int, generator: np.random.Generator
) -> np.ndarray:
    """Draw actions step by step, each from what was drawn before.

    Returns:
        Indices into `ACTIONS`, shape [M, D].
    """
    rows, hidden = torch.tensor(decision_features(space, tuple(asked))), None
    previous, taken = torch.full((rollouts, 1), FIRST_ACTION), []
    with torch.no_grad():
        for row in rows:
            inputs = torch.cat((row.expand(rollouts, -1), previous), dim=1).unsqueeze(1)
            read, hidden = hidden_states(SHRINKAGE, weights, inputs, hidden)
            shares = torch.softmax(logits_of(weights, read[:, 0]).double(), dim=1).numpy().cumsum(axis=1)
            picked = (generator.random((rollouts, 1)) * shares[:, -1:] > shares).sum(axis=1)
            taken.append(picked)
            previous = torch.tensor(ACTIONS)[torch.from_numpy(picked)].unsqueeze(1)
    return np.stack(taken, axis=1) if taken else np.zeros((rollouts, 0), dtype=np.int64)


def tables(space: Space, asked: Sequence[Decision]) -> Tables:
    """Make the policy as `reinforce` wants it; actions are indices into `ACTIONS` for each decision asked."""
    rows = torch.tensor(decision_features(space, tuple(asked)))

    def policy(weights: Weights, actions: Tensor) -> tuple[Tensor, Tensor | None]:
        rollouts = actions.shape[0]
        first = torch.full((rollouts, 1), FIRST_ACTION)
        previous = torch.cat((first, torch.tensor(ACTIONS)[actions[:, :-1]]), dim=1).unsqueeze(2)
        read, _ = hidden_states(SHRINKAGE, weights, torch.cat((rows.expand(rollouts, -1, -1), previous), dim=2))
        table = functional.log_softmax(logits_of(weights, read), dim=2)
        return table, values_of(weights, read) if "critic.weight" in weights else None

    return policy
