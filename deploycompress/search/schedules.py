"""How fast exploration and the tolerance of broken constraints fade."""

from __future__ import annotations

import math
from enum import StrEnum


class Decay(StrEnum):
    """Shape of a fall from one to zero over a window."""

    CONSTANT = "constant"
    LINEAR = "linear"
    COSINE = "cosine"


class Annealing(StrEnum):
    """How a broken constraint is tolerated over the search; `hard` never does."""

    HARD = "hard"
    LINEAR = "linear"
    COSINE = "cosine"


def decayed(decay: Decay, fraction: float) -> float:
    """Give the value in [0, 1] at a fraction of the window; after the window every shape is zero."""
    if fraction >= 1:
        return 0.0
    if decay is Decay.CONSTANT:
        return 1.0
    if decay is Decay.LINEAR:
        return 1 - fraction
    return (1 + math.cos(math.pi * fraction)) / 2


def exploration_rate(initial: float, decay: Decay, *, step: int, steps: int, share: float) -> float:
    """Give the probability of choosing a random action of the replay buffer.

    RL-Pruner, section 4.1: it falls from its initial value to zero over the first share of the pruning steps.
    The first step is always inside the window.

    Args:
        initial: probability at the first step.
        decay: shape of the fall.
        step: pruning step, from 0.
        steps: number of pruning steps.
        share: share of the steps in which there is exploration, in [0, 1].
    """
    window = share * steps
    return initial * decayed(decay, step / window) if window > 0 else 0.0


def tolerance(annealing: Annealing, progress: float) -> float:
    """Give epsilon_t of N2N section 3.3.1: what share of its reward a student keeps that breaks a constraint.

    Args:
        annealing: shape of the fall from 1.
        progress: share of the search that is over, in [0, 1].
    """
    return 0.0 if annealing is Annealing.HARD else decayed(Decay(annealing.value), progress)
