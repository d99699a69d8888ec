"""Q-values by hand on tiny trees, and against a walk along the greedy trajectory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycompress.search.rl_pruner.q_values import parent_of, root_values


def by_walking(rewards: list[float], node: int, samples: int, depth: int, discount: float) -> float:
    """Average the one-step backups along the greedy trajectory that starts in a student: eq. 15 as it is written."""

    def best_child(parent: int, left: int) -> tuple[float, int] | None:
        children = [child for child in range(len(rewards)) if parent_of(child, samples) == parent]
        values = [(by_walking(rewards, child, samples, left, discount), -child) for child in children]
        return max(values) if left else None

    total = 0.0
    for left in range(depth - 1, -1, -1):
        best = best_child(node, left)
        total += rewards[node] + discount * (best[0] if best else 0.0)
        node = -best[1] if best else node
    return total / depth


def test_with_one_time_step_an_action_is_worth_its_reward() -> None:
    assert root_values([0.3, 0.9, 0.5], samples=3, sample_steps=1, discount=0.9) == (0.3, 0.9, 0.5)


def test_two_time_steps_by_hand() -> None:
    rewards = [0.5, 0.8, 0.2, 0.6, 0.1, 0.3]  # the children of 0 are 0.2 and 0.6, those of 1 are 0.1 and 0.3
    first = ((0.5 + 0.9 * 0.6) + 0.6) / 2
    second = ((0.8 + 0.9 * 0.3) + 0.3) / 2
    assert root_values(rewards, samples=2, sample_steps=2, discount=0.9) == pytest.approx((first, second))


def test_students_are_numbered_level_by_level() -> None:
    assert [parent_of(index, 2) for index in range(14)] == [-1, -1, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]


@given(st.integers(1, 3), st.integers(1, 3), st.floats(0, 1), st.data())
def test_the_folded_sum_is_the_walk(samples: int, depth: int, discount: float, data: st.DataObject) -> None:
    size = sum(samples**level for level in range(1, depth + 1))
    rewards = data.draw(st.lists(st.floats(-1, 1), min_size=size, max_size=size))
    found = root_values(rewards, samples=samples, sample_steps=depth, discount=discount)
    assert found == pytest.approx([by_walking(rewards, root, samples, depth, discount) for root in range(samples)])


def test_a_tree_with_missing_rewards_is_refused() -> None:
    with pytest.raises(ValueError, match="6 rewards"):
        root_values([0.1] * 5, samples=2, sample_steps=2, discount=0.9)
