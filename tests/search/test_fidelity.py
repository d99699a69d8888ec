"""Who climbs, and what those that did not would have come to."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycompress.errors import UsageError
from deploycompress.search.fidelity import LEAST_PAIRS, Ladder, foreseen, goes_on

LADDER = Ladder(steps=(0, 20, 60))
shares = st.floats(0, 1)
climbs = st.lists(st.lists(shares, min_size=1, max_size=3).map(tuple), max_size=12)


@pytest.mark.parametrize("steps", [(), (20, 0), (0, 0, 20), (-1, 20)])
def test_rungs_that_do_not_ascend_are_refused(steps: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="rungs"):
        Ladder(steps=steps)


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1, math.nan])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(UsageError, match="share"):
        Ladder(share=share)


def test_the_first_climbs_to_the_top_and_not_beyond() -> None:
    assert [goes_on(0.1, rung, [], LADDER) for rung in range(3)] == [True, True, False]


@given(shares, st.integers(0, 1), climbs)
def test_who_is_among_the_best_share_of_a_rung_goes_on(
    accuracy: float, rung: int, others: list[tuple[float, ...]]
) -> None:
    reached = sorted([climb[rung] for climb in others if len(climb) > rung] + [accuracy], reverse=True)
    places = math.ceil(LADDER.share * len(reached))
    assert goes_on(accuracy, rung, others, LADDER) == (reached.index(accuracy) < places)


@given(st.tuples(shares, shares, shares), climbs)
def test_at_the_top_nothing_is_foreseen(climb: tuple[float, ...], others: list[tuple[float, ...]]) -> None:
    assert foreseen(climb, others, LADDER) == climb[-1]


@given(st.lists(shares, min_size=1, max_size=3).map(tuple), climbs)
def test_what_is_foreseen_is_a_share(climb: tuple[float, ...], others: list[tuple[float, ...]]) -> None:
    assert 0 <= foreseen(climb, others, LADDER) <= 1


@given(shares, shares, climbs)
def test_a_better_student_is_never_foreseen_to_be_worse(
    one: float, other: float, others: list[tuple[float, ...]]
) -> None:
    low, high = sorted((one, other))
    assert foreseen((low,), others, LADDER) <= foreseen((high,), others, LADDER) + 1e-9


def test_without_anybody_who_climbed_the_accuracy_stays() -> None:
    assert foreseen((0.4,), [(0.5,), (0.6,)], LADDER) == 0.4


def test_with_few_who_climbed_their_mean_gain_is_added() -> None:
    others = [(0.3, 0.5), (0.5, 0.6)]
    assert foreseen((0.2,), others, LADDER) == pytest.approx(0.2 + 0.15)


def test_with_enough_who_climbed_the_line_through_them_is_followed() -> None:
    lows = np.linspace(0.2, 0.8, LEAST_PAIRS)
    others = [(float(low), float(0.5 + 0.4 * low)) for low in lows]
    assert foreseen((0.1,), others, Ladder(steps=(0, 20))) == pytest.approx(0.54)


def test_training_is_not_taken_to_turn_the_order_round() -> None:
    lows = np.linspace(0.2, 0.8, LEAST_PAIRS)
    others = [(float(low), float(0.9 - 0.4 * low)) for low in lows]
    assert foreseen((0.1,), others, Ladder(steps=(0, 20))) == pytest.approx(0.7)
