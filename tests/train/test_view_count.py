"""Views are cut only where that saves asking the teacher."""

from __future__ import annotations

import torch

from deploycompress.train.answers import MOST_BYTES
from deploycompress.train.view_count import kept_views, view_count


def test_views_come_back_three_times() -> None:
    assert view_count(18.0, at_most=8, kept=1000) == 6
    assert view_count(2.0, at_most=8, kept=1000) == 2
    assert view_count(300.0, at_most=8, kept=1000) == 8


def test_only_as_many_as_can_be_kept() -> None:
    assert view_count(18.0, at_most=8, kept=4) == 4


def test_where_answers_are_not_kept_nothing_is_held_back() -> None:
    assert view_count(2.0, at_most=8, kept=1) == 8


def test_answers_are_counted_in_bytes() -> None:
    answer = torch.zeros(1, 10)
    assert kept_views(answer, 50_000) == MOST_BYTES // (50_000 * 40)
    assert kept_views((answer, answer), 50_000) == 0
    assert kept_views(torch.zeros(1, 1000, 64, 64), 50_000) == 0
