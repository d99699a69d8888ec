"""Rounding stays inside the allowed widths, under the current student, and keeps the sum."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycompress.search.rounding import snap_all
from deploycompress.search.space import allowed_widths, snap


@given(st.floats(0, 100), st.integers(1, 90), st.integers(1, 20))
def test_snap_finds_the_nearest_and_the_wider_of_two(width: float, full: int, quantum: int) -> None:
    widths = allowed_widths(full, quantum)
    assert snap(width, widths) == min(widths, key=lambda allowed: (abs(allowed - width), -allowed))


@given(st.integers(1, 20), st.lists(st.tuples(st.integers(1, 90), st.floats(0, 1), st.floats(0, 1)), min_size=1))
def test_rounded_widths_are_allowed_and_never_above_the_student(
    quantum: int, rows: list[tuple[int, float, float]]
) -> None:
    allowed = [allowed_widths(full, quantum) for full, _, _ in rows]
    tops = [row[int(share * (len(row) - 1))] for row, (_, share, _) in zip(allowed, rows, strict=True)]
    widths = [full * share for full, _, share in rows]
    rounded = snap_all(widths, allowed, ceilings=tops)
    assert all(width in row for width, row in zip(rounded, allowed, strict=True))
    assert all(width <= top for width, top in zip(rounded, tops, strict=True))


@given(st.integers(1, 16), st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_the_sum_is_kept_to_half_a_quantum(quantum: int, shares: list[float]) -> None:
    full = 6 * quantum
    allowed = [allowed_widths(full, quantum)] * len(shares)
    widths = [quantum + share * (full - quantum) for share in shares]
    rounded = snap_all(widths, allowed, ceilings=[full] * len(shares))
    assert abs(sum(rounded) - sum(widths)) <= quantum / 2 + 1e-6


def test_an_action_cannot_hide_below_the_rounding() -> None:
    allowed = [(8, 16, 24, 32)] * 4
    assert snap_all([29.0] * 4, allowed, ceilings=[32] * 4).count(24) == 1  # 12 channels gone: one or two quanta


@pytest.mark.parametrize("width", [3.0, 8.0])
def test_a_width_is_never_rounded_to_nothing(width: float) -> None:
    assert snap_all([width], [(8, 16)], ceilings=[16]) == (8,)
