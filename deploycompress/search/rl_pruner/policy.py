"""The pruning distribution: how the channels to remove are shared among the dimensions, and how that is learnt."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

Distribution = tuple[float, ...]

ATTEMPTS = 16


def initial_policy(widths: Sequence[int]) -> Distribution:
    """Share by channel density: every channel of every dimension is as likely to go.

    Args:
        widths: channels of the teacher in each dimension, shape [D].
    """
    total = sum(widths)
    return tuple(width / total for width in widths)


def sample_action(policy: Distribution, *, variance: float, rng: np.random.Generator) -> Distribution:
    """Draw an action around the policy: Gaussian noise on every entry, negative entries to zero, normalised.

    A draw in which every entry falls to zero is repeated; after `ATTEMPTS` of them the action is the policy.

    Args:
        policy: distribution over the dimensions, shape [D].
        variance: of the noise on each entry.
        rng: advanced by the draw.
    """
    for _ in range(ATTEMPTS):
        noise = rng.normal(0.0, math.sqrt(variance), len(policy))
        action = np.maximum(np.asarray(policy) + noise, 0.0)  # RL-Pruner, eq. 11 and 12
        if action.sum() > 0:
            return _normalised(action)
    return policy


def updated_policy(policy: Distribution, action: Distribution, *, step_size: float, clip_ratio: float) -> Distribution:
    """Move the policy towards an action by a step, no entry by more than a ratio, and normalise.

    The sum of equation 19 is not a distribution, so the result of equation 20 is normalised; without clipping that
    moves the policy the share lambda / (1 + lambda) of the way to the action. As no entry of an action is negative,
    the lower bound of the clip is kept for the formula's sake only: entries fall by the normalisation.
    """
    before = np.asarray(policy)
    ratio = (before + step_size * np.asarray(action)) / before  # RL-Pruner, eq. 19
    return _normalised(np.clip(ratio, 1 - clip_ratio, 1 + clip_ratio) * before)  # RL-Pruner, eq. 20


def _normalised(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Distribution:
    return tuple(float(value) for value in values / values.sum())


def entropy_of(policy: Distribution) -> float:
    """Compute the entropy in nats, not normalised: ln D for D entries that share alike."""
    return -sum(share * math.log(share) for share in policy if share > 0)
