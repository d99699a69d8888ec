"""Stage one's policy (N2N, section 3.2.1): a bidirectional LSTM over all layers, one keep logit for every block.

Works on plain data, so that other engines may use it: tensors come in and go out by name.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from deploycompress.search.n2n.features import layer_features
from deploycompress.search.n2n.networks import REMOVAL, hidden_states, logits_of, values_of
from deploycompress.search.n2n.reinforce import Tables
from deploycompress.search.n2n.weights import Weights
from deploycompress.search.space import Space

REMOVE, KEEP = 0, 1


def keep_logits(weights: Weights, space: Space) -> tuple[float, ...]:
    """Give every removable block's keep logit: the mean of its layers', one for each of `space.removals`."""
    with torch.no_grad():
        logits, _ = _forward(weights, torch.tensor([layer_features(space)]), _membership(space))
    return tuple(logits.tolist())


def keep_probabilities(weights: Weights, space: Space) -> tuple[float, ...]:
    """Give every removable block's probability to stay."""
    return tuple(torch.sigmoid(torch.tensor(keep_logits(weights, space))).tolist())


def log_probabilities(logits: Sequence[float], actions: Sequence[int]) -> tuple[float, ...]:
    """Give the log-probability of each decision, `KEEP` or `REMOVE`."""
    signs = torch.tensor([1.0 if action == KEEP else -1.0 for action in actions])
    return tuple(functional.logsigmoid(signs * torch.tensor(logits)).tolist())


def tables(space: Space) -> Tables:
    """Make the policy as `reinforce` wants it; actions are `REMOVE` or `KEEP` for each of `space.removals`."""
    inputs, membership = torch.tensor([layer_features(space)]), _membership(space)

    def policy(weights: Weights, actions: Tensor) -> tuple[Tensor, Tensor | None]:
        logits_d, value_d = _forward(weights, inputs, membership)
        table_da = torch.stack((functional.logsigmoid(-logits_d), functional.logsigmoid(logits_d)), dim=1)
        rollouts = actions.shape[0]
        values = None if value_d is None else value_d.expand(rollouts, -1)
        return table_da.expand(rollouts, -1, -1), values

    return policy


def _forward(weights: Weights, inputs: Tensor, membership: Tensor) -> tuple[Tensor, Tensor | None]:
    read, _ = hidden_states(REMOVAL, weights, inputs)
    logits_d = membership @ logits_of(weights, read)[0, :, 0]
    value_d = membership @ values_of(weights, read)[0] if "critic.weight" in weights else None
    return logits_d, value_d


def _membership(space: Space) -> Tensor:
    """Give each block's layers their equal shares, shape [D, T]."""
    shares = torch.zeros(len(space.removals), len(space.layers))
    for row, removal in enumerate(space.removals):
        for index in removal.layers:
            shares[row, index] = 1 / len(removal.layers)
    return shares
