"""Schedules start at one, never rise, and end at zero."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycompress.search.schedules import Annealing, Decay, decayed, exploration_rate, tolerance

UNIT = st.floats(0, 1)


@given(st.sampled_from(Decay), UNIT, UNIT)
def test_decay_never_rises(decay: Decay, one: float, other: float) -> None:
    earlier, later = sorted((one, other))
    assert 1 >= decayed(decay, earlier) >= decayed(decay, later) >= 0


@pytest.mark.parametrize("decay", Decay)
def test_decay_goes_from_one_to_zero(decay: Decay) -> None:
    assert decayed(decay, 0) == 1
    assert decayed(decay, 1) == 0


def test_half_way_the_shapes_differ_as_their_names_say() -> None:
    assert decayed(Decay.CONSTANT, 0.25) == 1
    assert decayed(Decay.LINEAR, 0.25) == 0.75
    assert decayed(Decay.COSINE, 0.25) == pytest.approx(0.8535533905932737)


def test_exploration_ends_after_its_share_of_the_steps() -> None:
    rates = [exploration_rate(0.4, Decay.LINEAR, step=k, steps=100, share=0.1) for k in range(100)]
    assert rates[:11] == pytest.approx([0.4 * (10 - k) / 10 for k in range(11)])
    assert not any(rates[10:])


@pytest.mark.parametrize("steps", [1, 5, 10])
def test_exploration_has_at_least_the_first_step(steps: int) -> None:
    rates = [exploration_rate(0.4, Decay.COSINE, step=k, steps=steps, share=0.1) for k in range(steps)]
    assert rates == [0.4] + [0.0] * (steps - 1)


def test_no_share_means_no_exploration() -> None:
    assert exploration_rate(0.4, Decay.CONSTANT, step=0, steps=10, share=0.0) == 0


@given(UNIT)
def test_hard_constraints_are_never_tolerated(progress: float) -> None:
    assert tolerance(Annealing.HARD, progress) == 0


@pytest.mark.parametrize("annealing", [Annealing.LINEAR, Annealing.COSINE])
def test_annealing_goes_from_one_to_zero(annealing: Annealing) -> None:
    assert tolerance(annealing, 0) == 1
    assert tolerance(annealing, 1) == 0
