"""The most important channels stay."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycompress.errors import PlanError
from deploycompress.execute.choice import choose_channels


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20), st.data())
def test_no_channel_that_goes_is_worth_more_than_one_that_stays(scores: list[float], data: st.DataObject) -> None:
    count = data.draw(st.integers(1, len(scores)))
    kept = choose_channels(scores, count)
    assert len(kept) == count
    assert list(kept) == sorted(set(kept))
    gone = set(range(len(scores))) - set(kept)
    assert all(
        scores[one] < scores[other] or one > other for one in gone for other in kept if scores[one] >= scores[other]
    )


def test_of_equals_the_first_stay() -> None:
    assert choose_channels([1.0, 2.0, 1.0, 1.0], 3) == (0, 1, 2)


def test_what_is_cut_never_comes_back() -> None:
    assert choose_channels([0.0, -math.inf, 1.0], 2) == (0, 2)
    with pytest.raises(PlanError, match="3 channels were to stay of 2"):
        choose_channels([0.0, -math.inf, 1.0], 3)


def test_nothing_stays_nowhere() -> None:
    with pytest.raises(PlanError, match="0 channels"):
        choose_channels([0.0, 1.0], 0)


def test_a_score_that_is_no_number_is_refused() -> None:
    with pytest.raises(PlanError, match="NaN"):
        choose_channels([0.0, math.nan], 1)
