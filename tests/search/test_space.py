"""Widths stay inside what is allowed, and the most important channels stay."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycompress.errors import PlanError
from deploycompress.search.space import Dimension, Space, allowed_widths, choose_channels, plan_for


@pytest.mark.parametrize(
    ("width", "quantum", "expected"),
    [(20, 8, (8, 16, 20)), (16, 8, (8, 16)), (8, 8, (8,)), (3, 8, (3,)), (4, 1, (1, 2, 3, 4))],
)
def test_allowed_widths_are_the_multiples_below_and_the_width(
    width: int, quantum: int, expected: tuple[int, ...]
) -> None:
    assert allowed_widths(width, quantum) == expected


@given(st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=12), st.data())
def test_no_channel_that_goes_is_better_than_one_that_stays(scores: list[float], data: st.DataObject) -> None:
    count = data.draw(st.integers(1, len(scores)))
    kept = choose_channels(scores, count)
    gone = set(range(len(scores))) - set(kept)
    assert list(kept) == sorted(set(kept))
    assert len(kept) == count
    assert all((scores[k], -k) > (scores[g], -g) for k in kept for g in gone)


def test_channels_that_are_cut_never_come_back() -> None:
    with pytest.raises(PlanError, match="3 channels were to stay of 2"):
        choose_channels([1.0, -math.inf, 2.0], 3)


def test_a_score_that_is_not_a_number_is_refused() -> None:
    with pytest.raises(PlanError, match="NaN"):
        choose_channels([1.0, math.nan], 1)


def test_a_plan_names_only_groups_that_are_cut() -> None:
    space = Space((Dimension("a", 3, (1, 2, 3)), Dimension("b", 2, (1, 2))))
    plan = plan_for(space, {"a": 2, "b": 2}, {"a": (0.1, 0.9, 0.5), "b": (1.0, 2.0)})
    assert plan.keep == {"a": (1, 2)}


@pytest.mark.parametrize(("group", "count"), [("a", 4), ("a", 0), ("c", 1)])
def test_a_width_outside_the_space_is_refused(group: str, count: int) -> None:
    space = Space((Dimension("a", 3, (1, 2, 3)),))
    with pytest.raises(PlanError, match=f"{group!r} cannot have {count}"):
        plan_for(space, {group: count}, {"a": (1.0, 2.0, 3.0)})


def test_scores_of_the_wrong_number_are_refused() -> None:
    space = Space((Dimension("a", 3, (1, 2, 3)),))
    with pytest.raises(PlanError, match="3 channels but 2"):
        plan_for(space, {"a": 2}, {"a": (1.0, 2.0)})


def test_only_dimensions_with_a_choice_are_free() -> None:
    space = Space((Dimension("a", 8, (8,)), Dimension("b", 16, (8, 16))))
    assert [dimension.group for dimension in space.free] == ["b"]
