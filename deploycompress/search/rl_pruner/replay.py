"""The replay buffer: the best actions of a pruning step, and the choice of one to follow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deploycompress.search.rl_pruner.policy import Distribution


@dataclass(frozen=True, slots=True, kw_only=True)
class Experience:
    """An action, its Q-value, and the real-valued widths it led to."""

    action: Distribution
    value: float
    widths: tuple[float, ...]


Buffer = tuple[Experience, ...]


def remember(buffer: Buffer, experience: Experience, size: int) -> Buffer:
    """Store an experience in place of the worst one, or discard it when it is worse than all.

    As the paper has it, only a lowest value that exceeds the new one discards it: equal values replace.
    """
    if len(buffer) < size:
        return (*buffer, experience)
    worst = min(range(len(buffer)), key=lambda index: buffer[index].value)
    if buffer[worst].value > experience.value:
        return buffer
    return (*buffer[:worst], experience, *buffer[worst + 1 :])


def select_action(buffer: Buffer, *, epsilon: float, rng: np.random.Generator) -> Distribution:
    """Choose the action to follow: with probability epsilon any, otherwise the one with the highest Q-value.

    Args:
        buffer: not empty; of equal values the one stored first counts as highest.
        epsilon: probability of a random choice.
        rng: advanced by the choice.
    """
    if rng.random() < epsilon:
        return buffer[int(rng.integers(len(buffer)))].action
    return best_of(buffer).action


def best_of(buffer: Buffer) -> Experience:
    """Give the experience with the highest Q-value, of equals the one stored first; the buffer is not empty."""
    return max(buffer, key=lambda experience: experience.value)  # RL-Pruner, eq. 18
