"""Verdicts: an interval on one side of a limit, on both, or not known."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploycompress.verdict import Verdict, judge_interval, sum_intervals

NUMBERS = st.floats(-1e6, 1e6)
TERMS = st.lists(st.tuples(st.floats(-100, 100), NUMBERS, st.floats(0, 1e3), st.floats(0, 1)), min_size=1, max_size=5)


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (1.0, 2.0, Verdict.PASS),
        (1.0, 10.0, Verdict.PASS),
        (10.0, 10.0, Verdict.PASS),
        (9.0, 10.1, Verdict.INCONCLUSIVE),
        (10.0, 11.0, Verdict.INCONCLUSIVE),
        (10.1, 11.0, Verdict.FAIL),
        (-math.inf, 10.0, Verdict.PASS),
        (9.0, math.inf, Verdict.INCONCLUSIVE),
        (11.0, math.inf, Verdict.FAIL),
        (-math.inf, math.inf, Verdict.INCONCLUSIVE),
    ],
)
def test_the_whole_interval_decides(low: float, high: float, verdict: Verdict) -> None:
    assert judge_interval(low, high, 10.0) is verdict


@given(NUMBERS, NUMBERS, NUMBERS)
def test_what_is_not_a_number_never_passes(low: float, high: float, bound: float) -> None:
    for ends in ((math.nan, high), (low, math.nan), (math.nan, math.nan)):
        assert judge_interval(*ends, bound) is Verdict.INCONCLUSIVE
    assert judge_interval(low, low, math.nan) is Verdict.INCONCLUSIVE


@given(TERMS)
def test_a_sum_of_intervals_covers_every_sum_and_reaches_its_ends(terms: list[tuple[float, ...]]) -> None:
    low, high = sum_intervals((factor, start, start + width) for factor, start, width, _ in terms)
    inside = sum(factor * (start + share * width) for factor, start, width, share in terms)
    ends = [sorted((factor * start, factor * (start + width))) for factor, start, width, _ in terms]
    assert low == pytest.approx(sum(end[0] for end in ends), rel=1e-9, abs=1e-6)
    assert high == pytest.approx(sum(end[1] for end in ends), rel=1e-9, abs=1e-6)
    assert low - 1e-3 <= inside <= high + 1e-3


def test_a_sum_with_an_open_end_is_open_there() -> None:
    assert sum_intervals([(1.0, 1.0, math.inf), (2.0, 3.0, 4.0)]) == (7.0, math.inf)
    assert sum_intervals([(-1.0, 1.0, math.inf), (0.0, -math.inf, math.inf)]) == (-math.inf, -1.0)
