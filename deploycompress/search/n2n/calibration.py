"""Where a policy starts: its output bias is set so that what it takes away at first is about what the limit asks for.

Only the bias moves, by the same amount for all layers, so that the order a trained policy learnt stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from deploycompress.search import costs
from deploycompress.search.n2n.features import Decision
from deploycompress.search.n2n.limits import Limit, shortfall, sized
from deploycompress.search.n2n.networks import ACTIONS
from deploycompress.search.n2n.removal import keep_logits
from deploycompress.search.n2n.shrinkage import drawn, size_of
from deploycompress.search.n2n.weights import Weights

LARGEST_SHIFT = 8.0
LARGEST_TILT = 1.5  # per action; the widest is then e^13 times as likely as the narrowest
HALVINGS = 12
SAMPLES = 24


def with_removal_bias(weights: Weights, limit: Limit, part: float) -> dict[str, Tensor]:
    """Shift the keep logits so that the expected saving of the blocks is a part of what must be saved."""
    logits = np.asarray(keep_logits(weights, limit.space))

    def misses(shift: float) -> float:
        gone = 1 / (1 + np.exp(logits + shift))
        blocks = limit.space.removals
        saved = {
            name: sum(share * block.savings.get(name, 0.0) for share, block in zip(gone, blocks, strict=True))
            for name in limit.space.teacher
        }
        return shortfall(limit, saved, part)

    shift = _largest(misses, LARGEST_SHIFT)
    return {**weights, "policy.bias": weights["policy.bias"] + shift}


def with_shrinkage_bias(
    weights: Weights, limit: Limit, remove: Sequence[str], asked: Sequence[Decision], seed: Sequence[int]
) -> dict[str, Tensor]:
    """Tilt the actions' logits towards wide or narrow so that sampled students save on average what must be saved."""
    tilt = torch.arange(len(ACTIONS), dtype=torch.float32) - (len(ACTIONS) - 1)

    def tilted(share: float) -> dict[str, Tensor]:
        return {**weights, "policy.bias": weights["policy.bias"] + share * tilt}

    def misses(share: float) -> float:
        rollouts = drawn(tilted(share), limit.space, asked, SAMPLES, np.random.default_rng(seed))
        return shortfall(limit, _mean_saving(limit, remove, asked, rollouts), 1.0)

    return tilted(_largest(misses, LARGEST_TILT))


def _mean_saving(
    limit: Limit, remove: Sequence[str], asked: Sequence[Decision], rollouts: np.ndarray
) -> Mapping[str, float]:
    total = dict.fromkeys(limit.space.teacher, 0.0)
    for actions in rollouts:
        sizes = [size_of(one, int(action)) for one, action in zip(asked, actions, strict=True)]
        foreseen = costs.forecast(limit.space, sized(limit.space, remove, asked, sizes))
        for name, whole in limit.space.teacher.items():
            total[name] += (whole - foreseen[name]) / len(rollouts)
    return total


def _largest(misses: Callable[[float], float], bound: float) -> float:
    """Find the largest number in [-bound, bound] at which nothing misses; what misses must grow with it."""
    low, high = -bound, bound
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if misses(middle) > 0 else (middle, high)
    return low
