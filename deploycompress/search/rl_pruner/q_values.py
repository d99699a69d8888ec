"""What an action is worth with a view to the actions after it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def parent_of(index: int, samples: int) -> int:
    """Give the parent of a student in a stage's tree, -1 for the children of the current state.

    Students are numbered level by level: the N_S actions from the current state are 0 .. N_S - 1, those from
    student i are N_S (i + 1) .. N_S (i + 2) - 1.
    """
    return index // samples - 1


def root_values(rewards: Sequence[float], *, samples: int, sample_steps: int, discount: float) -> tuple[float, ...]:
    """Compute Q(s, a_i) of the actions from the current state from the rewards of a stage's tree.

    RL-Pruner, eq. 13 to 16. The stage samples T time steps: N_S actions from s, N_S from each state these lead to,
    and so on. Eq. 15 is read along the trajectory that starts with a_i and then takes the best action at each state:
    s'_(1,i) is the state after a_i, s'_(t+1,i) the one after the best action of s'_(t,i), and

        Q(s, a_i) = 1/T sum over t = 1 .. T of [ R(s'_(t,i)) + gamma max_j Q(s'_(t,i), a'_(t,j)) ]

    where the inner Q has the T - t time steps that remain, and what lies beyond the last sampled step counts zero.
    The bracket is the backup of eq. 13 and the average is over its T time steps, as the subscripts t say; to read
    the t as repeated draws of one step would leave nothing to average, for the same action gives the same state.
    Since the best child's own Q is the average of the remaining T - 1 brackets, the sum folds to

        Q_T = ( R + (gamma + T - 1) max_j Q_(T-1, j) ) / T,        Q_1 = R.

    With the paper's T = 1 an action is worth its reward.

    Args:
        rewards: of the sampled students, numbered as in `parent_of`, shape [N_S + ... + N_S^T].
        samples: N_S.
        sample_steps: T.
        discount: gamma.

    Returns:
        Q-values of the first level, shape [N_S].
    """
    starts = np.cumsum([0, *(samples**level for level in range(1, sample_steps + 1))])
    if len(rewards) != starts[-1]:
        raise ValueError(f"A tree of {samples} samples and {sample_steps} steps has {starts[-1]} rewards.")
    values = np.asarray(rewards[starts[-2] :], dtype=np.float64)
    for remaining in range(2, sample_steps + 1):
        level = sample_steps - remaining
        best = values.reshape(-1, samples).max(axis=1)
        own = np.asarray(rewards[starts[level] : starts[level + 1]], dtype=np.float64)
        values = (own + (discount + remaining - 1) * best) / remaining
    return tuple(float(value) for value in values)
