"""The policy stays a distribution, follows the action, and moves no faster than its clip."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycompress.search.rl_pruner.policy import initial_policy, sample_action, updated_policy

WEIGHTS = st.lists(st.floats(0.01, 1), min_size=2, max_size=12)


def normalised(values: list[float]) -> tuple[float, ...]:
    return tuple(value / sum(values) for value in values)


def test_the_policy_starts_at_channel_density() -> None:
    assert initial_policy([16, 48, 64]) == (0.125, 0.375, 0.5)


@given(WEIGHTS, st.floats(1e-6, 4), st.integers(0, 2**32))
def test_an_action_is_a_distribution(weights: list[float], variance: float, seed: int) -> None:
    action = sample_action(normalised(weights), variance=variance, rng=np.random.default_rng(seed))
    assert sum(action) == pytest.approx(1)
    assert min(action) >= 0


def test_noise_has_the_variance_that_was_asked_for() -> None:
    policy, rng = (0.5, 0.5), np.random.default_rng(0)
    draws = np.array([sample_action(policy, variance=0.0004, rng=rng) for _ in range(4000)])
    difference = draws[:, 0] - draws[:, 1]  # (z_0 - z_1) / (1 + z_0 + z_1), to first order of variance 2 v
    assert difference.std() == pytest.approx(np.sqrt(2 * 0.0004), rel=0.05)
    assert draws[:, 0].mean() == pytest.approx(0.5, abs=0.002)


def test_when_every_entry_is_clamped_the_action_is_the_policy() -> None:
    class Sinking(np.random.Generator):
        def normal(self, *arguments):  # type: ignore[no-untyped-def]
            return np.full(arguments[-1], -9.0)

    assert sample_action((0.3, 0.7), variance=1.0, rng=Sinking(np.random.PCG64(0))) == (0.3, 0.7)


@given(WEIGHTS, st.data(), st.floats(0.01, 1), st.floats(0.05, 0.9))
def test_an_update_is_equations_19_and_20(
    weights: list[float], data: st.DataObject, step_size: float, clip_ratio: float
) -> None:
    policy = normalised(weights)
    action = normalised(data.draw(st.lists(st.floats(0.01, 1), min_size=len(policy), max_size=len(policy))))
    moved = []
    for before, wanted in zip(policy, action, strict=True):
        ratio = (before + step_size * wanted) / before
        moved.append(min(max(ratio, 1 - clip_ratio), 1 + clip_ratio) * before)
    found = updated_policy(policy, action, step_size=step_size, clip_ratio=clip_ratio)
    assert found == pytest.approx([value / sum(moved) for value in moved])
    assert sum(found) == pytest.approx(1)
    assert min(found) > 0


@given(WEIGHTS, st.data())
def test_no_two_entries_drift_apart_by_more_than_the_clip(weights: list[float], data: st.DataObject) -> None:
    policy = normalised(weights)
    action = normalised(data.draw(st.lists(st.floats(0.001, 1), min_size=len(policy), max_size=len(policy))))
    found = updated_policy(policy, action, step_size=0.5, clip_ratio=0.2)
    change = [new / old for new, old in zip(found, policy, strict=True)]
    assert max(change) / min(change) <= 1.2 + 1e-9


def test_an_unclipped_update_goes_a_fixed_share_of_the_way() -> None:
    found = updated_policy((0.5, 0.5), (0.6, 0.4), step_size=0.1, clip_ratio=0.9)
    assert found == pytest.approx((0.5 + 0.1 / 1.1 * 0.1, 0.5 - 0.1 / 1.1 * 0.1))
