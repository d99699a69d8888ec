"""How much reward each choice costs, from all students seen so far: Bayesian linear regression.

One-at-a-time scans look at single cuts of a whole teacher. Here whole students near the limit are looked at, so what is
learnt is the price of a choice where it is paid, and no evaluation is spent on a student that could not ship.
"""

from __future__ import annotations

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


def fitted(gone: Vector, rewards: Vector, probes: Mask, savings: Vector, whole: float) -> Sensitivities:
    """Fit losses to students.

    Before anything is seen, a choice costs what it saves, at the price that the students paid on average between the
    teacher and here. The strength of that belief is the one that foresees each student best from the others.

    Args:
        gone: what went of every choice in each student, shape [n, P].
        rewards: of the students, shape [n].
        probes: which of them were looked at on the way to the limit and with less training, shape [n]; they are
            compared with each other only.
        savings: of every choice when all of it goes, above zero, shape [P].
        whole: the teacher's reward.
    """
    count = len(rewards)
    before, after = _transformed(np.array([whole]), rewards), _transformed(rewards, rewards)
    lost = before[0] - after
    paid = float(lost.mean()) / float((gone @ savings).mean()) if count else 1.0
    price = max(paid, 0.5 * float(after.std()) / float(savings.max()) if count else 0.0, 1e-6)
    usual = price * savings
    if count < LEAST_STUDENTS or not after.std() > 0:
        return Sensitivities(mean=usual, root=np.diag(usual), least=LEAST_PRICE * usual)
    inputs = gone * savings / savings.mean()
    targets = lost - gone @ usual
    for some in (probes, ~probes):
        if some.any():
            inputs[some] -= inputs[some].mean(axis=0)
            targets[some] -= targets[some].mean()
    strength = min(STRENGTHS, key=lambda one: _left_out_error(inputs, targets, probes, one))
    covariance = np.linalg.inv(inputs.T @ inputs + strength * np.eye(len(savings)))
    deviation = covariance @ inputs.T @ targets
    noise = max(_left_out_error(inputs, targets, probes, strength), 1e-6)
    scale = savings / savings.mean()
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
