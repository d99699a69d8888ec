"""The buffer keeps the best, and epsilon decides how often the best is followed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycompress.search.rl_pruner.replay import Buffer, Experience, remember, select_action


def filled(values: list[float], size: int) -> Buffer:
    buffer: Buffer = ()
    for number, value in enumerate(values):
        buffer = remember(buffer, Experience(action=(float(number),), value=value, widths=(1.0,)), size)
    return buffer


@given(st.lists(st.floats(-1, 1), max_size=30), st.integers(1, 8))
def test_the_buffer_holds_the_best_of_all_it_saw(values: list[float], size: int) -> None:
    assert sorted(e.value for e in filled(values, size)) == sorted(sorted(values)[-size:])


def test_a_new_experience_replaces_the_worst() -> None:
    assert [e.value for e in filled([0.5, 0.1, 0.9, 0.3], 3)] == [0.5, 0.3, 0.9]


def test_what_is_worse_than_all_is_discarded() -> None:
    assert [e.value for e in filled([0.5, 0.4, 0.9, 0.3], 3)] == [0.5, 0.4, 0.9]


def test_an_equal_experience_replaces_the_worst() -> None:
    assert [e.action for e in filled([0.5, 0.4, 0.4], 2)] == [(0.0,), (2.0,)]


def test_without_exploration_the_best_is_followed() -> None:
    buffer, rng = filled([0.2, 0.9, 0.4], 3), np.random.default_rng(0)
    assert {select_action(buffer, epsilon=0.0, rng=rng) for _ in range(50)} == {(1.0,)}


@pytest.mark.parametrize("epsilon", [0.2, 0.4, 1.0])
def test_exploration_is_as_frequent_as_epsilon_says(epsilon: float) -> None:
    buffer, rng, draws = filled([0.2, 0.9, 0.4, 0.3], 4), np.random.default_rng(1), 20_000
    chosen = [select_action(buffer, epsilon=epsilon, rng=rng)[0] for _ in range(draws)]
    counts = [chosen.count(float(number)) / draws for number in range(4)]
    share = epsilon / 4  # a random choice may hit the best too
    assert counts == pytest.approx([share, 1 - epsilon + share, share, share], abs=0.015)
