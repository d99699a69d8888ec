"""How much reward each choice costs, from all students seen so far: Bayesian linear regression.

The first belief is what choices cost that were tried alone, in an otherwise whole teacher. Students near the limit then
tell the price of a choice where it is paid.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deploycompress.search.joint.choices import Vector

Mask = NDArray[np.bool_]

STRENGTHS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
LEAST_STUDENTS = 4
EDGE = 0.02
LEAST_PRICE = 0.05  # of the usual one: nothing goes for free


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivities:
    """What is believed of the losses.

    Attributes:
        mean: loss of (transformed) reward when all of a choice goes, shape [P].
        root: matrix whose product with standard normal numbers is a deviation from the mean, shape [P, P].
        least: below which no loss is believed, shape [P].
    """

    mean: Vector
    root: Vector
    least: Vector

    def drawn(self, rng: np.random.Generator, boldness: float) -> Vector:
        """Draw losses that are believable (Thompson sampling)."""
        found = self.mean + boldness * (self.root @ rng.standard_normal(len(self.mean)))
        return np.maximum(found, self.least)


def first_belief(savings: Vector, singles: Mapping[int, float], weight: float) -> Vector:
    """Say what choices cost relative to each other before whole students are seen, shape [P], above zero.

    Args:
        savings: of every choice when all of it goes, above zero, shape [P].
        singles: what choices cost that were tried alone.
        weight: of these; the rest is what a choice saves, which is all that is known of one that was not tried.
    """
    by_savings = np.asarray(savings / savings.mean())
    known = list(singles)
    usual = float(np.mean(list(singles.values()))) if singles else 0.0
    if not usual > 0:
        return by_savings
    belief = by_savings.copy()
    # Both say the same of the tried choices together; what differs is how they share it out.
    tried = np.array([singles[choice] for choice in known]) / usual * float(by_savings[known].mean())
    belief[known] = weight * tried + (1 - weight) * by_savings[known]
    return np.asarray(np.maximum(belief, LEAST_PRICE))


def fitted(gone: Vector, rewards: Vector, probes: Mask, prior: Vector, whole: float) -> Sensitivities:
    """Fit losses to students.

    Before anything is seen, choices cost what the first belief says, times what the students lost on average between
    the teacher and here. The strength of that belief is the one that foresees each student best from the others.

    Args:
        gone: what went of every choice in each student, shape [n, P].
        rewards: of the students, shape [n].
        probes: which of them were looked at on the way to the limit and with less training, shape [n]; they are
            compared with each other only.
        prior: the first belief, above zero, shape [P].
        whole: the teacher's reward.
    """
    count = len(rewards)
    before, after = _transformed(np.array([whole]), rewards), _transformed(rewards, rewards)
    lost = before[0] - after
    paid = float(lost.mean()) / float((gone @ prior).mean()) if count else 1.0
    price = max(paid, 0.5 * float(after.std()) / float(prior.max()) if count else 0.0, 1e-6)
    usual = price * prior
    if count < LEAST_STUDENTS or not after.std() > 0:
        return Sensitivities(mean=usual, root=np.diag(usual), least=LEAST_PRICE * usual)
    inputs = gone * prior / prior.mean()
    targets = lost - gone @ usual
    for some in (probes, ~probes):
        if some.any():
            inputs[some] -= inputs[some].mean(axis=0)
            targets[some] -= targets[some].mean()
    strength = min(STRENGTHS, key=lambda one: _left_out_error(inputs, targets, probes, one))
    covariance = np.linalg.inv(inputs.T @ inputs + strength * np.eye(len(prior)))
    deviation = covariance @ inputs.T @ targets
    noise = max(_left_out_error(inputs, targets, probes, strength), 1e-6)
    scale = prior / prior.mean()
    return Sensitivities(
        mean=usual + scale * deviation,
        root=scale[:, None] * np.linalg.cholesky(covariance * noise),
        least=LEAST_PRICE * usual,
    )


def _transformed(values: Vector, rewards: Vector) -> Vector:
    """Stretch rewards that lie between 0 and 1 by their log-odds: losses add up better there."""
    if len(rewards) and rewards.min() >= 0 and rewards.max() <= 1:
        inside = np.clip(values, EDGE, 1 - EDGE)
        return np.asarray(np.log(inside / (1 - inside)))
    return values


def _left_out_error(inputs: Vector, targets: Vector, probes: Mask, strength: float) -> float:
    """Give the mean squared error of foreseeing each student from the others of its kind, in closed form."""
    covariance = np.linalg.inv(inputs.T @ inputs + strength * np.eye(inputs.shape[1]))
    is_alike = probes[:, None] == probes
    hat = inputs @ covariance @ inputs.T + is_alike / is_alike.sum(axis=1)
    errors = (targets - hat @ targets) / np.maximum(1 - np.diag(hat), 1e-3)
    return float((errors**2).mean())
