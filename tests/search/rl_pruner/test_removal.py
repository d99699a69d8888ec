"""An action removes what it should, and what one dimension cannot give the others do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycompress.search.rl_pruner.removal import is_exhausted, remove_channels

ROW = st.tuples(st.integers(1, 16), st.floats(0, 64), st.floats(0, 1))


@given(st.lists(ROW, min_size=1, max_size=12), st.floats(0, 300))
def test_the_whole_amount_goes_unless_there_is_no_more(rows: list[tuple[int, float, float]], amount: float) -> None:
    floors = [floor for floor, _, _ in rows]
    widths = [floor + room for floor, room, _ in rows]
    after = remove_channels(widths, [share for _, _, share in rows], amount, floors=floors)
    assert sum(widths) - sum(after) == pytest.approx(min(amount, sum(room for _, room, _ in rows)), abs=1e-6)
    assert all(floor <= new <= old for floor, new, old in zip(floors, after, widths, strict=True))


def test_the_action_shares_the_amount() -> None:
    assert remove_channels([10, 10, 10], [0.5, 0.25, 0.25], 4, floors=[1, 1, 1]) == pytest.approx((8, 9, 9))


def test_what_a_full_dimension_cannot_give_the_others_give_in_proportion() -> None:
    after = remove_channels([3, 20, 20], [0.6, 0.3, 0.1], 10, floors=[1, 1, 1])
    assert after == pytest.approx((1, 20 - 8 * 0.75, 20 - 8 * 0.25))


def test_where_the_action_gives_nothing_to_the_rest_room_decides() -> None:
    assert remove_channels([2, 11, 31], [1.0, 0.0, 0.0], 5, floors=[1, 1, 1]) == pytest.approx((1, 10, 28))


def test_at_the_floors_nothing_is_left_to_remove() -> None:
    after = remove_channels([5, 6], [0.5, 0.5], 100, floors=[2, 3])
    assert after == (2, 3)
    assert is_exhausted(after, floors=[2, 3])
    assert not is_exhausted([2, 3.1], floors=[2, 3])
